"""A process that commits until it is killed, and says so after each acknowledgement: FILE PIPE."""

import asyncio
import os
import random
import sys
from pathlib import Path

from floatway.store.sqlite import SqliteStore
from storing import changes


async def main() -> None:
    path, pipe = Path(sys.argv[1]), int(sys.argv[2])
    store = await SqliteStore.open(path, keep=300)
    head = await store.head()
    os.write(pipe, head.to_bytes(8, "big"))

    async def commit(expected: int, count: int) -> None:
        reached = await store.commit(expected, [changes(expected + 1 + n) for n in range(count)])
        os.write(pipe, reached.to_bytes(8, "big"))

    while True:
        waiting = []
        for _ in range(random.randrange(1, 5)):  # several commits on their way at once share a transaction
            count = random.randrange(1, 6)
            waiting.append(asyncio.create_task(commit(head, count)))
            head += count
        await asyncio.gather(*waiting)


asyncio.run(main())
