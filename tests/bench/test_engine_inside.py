"""The console with the engine inside: keys while it works, and how long the engine holds their event loop.

A growing Cowrie log makes some 500 events a second on the bus: lines, what sessions amount to, observations,
tags. The figures are meant for a machine that has nothing else to do.
"""

from __future__ import annotations

import asyncio
import threading
import time
from asyncio import events
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from decnet.config import load_settings
from decnet.engine import Engine
from decnet.logs import configure_logging
from tests.bench.figures import Table, key_to_screen, p95
from tests.cowriegen import lines
from tests.ptykit import terminal

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]
EVENTS = 500
LINES = 170
"""A second; each becomes about three events."""
BUSY_S = 20.0


@contextmanager
def growing(log: Path, rate: float, seconds: float) -> Iterator[None]:
    """A log that gets ``rate`` lines a second until the block ends, for ``seconds`` at most."""
    made, ended = lines(int(rate * seconds), 7), threading.Event()

    def write() -> None:
        started, sent = time.monotonic(), 0
        with log.open("a", encoding="utf-8") as file:
            while sent < len(made) and not ended.wait(0.05):
                due = int((time.monotonic() - started) * rate)
                file.write("".join(f"{line}\n" for line in made[sent:due]))
                file.flush()
                sent = due

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        ended.set()
        writer.join()


@pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=str)
def test_keys_while_the_engine_works(tmp_path: Path, table: Table, size: tuple[int, int]) -> None:
    log = tmp_path / "cowrie.json"
    log.touch()
    with terminal("--data-dir", tmp_path / "data", "--sensor", f"cowrie={log}", size=size) as screen:
        screen.shows(" LIVE ", 60)
        screen.press("1")
        screen.read(3)
        with growing(log, LINES, 60):
            screen.read(5)
            taken = key_to_screen(screen, 60)
            screen.read(1)
            rate = screen.lines[0].partition(" LIVE ")[2].partition("/s")[0]
    at = f"{size[0]}x{size[1]} at {rate}/s"
    table.add(f"key to screen, engine inside, median {at}", taken[len(taken) // 2], 100.0, "ms")
    table.add(f"key to screen, engine inside, p95 {at}", p95(taken), 100.0, "ms")


async def test_the_engine_holds_the_loop_for_moments_only(
    tmp_path: Path, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "cowrie.json"
    log.touch()
    settings = load_settings(data_dir=tmp_path / "data", sensors=[{"kind": "cowrie", "path": str(log)}])
    configure_logging("json", "WARNING")
    held, run = list[float](), events.Handle._run

    def timed(handle: events.Handle) -> None:
        started = time.perf_counter()
        run(handle)
        held.append(1000 * (time.perf_counter() - started))

    engine, seen = Engine(settings), 0
    await engine.start()
    try:
        async with asyncio.timeout(60), engine.bus.subscribe(">") as live:
            with growing(log, LINES, BUSY_S + 20):
                # From the first moment: rules are compiled meanwhile, libraries loaded, statements made.
                monkeypatch.setattr(events.Handle, "_run", timed)
                started = time.monotonic()
                async for _ in live:
                    seen += 1
                    if time.monotonic() - started > BUSY_S:
                        break
                monkeypatch.undo()
    finally:
        await engine.stop()
    held.sort()
    assert seen / BUSY_S >= EVENTS
    table.add(
        f"99 of 100 turns of the loop at {seen / BUSY_S:.0f}/s", held[int(len(held) * 0.99)], 20.0, "ms"
    )
    table.add("the longest turn of the loop", held[-1], 20.0, "ms")
