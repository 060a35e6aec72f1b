"""What the server announces: an alias when, and only when, all that it stands for works.

    GET /v2.0/extensions            {"extensions": [{"alias": "router", "name": …, "description": …, "updated": …, "links": []}]}
    GET /v2.0/extensions/router     {"extension": …}

Names and dates are Neutron's: clients compare them.
"""

from typing import Final

import msgspec

__all__ = ["EXTENSIONS", "Extension"]


class Extension(msgspec.Struct, frozen=True):
    """An extension's document."""

    alias: str
    name: str
    updated: str
    description: str
    links: tuple[str, ...] = ()


_TABLE: Final = (
    (
        "aap-reject-multicast",
        "Allowed address pairs reject multicast extension",
        "2026-04-01T00:00:00-00:00",
        "Allowed address pairs may not be multicast addresses.",
    ),
    (
        "address-group",
        "Address group",
        "2020-07-15T10:00:00-00:00",
        "Named sets of addresses that security group rules can refer to.",
    ),
    (
        "address-scope",
        "Address scope",
        "2015-07-26T10:00:00-00:00",
        "Scopes within which addresses of subnet pools do not overlap.",
    ),
    ("agent", "agent", "2013-02-03T10:00:00-00:00", "The agents of all hosts, and whether they are alive."),
    (
        "agent-resources-synced",
        "Agent's Resource View Synced to Placement",
        "2018-12-19T00:00:00-00:00",
        "Whether an agent's resources have been reported to placement.",
    ),
    ("agent_sort_key", "Agents Sort Key", "2013-02-03T10:00:00-00:00", "Lists of agents can be sorted."),
    (
        "allowed-address-pairs",
        "Allowed Address Pairs",
        "2013-07-23T10:00:00-00:00",
        "Further source addresses that a port may use.",
    ),
    (
        "auto-allocated-topology",
        "Auto Allocated Topology Services",
        "2016-01-01T00:00:00-00:00",
        "A network with a way out, made when a project asks for one.",
    ),
    (
        "availability_zone",
        "Availability Zone",
        "2015-01-01T10:00:00-00:00",
        "The availability zones that agents are in.",
    ),
    (
        "availability_zone_filter",
        "Availability Zone Filter Extension",
        "2018-06-22T10:00:00-00:00",
        "Availability zones can be filtered.",
    ),
    ("binding", "Port Binding", "2014-02-03T10:00:00-00:00", "Where a port is realised, and how."),
    (
        "binding-extended",
        "Port Bindings Extended",
        "2017-07-17T10:00:00-00:00",
        "Several bindings of one port, one of them active.",
    ),
    (
        "default-subnetpools",
        "Default Subnetpools",
        "2016-02-18T18:00:00-00:00",
        "A subnet can be cut from the default pool of its family.",
    ),
    (
        "dhcp_agent_scheduler",
        "DHCP Agent Scheduler",
        "2013-02-07T10:00:00-00:00",
        "Networks can be assigned to DHCP agents by hand.",
    ),
    ("dns-domain-ports", "dns_domain for ports", "2017-04-24T10:00:00-00:00", "A DNS domain of its own for a port."),
    (
        "dns-integration",
        "DNS Integration",
        "2015-08-15T18:00:00-00:00",
        "DNS names of ports and floating IPs, DNS domains of networks.",
    ),
    (
        "dvr",
        "Distributed Virtual Router",
        "2014-06-1T10:00:00-00:00",
        "Routers that run on every host with their ports.",
    ),
    (
        "empty-string-filtering",
        "Empty String Filtering Extension",
        "2018-05-01T10:00:00-00:00",
        "An empty value of a filter matches an empty attribute.",
    ),
    (
        "expose-port-forwarding-in-fip",
        "Expose Floating IP port forwardings",
        "2018-06-28T16:00:00-00:00",
        "A floating IP shows its port forwardings.",
    ),
    (
        "ext-gw-mode",
        "Neutron L3 Configurable external gateway mode",
        "2013-03-28T10:00:00-00:00",
        "Source address translation at a router's gateway can be turned off.",
    ),
    ("external-net", "Neutron external network", "2013-01-14T10:00:00-00:00", "Networks that lead outside."),
    ("extra_dhcp_opt", "Neutron Extra DHCP options", "2013-03-17T12:00:00-00:00", "DHCP options of a single port."),
    ("extraroute", "Neutron Extra Route", "2013-02-01T10:00:00-00:00", "Static routes of a router."),
    (
        "extraroute-atomic",
        "Atomically add/remove extra routes",
        "2019-07-10T00:00:00+00:00",
        "Routes are added and removed without sending all of them.",
    ),
    ("filter-validation", "Filter parameters validation", "2018-07-04T10:00:00-00:00", "Unknown filters are refused."),
    (
        "fip-port-details",
        "Floating IP Port Details Extension",
        "2018-04-09T10:00:00-00:00",
        "A floating IP shows the port it leads to.",
    ),
    (
        "floating-ip-port-forwarding",
        "Floating IP Port Forwarding",
        "2018-01-19T10:00:00-00:00",
        "Ports of a floating IP that lead to ports of instances.",
    ),
    (
        "floating-ip-port-forwarding-description",
        "Floating IP Port Forwarding new attribute description",
        "2019-11-01T10:00:00-00:00",
        "A description of a port forwarding.",
    ),
    (
        "floating-ip-port-forwarding-detail",
        "Floating IP port forwarding detail",
        "2022-05-06T10:00:00-00:00",
        "More detail of the port forwardings that a floating IP shows.",
    ),
    (
        "floating-ip-port-forwarding-port-ranges",
        "Floating IP Port Forwarding support port ranges",
        "2020-07-01T10:00:00-00:00",
        "Port forwardings of whole ranges.",
    ),
    (
        "floatingip-pools",
        "Floating IP Pools Extension",
        "2018-03-21T10:00:00-00:00",
        "The subnets that floating IPs come from.",
    ),
    (
        "ip-substring-filtering",
        "IP address substring filtering",
        "2017-11-28T09:00:00-00:00",
        "Ports are found by a part of an address.",
    ),
    ("ip_allocation", "IP Allocation", "2016-06-10T23:00:00-00:00", "How a port came to its addresses."),
    (
        "l3-port-ip-change-not-allowed",
        "Prevent L3 router ports IP address change extension",
        "2018-10-09T10:00:00-00:00",
        "Addresses of a router's ports change through the router only.",
    ),
    (
        "l3_agent_scheduler",
        "L3 Agent Scheduler",
        "2013-02-07T10:00:00-00:00",
        "Routers can be assigned to L3 agents by hand.",
    ),
    ("net-mtu", "Network MTU", "2015-03-25T10:00:00-00:00", "The largest packet of a network."),
    (
        "net-mtu-writable",
        "Network MTU (writable)",
        "2017-07-12T00:00:00-00:00",
        "The largest packet of a network can be chosen and changed.",
    ),
    (
        "network-ip-availability",
        "Network IP Availability",
        "2015-09-24T00:00:00-00:00",
        "How many addresses a network has and how many are taken.",
    ),
    (
        "network-ip-availability-details",
        "Network IP Availability Details Extension",
        "2025-10-31T00:00:00-00:00",
        "How many of a network's addresses are in its pools, and how many of those are taken.",
    ),
    (
        "network_availability_zone",
        "Network Availability Zone",
        "2015-01-01T10:00:00-00:00",
        "Availability zones of networks.",
    ),
    ("pagination", "Pagination support", "2016-06-12T00:00:00-00:00", "Lists come in pages, with links."),
    (
        "port-mac-address-regenerate",
        "Neutron Port MAC address regenerate",
        "2018-05-03T10:00:00-00:00",
        "A port gets a fresh MAC address on request.",
    ),
    (
        "port-mac-override",
        "Neutron Port MAC address override",
        "2022-03-18T10:00:00-00:00",
        "A MAC address that is another's on the hardware can be given.",
    ),
    (
        "port-security",
        "Port Security",
        "2012-07-23T10:00:00-00:00",
        "Anti-spoofing can be turned off for a network or port.",
    ),
    (
        "port-security-groups-filtering",
        "Port filtering on security groups",
        "2018-01-09T09:00:00-00:00",
        "Ports are found by their security groups.",
    ),
    ("project-id", "project_id field enabled", "2016-09-09T09:09:09-09:09", "Every tenant_id is a project_id too."),
    ("provider", "Provider Network", "2012-09-07T10:00:00-00:00", "Which wire a network is on."),
    (
        "quota-check-limit",
        "Quota engine limit check",
        "2021-09-08T16:00:00-00:00",
        "A limit is refused when more than that is in use.",
    ),
    (
        "quota-check-limit-default",
        "Quota engine limit check by default",
        "2024-08-21T16:00:00-00:00",
        "Limits are checked against what is in use unless the request says force.",
    ),
    (
        "quota_details",
        "Quota details management support",
        "2017-02-10T10:00:00-00:00",
        "How much of its quota a project uses.",
    ),
    ("quotas", "Quota management support", "2012-07-29T10:00:00-00:00", "How much of each a project may have."),
    (
        "rbac-address-group",
        "Add address_group type to RBAC",
        "2021-01-20T00:00:00-00:00",
        "Address groups can be shared with single projects.",
    ),
    (
        "rbac-address-scope",
        "Add address_scope type to RBAC",
        "2020-02-12T00:00:00-00:00",
        "Address scopes can be shared with single projects.",
    ),
    ("rbac-policies", "RBAC Policies", "2015-06-17T12:15:12-00:00", "Networks can be shared with single projects."),
    (
        "rbac-security-groups",
        "Add security_group type to network RBAC",
        "2019-02-14T00:00:00-00:00",
        "Security groups can be shared with single projects.",
    ),
    (
        "rbac-subnetpool",
        "Add subnetpool type to RBAC",
        "2020-02-05T00:00:00-00:00",
        "Subnet pools can be shared with single projects.",
    ),
    (
        "revision-if-match",
        "If-Match constraints based on revision_number",
        "2016-12-11T00:00:00-00:00",
        "A change can be bound to a revision number.",
    ),
    ("router", "Neutron L3 Router", "2012-07-20T10:00:00-00:00", "Routers and floating IPs."),
    (
        "router-admin-state-down-before-update",
        "Enforce Router's Admin State Down Before Update Extension",
        "2019-07-02T15:56:00",
        "A router is down while it changes between distributed and not.",
    ),
    (
        "router_availability_zone",
        "Router Availability Zone",
        "2015-01-01T10:00:00-00:00",
        "Availability zones of routers.",
    ),
    (
        "security-group",
        "security-group",
        "2012-10-05T10:00:00-00:00",
        "Groups of rules that say what a port may send and receive.",
    ),
    (
        "security-groups-default-rules",
        "Default rules for security groups",
        "2022-12-19T10:00:00-00:00",
        "Templates of the rules that new security groups begin with.",
    ),
    (
        "security-groups-name-restrictions",
        "Security group name restrictions",
        "2026-07-29T10:00:00-00:00",
        "Names of security groups are printable, without blanks around them.",
    ),
    (
        "security-groups-normalized-cidr",
        "Normalized CIDR field for security group rules",
        "2020-07-28T10:00:00-00:00",
        "A rule shows its prefix without host bits.",
    ),
    (
        "security-groups-remote-address-group",
        "Remote address group id field for security group rules",
        "2020-08-25T10:00:00-00:00",
        "A rule's remote can be an address group.",
    ),
    (
        "security-groups-rules-belongs-to-default-sg",
        "Security group rule belongs to the project's default security group",
        "2023-05-23T10:00:00-00:00",
        "A rule shows whether it is of a default group.",
    ),
    (
        "security-groups-shared-filtering",
        "Security group filtering on the shared field",
        "2021-10-05T09:00:00-00:00",
        "Security groups are found by whether they are shared.",
    ),
    ("service-type", "Neutron Service Type Management", "2013-01-20T00:00:00-00:00", "Which provider serves what."),
    ("sort-key-validation", "Sort keys validation", "2018-07-04T10:00:00-00:00", "Unknown sort keys are refused."),
    ("sorting", "Sorting support", "2016-06-12T00:00:00-00:00", "Lists can be sorted by several keys."),
    (
        "standard-attr-description",
        "standard-attr-description",
        "2016-02-10T10:00:00-00:00",
        "Descriptions of everything standard.",
    ),
    (
        "standard-attr-revisions",
        "Resource revision numbers",
        "2016-04-11T10:00:00-00:00",
        "Revision numbers of everything standard.",
    ),
    (
        "standard-attr-tag",
        "Tag support for resources with standard attribute: port, subnet, subnetpool, network, router, floatingip, security_group",
        "2017-01-01T00:00:00-00:00",
        "Tags on everything standard.",
    ),
    (
        "standard-attr-timestamp",
        "Resource timestamps",
        "2016-09-12T10:00:00-00:00",
        "When things were made and changed.",
    ),
    (
        "stateful-security-group",
        "Stateful security group",
        "2019-11-26T09:00:00-00:00",
        "Security groups with or without connection tracking.",
    ),
    (
        "subnet-dns-publish-fixed-ip",
        "Subnet DNS publish fixed IP",
        "2019-05-24T10:00:00-00:00",
        "Whether a subnet's fixed addresses get DNS records.",
    ),
    (
        "subnet-external-network",
        "Subnet belongs to an external network",
        "2024-02-05T18:00:00-00:00",
        "A subnet shows whether its network leads outside.",
    ),
    (
        "subnet-service-types",
        "Subnet service types",
        "2016-03-15T18:00:00-00:00",
        "Subnets for certain kinds of ports.",
    ),
    ("subnet_allocation", "Subnet Allocation", "2015-03-30T10:00:00-00:00", "Subnets cut from subnet pools."),
    (
        "subnet_onboard",
        "Subnet Onboard",
        "2018-12-18T09:00:00-00:00",
        "A network's subnets can be put under a subnet pool.",
    ),
    (
        "subnetpool-prefix-ops",
        "Subnet Pool Prefix Operations",
        "2019-02-08T10:00:00-00:00",
        "Prefixes of a pool are added and removed without sending all of them.",
    ),
    ("tag-creation", "Tag creation extension", "2024-23-07T10:00:00-00:00", "Several tags can be added at once."),
    (
        "tag-ports-during-bulk-creation",
        "Tag Ports During Bulk Creation",
        "2019-12-29T19:00:00-00:00",
        "Ports can be tagged as they are made.",
    ),
    (
        "uplink-status-propagation",
        "Uplink status propagation extension",
        "2018-05-31T18:00:00-00:00",
        "A port shows the state of its uplink.",
    ),
    (
        "uplink-status-propagation-updatable",
        "Uplink status propagation updatable extension",
        "2024-09-03T18:00:00-00:00",
        "Uplink propagation can be changed.",
    ),
)

EXTENSIONS: Final[dict[str, Extension]] = {row[0]: Extension(*row) for row in _TABLE}
