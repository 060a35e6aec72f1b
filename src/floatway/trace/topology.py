"""Which device is joined to which, whatever is configured on them: to tell which copy of a flooded frame was the right one."""

from floatway.trace.course import Context, Place

DEPTH = 8


def leads_to(ctx: Context, start: Place, targets: list[Place]) -> bool:
    """Does a frame sent out of (or into) ``start`` come to one of the targets without passing another Open vSwitch bridge?"""
    front, seen = [start], {start}
    for _ in range(DEPTH):
        if any(place in targets for place in front):
            return True
        following = [place for here in front for place in _neighbours(ctx, here) if place not in seen]
        seen.update(following)
        front = following
    return False


def _neighbours(ctx: Context, place: Place) -> list[Place]:
    if place.host not in ctx.world.machines:
        return []
    found = list(ctx.wired(place) or ())
    known = ctx.index(place.host)
    link = known.link(place.netns, place.device)
    if link is None:
        return found
    if link.peer:
        found.append(Place(place.host, link.peer_netns, link.peer))
    if link.master:
        found += [
            Place(place.host, place.netns, one.name)
            for one in known.members.get((place.netns, link.master), ())
            if one.name != place.device
        ]
    # a port of Open vSwitch leads back into the bridge: not followed
    return [one for one in found if not (one.netns == "" and known.port(one.device) is not None)]
