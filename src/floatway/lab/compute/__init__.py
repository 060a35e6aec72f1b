"""The lab's small compute and image endpoint: enough of Nova and Glance that ``openstack server create`` and its sisters work.

    openstack ──▶ endpoint ──▶ Networking API: ports of compute:nova, bound to a host
                     └───────▶ a machine of namespaces with a tap on that host, which the host's agent takes in

It is the lab's own, listens on loopback only, and stands for Nova nowhere else.
"""
