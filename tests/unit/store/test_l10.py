"""Law L10 on SQLite: see interleaving."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given

from effort import examples
from floatway.store.sqlite import SqliteStore
from interleaving import STEPS, history_of


@examples(60)
@given(steps=STEPS)
def test_l10_any_interleaving_is_one_history(steps: list[tuple[int, int, str]]) -> None:
    async def story() -> None:
        with tempfile.TemporaryDirectory() as directory:
            store = await SqliteStore.open(Path(directory) / "floatway.db")
            await history_of([store], steps)
            await store.close()

    asyncio.run(story())
