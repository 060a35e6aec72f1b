"""What the store's tests share: revisions whose content follows from their number, so that any store can be checked against any claim.

changes(7) is what revision 7 changes, always. A store at revision N holds exactly what changes(1) … changes(N) leave: a lost,
doubled, torn or misplaced revision shows.
"""

import random
from collections.abc import Iterable

from floatway.store.base import Change, Commit, Snapshot, Store

Objects = dict[tuple[str, str], bytes]


def changes(revision: int) -> tuple[Change, ...]:
    """What this revision changes: puts, overwrites, deletes, now and then many, now and then nothing."""
    chance = random.Random(revision)
    count = chance.choice([0, 1, 1, 1, 2, 3, 5, 40] if revision % 97 else [600])
    return tuple(
        Change(
            chance.choice(["port", "network"]),
            f"id-{chance.randrange(60 if count < 600 else 5000)}",
            None if chance.random() < 0.2 else chance.randbytes(chance.choice([0, 1, 300, 3000])),
        )
        for _ in range(count)
    )


def replayed(commits: Iterable[Commit], onto: Objects | None = None) -> Objects:
    """What the commits leave."""
    objects = dict(onto or {})
    for commit in commits:
        for change in commit.changes:
            if change.body is None:
                objects.pop((change.kind, change.id), None)
            else:
                objects[change.kind, change.id] = change.body
    return objects


def expected(revision: int) -> Objects:
    """What a store at this revision must hold."""
    return replayed(Commit(number, changes(number)) for number in range(1, revision + 1))


def held(snapshot: Snapshot) -> Objects:
    """A snapshot as a dict; nothing is in it twice."""
    pairs = [((kind, id_), body) for kind, id_, body in snapshot.objects]
    assert len({key for key, _ in pairs}) == len(pairs)
    return dict(pairs)


async def committed(store: Store, count: int, *, at_once: int = 1) -> int:
    """Commit the next ``count`` revisions, ``at_once`` in each transaction."""
    head = await store.head()
    until = head + count
    while head < until:
        head = await store.commit(head, [changes(head + 1 + n) for n in range(min(at_once, until - head))])
    return head


async def watched(store: Store, after: int, until: int) -> list[Commit]:
    """What a watcher sees from ``after`` to ``until``."""
    seen: list[Commit] = []
    if after < until:
        async for commit in store.watch(after):
            seen.append(commit)
            if commit.revision >= until:
                break
    return seen
