"""Openings as iptables-save prints them (tests/kernel/test_compiled_texts.py asks iptables itself)."""

import pytest

from floatway.compile.firewall import rule_text
from floatway.model.resources import SecurityGroupRule

GROUP = "15ca6cb4-09b4-418e-aee4-3c0f9d5b7e10"


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("-j RETURN", {}),
        ("-p icmp -j RETURN", {"protocol": "1"}),
        ("-p icmp -m icmp --icmp-type 8/0 -j RETURN", {"protocol": "icmp", "port_range_min": 8, "port_range_max": 0}),
        ("-p icmp -m icmp --icmp-type 3 -j RETURN", {"protocol": "icmp", "port_range_min": 3}),
        ("-p icmp -m icmp --icmp-type any -j RETURN", {"protocol": "icmp", "port_range_min": 255}),
        ("-p tcp -m tcp --dport 22 -j RETURN", {"protocol": "6", "port_range_min": 22, "port_range_max": 22}),
        (
            "-p tcp -m tcp -m multiport --dports 1:65535 -j RETURN",
            {"protocol": "tcp", "port_range_min": 1, "port_range_max": 65535},
        ),
        (
            "-p udplite -m multiport --dports 53 -j RETURN",
            {"protocol": "udplite", "port_range_min": 53, "port_range_max": 53},
        ),
        ("-p gre -j RETURN", {"protocol": "47"}),
        ("-p ipencap -j RETURN", {"protocol": "ipip"}),
        ("-p 113 -j RETURN", {"protocol": "pgm"}),
        ("-p 253 -j RETURN", {"protocol": "253"}),
        ("-j RETURN", {"remote_ip_prefix": "0.0.0.0/0"}),
        ("-s 10.1.2.3/32 -j RETURN", {"remote_ip_prefix": "10.1.2.3"}),
        ("-d 10.0.0.0/8 -j RETURN", {"direction": "egress", "remote_ip_prefix": "10.1.2.3/8"}),
        ("-m set --match-set NIPv415ca6cb4-09b4-418e-aee4- src -j RETURN", {"remote_group_id": GROUP}),
        (
            "-p tcp -m tcp --dport 22 -m set --match-set NIPv415ca6cb4-09b4-418e-aee4- dst -j RETURN",
            {"direction": "egress", "protocol": "tcp", "port_range_min": 22, "port_range_max": 22, "remote_group_id": GROUP},
        ),
    ],
)  # fmt: skip
def test_an_opening(text: str, fields: dict[str, object]) -> None:
    given = {"id": "x", "direction": "ingress", **fields}
    assert rule_text(SecurityGroupRule(**given)) == text  # type: ignore[arg-type]
