"""What a rule's text refers to."""

import re

_TARGET = re.compile(r"(?:^| )-[jg] (\S+)")
_SET = re.compile(r"--(?:match|add|del)-set (\S+)")


def jump_target(rule: str) -> str:
    """The user chain that a rule leads to, or ""; the kernel's own targets are in capitals."""
    match = _TARGET.search(rule)
    return match[1] if match and not match[1].isupper() else ""


def set_names(rule: str) -> list[str]:
    """The IP sets that a rule asks."""
    return _SET.findall(rule) if "-set " in rule else []
