"""Ask Neutron itself what ``neutron_answers`` holds us to: its own unit-test plugin, API pipeline and policies, in one process.

    python tests/record_neutron.py tests/golden/neutron-29/ports.json        # answers every story anew and writes them back

Runs in a Python that has neutron and what its tests need (testtools, oslotest, webtest); our own does not.
"""

import json
import sys
import unittest
from pathlib import Path
from typing import Any, ClassVar

from neutron.tests.common import helpers
from neutron.tests.unit import testlib_api
from neutron.tests.unit.plugins.ml2.test_plugin import Ml2PluginV2TestCase
from neutron_lib import context
from oslo_config import cfg

from neutron_answers import normal, steps_with

EVERY_ROLE = ["admin", "member", "reader", "service"]


class Recorder(Ml2PluginV2TestCase):
    """One story each."""

    _mechanism_drivers: ClassVar = ["openvswitch"]
    _extension_drivers: ClassVar = ["port_security", "dns_domain_ports", "uplink_status_propagation"]
    l3_plugin = "neutron.services.l3_router.l3_router_plugin.L3RouterPlugin"
    story: dict[str, Any]

    def get_additional_service_plugins(self) -> dict[str, str]:
        """What the API has besides ports and routers."""
        return {"flavors_plugin_name": "flavors", "revision": "revisions", "timestamp": "timestamp", "tag": "tag"}

    def setUp(self) -> None:
        """With the extension drivers."""
        cfg.CONF.set_override("extension_drivers", self._extension_drivers, group="ml2")
        super().setUp()

    def record(self) -> None:
        """Ask step by step."""
        for host in self.story["agents"]:
            helpers.register_ovs_agent(
                host=host,
                tunneling_ip="10.0.0.1",
                tunnel_types=["vxlan"],
                bridge_mappings={"physnet1": "br-ex"},
                integration_bridge="br-int",
            )
        asked = json.dumps([step.get("body") for step in self.story["steps"]]).lower()
        ids: dict[str, str] = {}
        for step in self.story["steps"]:
            status, document = self._answer(steps_with(step, ids))
            if "as" in step and status < 300:
                (made,) = document.values()
                ids[step["as"]] = made["id"]
            step["status"] = status
            step.pop("answer", None)
            shown = normal(document, ids, asked)
            if shown is not None:
                step["answer"] = shown

    def _answer(self, step: dict[str, Any]) -> tuple[int, Any]:
        body = json.dumps(step["body"]).encode() if "body" in step else b""
        request = testlib_api.create_request("/" + step["path"], body, "application/json", step["method"])
        admin = step.get("admin", True)
        roles = EVERY_ROLE if admin else ["member", "reader"]
        request.environ["neutron.context"] = context.Context(
            "u", step.get("project", "p1"), is_admin=admin, roles=roles
        )
        response = request.get_response(self.api)
        return response.status_int, json.loads(response.body) if response.body else None


def main(path: Path) -> int:
    """Record every story of the file."""
    stories = json.loads(path.read_text())
    suite = unittest.TestSuite()
    for story in stories:
        case = Recorder("record")
        case.story = story
        suite.addTest(case)
    result = unittest.TextTestRunner().run(suite)
    if result.wasSuccessful():
        path.write_text(written(stories))
    return 0 if result.wasSuccessful() else 1


def written(stories: list[dict[str, Any]]) -> str:
    """One step a line, so that a change shows as one."""
    told = (
        '{{"name": {}, "agents": {}, "steps": [\n{}\n]}}'.format(
            json.dumps(story["name"]), json.dumps(story["agents"]), ",\n".join(map(json.dumps, story["steps"]))
        )
        for story in stories
    )
    return "[\n" + ",\n".join(told) + "\n]\n"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
