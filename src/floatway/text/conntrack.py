"""conntrack(8): ``conntrack -L``, both ways.

icmp 1 29 src=172.12.10.4 dst=192.168.0.1 type=8 code=0 id=9 src=… dst=… type=0 code=0 id=9 mark=0 zone=4097 use=1
"""

from floatway.host.records import Connection, Opaque, Record, Tuple5

_FLAGS = {"[UNREPLIED]": "UNREPLIED", "[ASSURED]": "ASSURED"}


def parse_conntrack(text: str, netns: str) -> list[Record]:
    """The entries; a line that is none becomes an Opaque record. IPv6 entries are left out."""
    found: list[Record] = []
    for row in text.splitlines():
        if not row.strip() or "flow entries have been shown" in row:
            continue
        words = row.split()
        if words[0] in ("ipv4", "ipv6"):
            words = words[2:]
        try:
            entry = _entry(words, netns)
        except (KeyError, ValueError, IndexError):
            found.append(Opaque(source=f"conntrack {netns}".strip(), line=row))
            continue
        if ":" not in entry.original.src:
            found.append(entry)
    return found


def _entry(words: list[str], netns: str) -> Connection:
    proto, state = words[0], ""
    pairs: list[tuple[str, str]] = []
    flags: list[str] = []
    for word in words[2:]:
        name, equals, value = word.partition("=")
        if equals:
            pairs.append((name, value))
        elif word in _FLAGS:
            flags.append(_FLAGS[word])
        elif word.isupper() or "_" in word:
            state = word.strip("[]")
    second = [index for index, (name, _) in enumerate(pairs) if name == "src"][1]
    # mark, use and zone come last: they are none of a tuple's fields, and zones of one direction only are not shown so
    rest = dict(pairs[second:])
    return Connection(
        netns=netns,
        original=_tuple(proto, dict(pairs[:second])),
        reply=_tuple(proto, rest),
        zone=int(dict(pairs).get("zone", "0")),
        state=state,
        flags=tuple(flags),
        mark=int(rest.get("mark", "0")),
    )


def _tuple(proto: str, fields: dict[str, str]) -> Tuple5:
    if "type" in fields:
        sport, dport = int(fields["id"]), int(fields["type"]) * 256 + int(fields["code"])
    else:
        sport, dport = int(fields.get("sport", "0")), int(fields.get("dport", "0"))
    return Tuple5(proto=proto, src=fields["src"], dst=fields["dst"], sport=sport, dport=dport)


def _side(one: Tuple5) -> str:
    if one.proto == "icmp":
        return f"src={one.src} dst={one.dst} type={one.dport >> 8} code={one.dport & 255} id={one.sport}"
    return f"src={one.src} dst={one.dst} sport={one.sport} dport={one.dport}"


_NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17}


def line(entry: Connection) -> str:
    """The entry as ``conntrack -L`` prints it, less its timeout."""
    proto = entry.original.proto
    words = [f"{proto:<8} {_NUMBERS.get(proto, 0)}"]
    words += [entry.state] if entry.state else []
    words.append(_side(entry.original))
    words += ["[UNREPLIED]"] if "UNREPLIED" in entry.flags else []
    words.append(_side(entry.reply))
    words += ["[ASSURED]"] if "ASSURED" in entry.flags else []
    words.append(f"mark={entry.mark}")
    words += [f"zone={entry.zone}"] if entry.zone else []
    return " ".join(words)
