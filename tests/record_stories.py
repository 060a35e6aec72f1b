"""Ask Neutron itself what ``neutron_stories`` holds us to: its whole API application, in one process.

    python tests/record_stories.py tests/golden/neutron-29/stories/*.json        # answers every story anew and writes them back

Runs in a Python that has neutron and what its tests need (testtools, oslotest, webtest); our own does not. A step that Neutron
answers with an error of its own (5xx) is left out.
"""

import json
import sys
import unittest
from pathlib import Path
from typing import Any, ClassVar

import webob
from neutron import tests
from neutron.tests.common import helpers
from neutron.tests.unit.plugins.ml2.test_plugin import Ml2PluginV2TestCase
from neutron_lib import context
from oslo_config import cfg
from oslo_service import wsgi

from neutron_stories import PROJECT_ROLES, filled, named, normal

_SWITCH = {
    "tunneling_ip": "10.0.0.1",
    "tunnel_types": ["vxlan"],
    "bridge_mappings": {"physnet1": "br-ex"},
    "integration_bridge": "br-int",
}


class Recorder(Ml2PluginV2TestCase):
    """One story."""

    _mechanism_drivers: ClassVar = ["openvswitch"]
    _extension_drivers: ClassVar = ["port_security", "dns_domain_ports", "uplink_status_propagation"]
    l3_plugin = "neutron.services.l3_router.l3_router_plugin.L3RouterPlugin"
    story: dict[str, Any]

    def get_additional_service_plugins(self) -> dict[str, str]:
        """What the API has besides ports and routers."""
        names = (
            "flavors",
            "revisions",
            "timestamp",
            "tag",
            "auto_allocate",
            "port_forwarding",
            "network_ip_availability",
        )
        return {**super().get_additional_service_plugins(), **{name: name for name in names}}

    def setUp(self) -> None:
        """The application as it is deployed, but for who vouches for callers."""
        cfg.CONF.set_override("extension_drivers", self._extension_drivers, group="ml2")
        super().setUp()
        for name, value in (
            ("auth_strategy", "noauth"),
            ("router_auto_schedule", False),
            ("network_auto_schedule", False),
        ):
            cfg.CONF.set_override(name, value)
        cfg.CONF.set_override("api_paste_config", str(Path(tests.__file__).parent / "etc" / "api-paste.ini"))
        for name, limit in self.story.get("quotas", {}).items():
            cfg.CONF.set_override(f"quota_{name}", limit, group="QUOTAS")
        self.app = wsgi.Loader(cfg.CONF).load_app("neutron")

    def record(self) -> None:
        """Ask step by step."""
        ids = dict(self._agent(*agent.split("@")) for agent in self.story["agents"])
        self._templates()
        asked = json.dumps([step.get("body") for step in self.story["steps"]]).lower()
        kept = []
        for step in self.story["steps"]:
            status, document = self._answer(filled(step, ids))
            if status >= 500:
                continue
            if status < 300:
                ids |= named(step, document)
            kept.append({**step, "status": status, "answer": normal(document, ids, asked)})
        self.story["steps"] = kept

    def _templates(self) -> None:
        """Those that Neutron's own migration leaves in a new database."""
        for ethertype in ("IPv4", "IPv6"):
            for more in (
                {"direction": "egress", "used_in_non_default_sg": True},
                {"direction": "ingress", "used_in_non_default_sg": False, "remote_group_id": "PARENT"},
            ):
                body = {"default_security_group_rule": {"ethertype": ethertype, "used_in_default_sg": True, **more}}
                self._answer({"method": "POST", "path": "default-security-group-rules", "body": body})

    @staticmethod
    def _agent(kind: str, host: str, mode: str) -> tuple[str, str]:
        if kind == "ovs":
            made = helpers.register_ovs_agent(host=host, **_SWITCH)
        elif kind == "l3":
            made = helpers.register_l3_agent(host=host, agent_mode=mode)
        else:
            made = helpers.register_dhcp_agent(host=host)
        return f"{kind}-{host}", made.id

    def _answer(self, step: dict[str, Any]) -> tuple[int, Any]:
        request = webob.Request.blank("/v2.0/" + step["path"], method=step["method"])
        if "body" in step:
            request.body, request.content_type = json.dumps(step["body"]).encode(), "application/json"
        roles = list(PROJECT_ROLES[step.get("role", "admin")])
        request.environ["neutron.context"] = context.Context("u", step.get("project", "p1"), roles=roles)
        response = request.get_response(self.app)
        return response.status_int, json.loads(response.body) if response.body else None


def main(paths: list[str]) -> int:
    """Record the story of every file."""
    told = {Path(path): json.loads(Path(path).read_text()) for path in paths}
    suite = unittest.TestSuite()
    for story in told.values():
        case = Recorder("record")
        case.story = story
        suite.addTest(case)
    result = unittest.TextTestRunner().run(suite)
    if result.wasSuccessful():
        for path, story in told.items():
            path.write_text(written(story))
    return 0 if result.wasSuccessful() else 1


def written(story: dict[str, Any]) -> str:
    """One step a line, so that a change shows as one."""
    rest = {name: value for name, value in story.items() if name != "steps"}
    return json.dumps(rest)[:-1] + ', "steps": [\n' + ",\n".join(map(json.dumps, story["steps"])) + "\n]}\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
