"""How agents read in the API: alive or not is a matter of the moment."""

import time
from collections.abc import Callable
from typing import Any

from floatway.control import entities as e
from floatway.control.decide.agents import alive_at
from floatway.control.present import basic
from floatway.control.settings import Settings
from floatway.control.snapshot import Readable

__all__ = ["agent_presenter"]

Present = Callable[[Readable, Any], dict[str, Any]]
Depends = Callable[[Readable, Any], tuple[object, ...]]


def agent_presenter(settings: Settings, clock: Callable[[], float] = time.time) -> tuple[Present, Depends]:
    """How agents are shown, and what their documents depend on, by this clock (seconds since the epoch)."""

    def present(model: Readable, agent: e.Agent) -> dict[str, Any]:
        del model
        return {**basic(agent), "alive": alive_at(agent, settings, clock())}

    def depends(model: Readable, agent: e.Agent) -> tuple[object, ...]:
        del model
        return (alive_at(agent, settings, clock()),)

    return present, depends
