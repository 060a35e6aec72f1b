"""ipset(8): ``ipset save`` and ``ipset list``, both ways.

create NAME hash:net family inet hashsize 1024 maxelem 65536 / add NAME member
"""

from collections.abc import Iterable

from floatway.host.records import Ipset


def parse_save(text: str, netns: str) -> list[Ipset]:
    """The sets of an ``ipset save``."""
    kinds: dict[str, tuple[str, str]] = {}
    members: dict[str, list[str]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 3 and words[0] == "create":
            family = words[words.index("family") + 1] if "family" in words[:-1] else "inet"
            kinds[words[1]] = (words[2], family)
        elif len(words) >= 3 and words[0] == "add":
            members.setdefault(words[1], []).append(words[2])
    return [
        Ipset(netns=netns, name=name, type=kind, family=family, members=tuple(sorted(members.get(name, ()))))
        for name, (kind, family) in kinds.items()
    ]


def render_save(sets: Iterable[Ipset]) -> str:
    """``ipset save`` of these sets (with the kernel's default sizes left out)."""
    lines: list[str] = []
    for one in sets:
        lines.append(f"create {one.name} {one.type} family {one.family}")
        lines += [f"add {one.name} {member}" for member in one.members]
    return "\n".join(lines) + "\n" if lines else ""


def render_list(one: Ipset) -> str:
    """``ipset list NAME``, less sizes and references."""
    return (
        "\n".join([f"Name: {one.name}", f"Type: {one.type}", f"Header: family {one.family}", "Members:", *one.members])
        + "\n"
    )
