"""Three engines started in the same moment on an empty PostgreSQL: the tags are those of one engine alone."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from decnet.db.repository import BaseRepository
from decnet.keyed import load_key
from tests.acceptance.test_log_file import settled
from tests.cowriegen import write_log
from tests.dbkit import database_url
from tests.natskit import PASSWORD, USER, nats_server
from tests.programkit import PROGRAM, cli, run_until_idle, surroundings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
COMMANDS = 900
STOP_S = 20.0


@contextmanager
def _engine(folder: Path, *arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """An engine as a process of its own, not waited for; what is left of it ends with the block."""
    with (folder.with_suffix(".log")).open("wb") as output:
        process = subprocess.Popen(
            [PROGRAM, "--headless", "--data-dir", str(folder), *map(str, arguments)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=surroundings(),
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _rows(what: str, *where: str | Path) -> list[dict[str, Any]]:
    done = cli(what, "--json", "--limit", "0", *where)
    assert done.returncode == 0, done.stderr.decode()
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


async def test_three_engines_started_at_once_on_an_empty_database_tag_as_one_alone(tmp_path: Path) -> None:
    log, own = tmp_path / "cowrie.json", tmp_path / "own"
    write_log(log, COMMANDS, seed=11)
    load_key(own)
    folders = [tmp_path / name for name in ("one", "two", "three")]
    for folder in folders:
        shutil.copytree(own, folder)  # ids of credentials are made with the key of the data directory
    alone = await asyncio.to_thread(run_until_idle, log, own, timeout=120)
    assert alone.returncode == 0, alone.stderr.decode()[-2000:]
    config = tmp_path / "settings.yaml"
    config.write_text(f"bus: {{user: {USER}, password: {PASSWORD}}}\n", "utf-8")
    with nats_server(tmp_path / "nats") as bus_url:
        async with database_url("postgresql", tmp_path) as db_url:
            given = ("--config", config, "--bus", bus_url, "--db", db_url)
            with ExitStack() as running:
                reads = ("--sensor", f"cowrie={log}", "--until-idle", "2")
                first, *others = [
                    running.enter_context(_engine(folder, *given, *(reads if folder == folders[0] else ())))
                    for folder in folders
                ]
                code = await asyncio.to_thread(first.wait, 180)
                assert code == 0, (tmp_path / "one.log").read_text("utf-8")[-3000:]
                assert [other.poll() for other in others] == [None, None], "the others run on"
                beats = _states(await asyncio.to_thread(_rows, "workers", "--db", db_url))
                assert beats["ttp"] in ("ok", "stopped")
                repo = await BaseRepository.open(db_url)
                try:
                    assert await repo.untagged_count() == 0
                finally:
                    await repo.close()
                for what in ("sessions", "tags"):
                    here = await asyncio.to_thread(_rows, what, "--data-dir", own)
                    there = await asyncio.to_thread(_rows, what, "--db", db_url)
                    assert len(here) > COMMANDS / 20, what
                    assert settled(there) == settled(here), what


def _states(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {row["worker"]: row["status"] for row in rows}
