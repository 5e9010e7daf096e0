"""No room under the database, under the bus, under a sensor's checkpoint: said, nothing lost, and it goes on by itself."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.fault.clusterkit import nodes
from tests.fault.crew import CONFIG_OF_A_SERVER
from tests.fault.growing import write
from tests.fault.outcome import Outcome, outcome, rows, same, sessions_in
from tests.fault.rooms import FileSize, Room, file_system
from tests.fault.scene import LIMIT_S, Scene, url_of
from tests.fault.watching import Watch, watching
from tests.programkit import Daemon, launched, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
SESSIONS, BEFORE = 100, 15
"""Sessions in all, and those that are worked off while there is room."""
SAID_S = 30.0
LONGEST = 256 * 1024
FEW = ("--workers", "sensors,recorder,ttp")


@contextmanager
def engine(
    scene: Scene, data: Path, *given: str | Path, without: str = "", reads: bool = True
) -> Iterator[Daemon]:
    """An engine of a scene."""
    program = [
        sys.executable,
        "-m",
        "tests.fault.without",
        *(("--without", without) if without else ()),
        "--",
    ]
    sensor = scene.sensor() if reads else ()
    running = launched(data, scene.engine_log, "--config", scene.config, *sensor, *given, program=program)
    try:
        until(running.attachable, 60, "the engine")
        yield running
    finally:
        running.end()


def stored(url: str, count: int) -> None:
    """Waits until so many sessions are stored."""
    until(lambda: sessions_in(url) >= count, LIMIT_S, f"{count} sessions, {sessions_in(url)} there")


def intact(url: str) -> bool:
    """Whether a SQLite file is what it has to be."""
    return rows(url, "PRAGMA integrity_check") == [("ok",)]


async def said(data: Path, worker: str, words: str) -> Watch:
    """Waits until a worker says it on the bus, in words that the console shows."""
    async with watching(data) as watch:
        await watch.until(lambda: words in watch.note(worker), SAID_S, f"{worker}: {words}")
        assert words[:40] in watch.screen()
        return watch


def settled(url: str) -> None:
    """What stands in the log of a SQLite file goes into the file: the log has to grow again."""
    with closing(sqlite3.connect(make_url(url).database or "", timeout=30)) as db:
        until(lambda: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0, 30, "a checkpoint")


def portions(scene: Scene) -> tuple[list[str], list[str]]:
    """The lines that are there while there is room, and the others."""
    each = len(scene.lines) // scene.sessions
    return scene.lines[: BEFORE * each], scene.lines[BEFORE * each :]


@contextmanager
def room_of(kind: str, data: Path) -> Iterator[Room | None]:
    """A file system of its own for a data directory, with what it holds; None where a process is to be limited."""
    if kind == "file size":
        yield None
        return
    held = {file.name: file.read_bytes() for file in data.iterdir()}
    with file_system(data, 64) as room:
        for name, content in held.items():
            (data / name).write_bytes(content)
            (data / name).chmod(0o600)
        yield room


def worked_off(tmp_path: Path, kind: str, words: str, without: str = "") -> tuple[Scene, Outcome]:
    """An engine whose database has no room for most of the log, and room again in the end; what came of it."""
    scene = Scene(tmp_path, SESSIONS, CONFIG_OF_A_SERVER)
    first, rest = portions(scene)
    url = url_of(scene.data)
    with nodes(tmp_path / "nats") as (bus,), room_of(kind, scene.data) as shared:
        write(scene.log, first)
        with engine(scene, scene.data, *FEW, "--bus", bus.url, without=without) as running:
            stored(url, BEFORE)
            room = shared or FileSize(running.process.pid, LONGEST)
            settled(url)
            room.fill()
            write(scene.log, rest)
            asyncio.run(said(scene.data, "recorder", words))
            assert sessions_in(url) < SESSIONS
            room.free()
            if not without:
                stored(url, SESSIONS)
                assert running.stop() == 0, running.said()
        scene.to_the_end(scene.data, *FEW, "--bus", bus.url)
        assert intact(url)
        return scene, outcome(url)


@pytest.mark.fault(
    fault="no room under the database, and room again: a full file system, and files that may not grow (EFBIG, as a quota)",
    guard="an outage of the database is no failure of an event: nothing is acknowledged, the batch is kept and tried again",
    control="test_a_full_database_loses_what_is_acknowledged_too_early",
    figure="said in health and console; lost 0, doubled 0, no restart; integrity check ok",
)
@pytest.mark.parametrize(
    ("kind", "words"),
    [("file system", "disk full: nothing is acknowledged"), ("file size", "the disk under the database")],
)
def test_a_full_database_is_said_and_costs_nothing(tmp_path: Path, kind: str, words: str) -> None:
    scene, found = worked_off(tmp_path, kind, words)
    same(found, scene.undisturbed(*FEW), scene.made)


def test_a_full_database_loses_what_is_acknowledged_too_early(tmp_path: Path) -> None:
    scene, found = worked_off(tmp_path, "file size", "the disk under the database", "ack-after-commit")
    assert scene.made - found.commands, "lost"


@pytest.mark.fault(
    fault="no room under the bus, and room again",
    guard="a publish that the broker did not store is no success: sensors hold their checkpoints; a wedged store is restarted once there is room",
    control="mutant bus-refusal-is-success",
    figure="said in health and console; lost 0, doubled 0, no restart of the engine",
)
def test_a_full_bus_is_said_and_costs_nothing(tmp_path: Path) -> None:
    scene = Scene(tmp_path, SESSIONS)
    first, rest = portions(scene)
    url = url_of(scene.data)
    with file_system(scene.data / "bus", 160) as room:
        write(scene.log, first)
        with engine(scene, scene.data, *FEW) as running:
            stored(url, BEFORE)
            room.fill()
            write(scene.log, rest)
            asyncio.run(said(scene.data, "sensors", str(scene.log)))
            assert sessions_in(url) < SESSIONS
            room.free()
            stored(url, SESSIONS)
            assert running.stop() == 0, running.said()
        scene.to_the_end(scene.data, *FEW)
        same(outcome(url), scene.undisturbed(*FEW), scene.made)
    assert intact(url)


@pytest.mark.fault(
    fault="no room under the checkpoint of a sensor's host, which is killed then",
    guard="the checkpoint only spares work: what is read again has the same ids",
    control="mutant sensors-save-fault-clean",
    figure="said in health and console; lost 0, doubled 0",
)
def test_a_full_checkpoint_is_said_and_costs_nothing(tmp_path: Path) -> None:
    scene = Scene(tmp_path, SESSIONS, CONFIG_OF_A_SERVER)
    first, rest = portions(scene)
    centre, sensor = tmp_path / "centre", scene.data
    shutil.copytree(scene.data, centre)
    url = url_of(centre)
    with nodes(tmp_path / "nats") as (bus,), room_of("file system", sensor) as room:
        assert room is not None
        given = ("--bus", bus.url)
        others = ("--workers", "recorder,ttp")
        with engine(scene, centre, *given, *others, reads=False):
            write(scene.log, first)
            with engine(scene, sensor, *given, "--workers", "sensors") as running:
                stored(url, BEFORE)
                room.fill()
                write(scene.log, rest)
                asyncio.run(said(sensor, "sensors", "checkpoint not saved"))
                stored(url, SESSIONS)
                running.kill()
            room.free()
            with engine(scene, sensor, *given, "--workers", "sensors", "--until-idle", "1") as running:
                assert running.process.wait(60) == 0, running.said()
        scene.to_the_end(centre, *FEW, *given)
        assert intact(url_of(sensor))
        same(outcome(url), scene.undisturbed(*FEW), scene.made)
