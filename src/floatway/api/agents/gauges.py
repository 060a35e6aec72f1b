"""What Prometheus reads of the hosts' agents.

floatway_agents_connected 3                              floatway_agents_behind 1
floatway_agents_applied_seconds_bucket{le="0.025"} 977   from the commit to the host's word that it has it
floatway_agents_failures 0                               floatway_agents_events_total{kind="repaired"} 2
"""

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from floatway.api.agents.hub import EVENTS, Hub

__all__ = ["watch"]

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)


def watch(registry: CollectorRegistry, hub: Hub) -> None:
    """Let every scrape look at the hub."""
    registry.register(_Hosts(hub))
    hub.observe = Histogram(
        "floatway_agents_applied_seconds",
        "Time from a revision to the word of a host that it concerns that it is applied.",
        buckets=BUCKETS,
        registry=registry,
    ).observe


class _Hosts(Collector):
    """Read off the hub when somebody asks."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        """The gauges now."""
        hub = self._hub
        here = [one for one in hub.presences.values() if one.connected]
        late = hub.behind(hub.revision)
        oldest = max((hub.clock() - one.behind_since for one in late), default=0.0)
        failures = sum(len(one.failures) for one in hub.presences.values())
        yield GaugeMetricFamily("floatway_agents_connected", "Hosts whose agent is connected here.", value=len(here))
        yield GaugeMetricFamily("floatway_agents_behind", "Hosts that have something still to apply.", value=len(late))
        yield GaugeMetricFamily(
            "floatway_agents_behind_seconds", "For how long the slowest of them has.", value=max(0.0, oldest)
        )
        yield GaugeMetricFamily("floatway_agents_failures", "Resources that hosts could not make.", value=failures)
        events = CounterMetricFamily("floatway_agents_events", "What hosts told of.", labels=["kind"])
        for kind in EVENTS:
            events.add_metric([kind], hub.events[kind])
        yield events
