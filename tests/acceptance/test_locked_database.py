"""A database that somebody locks is named within five seconds: on the bus, so in the console, and by the commands."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import make_url
from typer.testing import CliRunner

from decnet.config import load_settings
from decnet.engine import Engine
from decnet_tui.cli.main import app
from decnet_tui.model.feed import Feed
from decnet_tui.screens.workers import WorkersView
from tests.dbkit import KINDS, migrated_url
from tests.integration.test_db_blocked import held

NAMED_S = 5.0
PATIENCE_S = 10 * NAMED_S
WORKERS = ("recorder", "behave", "attribution")


@asynccontextmanager
async def locked(kind: str, url: str) -> AsyncIterator[int]:
    """Somebody else's lock on everything; the id of his process or of its connection."""
    if kind == "sqlite":
        with ExitStack() as stack:  # beside the loop: the engine has to end what it is about to write
            yield await asyncio.to_thread(stack.enter_context, held(Path(make_url(url).database or "")))
        return
    other = await asyncpg.connect(
        make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    )
    try:
        async with other.transaction():
            await other.execute("LOCK TABLE worker_heartbeat, session, attacker IN ACCESS EXCLUSIVE MODE")
            yield other.get_server_pid()
    finally:
        await other.close()


async def _until(feed: Feed, want: Any) -> float:
    """Seconds until the feed says it; the test's own limit ends it otherwise."""
    began = time.monotonic()
    while not want(feed):
        await asyncio.sleep(0.02)
    return time.monotonic() - began


def _said(feed: Feed) -> dict[str, tuple[str, str]]:
    return {
        name: (model.status(time.time(), 10.0), str(model.payload.get("note")))
        for name, model in feed.workers.items()
    }


@pytest.mark.slow
@pytest.mark.timeout(4 * PATIENCE_S)
@pytest.mark.parametrize("kind", KINDS)
async def test_every_worker_says_who_locks_the_database_and_is_well_again_afterwards(
    kind: str, tmp_path: Path
) -> None:
    assert max(await named_and_well(kind, tmp_path)) < PATIENCE_S


async def named_and_well(kind: str, tmp_path: Path) -> tuple[float, float]:
    """Seconds until everybody says who locks a database, and until all are well when it is over."""
    async with migrated_url(kind, tmp_path) as url:
        settings = load_settings(
            data_dir=tmp_path,
            db=url,
            bus={"type": "memory"},
            workers=WORKERS,
            ttp_rule_store_type="filesystem",
        )
        engine = Engine(settings)
        await engine.start()
        feed = Feed()

        async def follow() -> None:
            async with engine.bus.subscribe("system.*.health") as news:
                async for event in news:
                    feed.add(event)

        task = asyncio.create_task(follow())
        try:
            everyone = {*WORKERS, "database", "bus"}
            await _until(
                feed, lambda f: {n for n, (state, _) in _said(f).items() if state == "ok"} >= everyone
            )
            async with locked(kind, url) as pid:
                took = await _until(
                    feed,
                    lambda f: (
                        all(_said(f)[w][0] == "waiting_for_database" for w in WORKERS)
                        and _said(f)["database"][0] == "locked"
                    ),
                )
                for name in (*WORKERS, "database"):
                    assert f"the database is locked by process {pid} " in _said(feed)[name][1], name
                view = WorkersView(feed)
                view.sync(time.time())
                shown = "\n".join("".join(t for t, _ in view.line(i, 300)) for i in range(view.count()))
                assert "locked" in shown
                assert shown.count(f"locked by process {pid}") == len(WORKERS) + 1
                if kind == "sqlite":  # the commands read the same database
                    await asyncio.to_thread(_commands_name, pid, tmp_path, url)
            return took, await _until(feed, lambda f: all(_said(f)[n][0] == "ok" for n in everyone))
        finally:
            task.cancel()
            await engine.stop(5.0)


def _commands_name(pid: int, data_dir: Path, url: str) -> None:
    began = time.monotonic()
    done = CliRunner().invoke(app, ["workers", "--json", "--data-dir", str(data_dir), "--db", url])
    rows = {row["worker"]: row for row in json.loads(done.stdout)}
    assert time.monotonic() - began < PATIENCE_S
    assert {rows[w]["status"] for w in WORKERS} == {"waiting_for_database"}
    assert rows["database"]["status"] == "locked"
    assert f"locked by process {pid} " in rows["ttp" if "ttp" in rows else "recorder"]["note"]
    began = time.monotonic()
    done = CliRunner().invoke(app, ["doctor", "--json", "--data-dir", str(data_dir), "--db", url])
    checks = {row["check"]: row for row in json.loads(done.stdout)}
    assert time.monotonic() - began < PATIENCE_S
    assert done.exit_code == 1
    assert checks["database"]["result"] == "FAIL"
    assert f"locked by process {pid} " in checks["database"]["detail"]
