"""An agent's configuration: what is wrong in it is said at the start, not by a server later."""

from pathlib import Path

import pytest

from floatway.agent.config import AgentConfigError, load


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('tunnel_ip = "10.10.20"', "10.10.20"),
        ('tunnel_ip = "cy2-compute02"', "cy2-compute02"),
        ('agent_mode = "oracle"', "agent_mode"),
        ("bridge_mappings = 5", "bridge_mappings"),
        ('nonsense = "x"', "nonsense"),
        ("host", "line 1|end of document"),
    ],
)
def test_what_is_not_right_is_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(text)
    with pytest.raises(AgentConfigError, match=words) as raised:
        load(file, {})
    assert str(file) in str(raised.value)


def test_the_environment_overrides_and_is_checked_too() -> None:
    assert load(None, {"FLOATWAY_AGENT_SERVERS": "unix:/a,https://b:1"}).servers == ("unix:/a", "https://b:1")
    with pytest.raises(AgentConfigError, match=r"environment: .*nowhere"):
        load(None, {"FLOATWAY_AGENT_TUNNEL_IP": "nowhere"})
