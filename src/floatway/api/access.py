"""What an application credential may be used for: some methods on some paths, no more.

    openstack application credential create --access-rules '[{"service": "network", "method": "GET", "path": "/v2.0/ports/*"}]'

Such a credential's tokens carry the rules (https://docs.openstack.org/keystone/latest/user/application_credentials.html);
what none of them lets through is refused like an unknown token.
"""

import re
from typing import Final

from floatway.control.caller import Caller
from floatway.control.errors import unauthorized

__all__ = ["matches", "permitted"]

_PARTS: Final = re.compile(r"\{[^}]*\}|\*\*|\*|[^{*]+|\{")


def permitted(caller: Caller, method: str, path: str) -> Caller:
    """The caller, unless their token's access rules leave this request out.

    Raises:
        ApiError: 401.
    """
    rules = caller.access_rules
    if rules is None or any(rule.method == method and matches(rule.path, path) for rule in rules):
        return caller
    raise unauthorized("Keystone")


def matches(pattern: str, path: str) -> bool:
    """Whether the path is of the pattern: ``{name}`` and ``*`` stand for one part, ``**`` for any number of them.

    The pattern is a user's: a regular expression made of it could be made to take for ever.
    """
    ends = {0}
    for part in _PARTS.findall(pattern):
        if part == "**":
            ends = set(range(min(ends), len(path) + 1))
        elif part == "*" or (part.startswith("{") and part.endswith("}")):
            ends = _within_parts(path, ends)
        else:
            ends = {at + len(part) for at in ends if path.startswith(part, at)}
        if not ends:
            return False
    return len(path) in ends


def _within_parts(path: str, starts: set[int]) -> set[int]:
    """Where one or more characters other than a slash can end, from each of ``starts``."""
    ends: set[int] = set()
    done: set[int] = set()
    for at in sorted(starts):
        slash = path.find("/", at)
        stop = len(path) if slash < 0 else slash
        if stop not in done:  # an earlier start within the same part reaches all that this one does
            done.add(stop)
            ends.update(range(at + 1, stop + 1))
    return ends
