"""The configuration: one source, everything wrong told at once."""

import tomllib
from pathlib import Path

import msgspec
import pytest

from floatway.api import config_text
from floatway.api.config import Config, ConfigError, Secret, leaves, load, secret, unreadable

PACKAGED = Path(__file__).parents[3] / "packaging/server.toml"


def problems(tmp_path: Path, text: str, environment: dict[str, str] | None = None) -> list[str]:
    file = tmp_path / "server.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, environment or {})
    return [problem.removeprefix(f"{file}: ") for problem in caught.value.problems]


def test_the_packaged_file_is_what_the_code_says() -> None:
    assert PACKAGED.read_text() == config_text.default_text()


def test_the_default_file_says_the_defaults() -> None:
    lines = [line.removeprefix("# ") for line in config_text.default_text().splitlines()]
    said = tomllib.loads("\n".join(line for line in lines if is_toml(line)))
    assert msgspec.convert(said, Config, dec_hook=lambda kind, value: kind(value)) == Config()


def is_toml(line: str) -> bool:
    """Whether a line of the default file is a table's name or a key with its value."""
    return line.startswith("[") or line.partition(" = ")[0] in {path[-1] for path, _ in leaves(Config)}


def test_every_key_says_what_it_means() -> None:
    text = config_text.default_text().splitlines()
    for number, line in enumerate(text):
        if is_toml(line.removeprefix("# ")):
            assert text[number - 1].startswith("# "), line


def test_what_is_printed_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text(
        '[auth]\nmode = "http_basic"\n[auth.http_basic.users.a]\nproject_id = "p"\n'
        + '[network]\nvlan_ranges = { physnet1 = [[1, 2], [5, 9]] }\nbase_mac = "fa:16:3e:4f:00:00"\n'
        + '[server]\nbind = "::1"\n[policy]\nfiles = ["a\\"b", "c\\\\d"]\n'
    )
    config = load(file, {})
    file.write_text(config_text.printable(config))
    assert load(file, {}) == config
    assert config.auth.http_basic.users["a"].project_id == "p"


def test_the_environment_overrides(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text('[server]\nport = 1\n[auth.keystone]\nurl = "http://a/v3"\n')
    environment = {
        "FLOATWAY_SERVER_PORT": "9697",
        "FLOATWAY_AUTH_KEYSTONE_URL": "http://b/v3",
        "FLOATWAY_AUTH_KEYSTONE_PASSWORD": "123",
        "FLOATWAY_NETWORK_VNI_RANGES": "[[1, 5]]",
        "FLOATWAY_NETWORK_ROUTER_DISTRIBUTED": "false",
        "FLOATWAY_PYTHON": "not ours",
        "PATH": "/bin",
    }
    config = load(file, environment)
    assert (config.server.port, config.auth.keystone.url) == (9697, "http://b/v3")
    assert config.auth.keystone.password.reveal() == "123"
    assert config.network.vni_ranges == ((1, 5),)
    assert config.network.router_distributed is False


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = """
[server]
prot = 9
port = "x"
[log]
format = "yaml"
[network]
vlan_ranges = { a = [[1, "x"]] }
[serve]
"""
    told = "\n".join(problems(tmp_path, text, {"FLOATWAY_LOG_LEVL": "info"}))
    for part in (
        "server.prot: no such key; did you mean port?",
        "server.port: Expected `int`",
        "log.format: allowed: 'json', 'console'",
        "network.vlan_ranges: Expected `int`, got `str`",
        "serve: no such key; did you mean server?",
        "FLOATWAY_LOG_LEVL: no such variable; did you mean FLOATWAY_LOG_LEVEL?",
    ):
        assert part in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[server]\nbind = "0.0.0.0"\n', "server.bind: 0.0.0.0 with auth.mode"),
        ('[server]\nbind = "192.0.2.1"\n', "server.bind: 192.0.2.1 with auth.mode"),
        ('[server]\nbind = "localhost"\n', "server.bind: 'localhost' is no IPv4 or IPv6 address"),
        ('[server]\ntls_key = "/k"\n', "server.tls_certificate: missing"),
        ('[auth]\nmode = "keystone"\n', "auth.keystone.password: missing"),
        ('[store]\nurl = "mysql://x"\n', "store.url: "),
        ('[metrics]\nallow = ["10.0.0.1/8"]\n', "metrics.allow: "),
        ("server = 1\n", "server: must be a table"),
        ("[server\n", "not TOML: "),
    ],
)
def test_bad_values_name_their_key(tmp_path: Path, text: str, told: str) -> None:
    assert [problem for problem in problems(tmp_path, text) if problem.startswith(told)]


def test_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.toml", {})
    config = load(None, {"FLOATWAY_SERVER_TLS_KEY": "/no/key", "FLOATWAY_SERVER_TLS_CERTIFICATE": "/no/chain"})
    assert [problem.partition(":")[0] for problem in unreadable(config)] == ["server.tls_certificate", "server.tls_key"]


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    config = load(None, {"FLOATWAY_AUTH_KEYSTONE_PASSWORD": "hunter2"})
    assert "hunter2" not in config_text.printable(config) + repr(config) + str(config)
    file = tmp_path / "password"
    file.write_text("hunter2\n")
    assert secret(Secret(), str(file)).reveal() == "hunter2"
    assert secret(Secret("other"), str(file)).reveal() == "other"
