"""The worker's files: taken over while it runs, and in its health with name, kind, age, entries and what is wrong."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from decnet.bus.memory import Broker, MemoryBus
from decnet.bus.null import NullBus
from decnet.config import BusSettings, load_settings
from decnet.errors import BusUnavailable
from decnet.intel.worker import ENDED, MAX_SHOWN, IntelWorker

NOW = 1_000_000_600.0
MTIME = 1_000_000_000


def put(path: Path, text: str, at: int = MTIME) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (at, at))


async def started(folder: Path, **more: Any) -> IntelWorker:
    worker = IntelWorker(load_settings(data_dir=folder, **more), clock=lambda: NOW)
    await worker.start(None, NullBus())  # type: ignore[arg-type]
    return worker


async def test_without_files_and_services_there_is_nothing_to_tell(tmp_path: Path) -> None:
    worker = await started(tmp_path)
    await worker.refresh()
    assert (worker.topics, worker.unfinished(), worker.asker) == ((), "", None)
    assert worker.health() == {
        "sources": [], "sources_read": 0, "sources_taken": 0, "sources_refused": 0, "sources_faulty": 0,
        "sources_passed_over": 0, "services": {}, "degraded": "",
    }  # fmt: skip
    await worker.stop()


async def test_a_file_that_changes_is_taken_over_and_one_that_breaks_is_named_and_degrades(
    tmp_path: Path,
) -> None:
    tor, bad = tmp_path / "intel" / "tor.txt", tmp_path / "intel" / "asn.tsv"
    put(tor, "185.220.101.4\n")
    put(tmp_path / "intel" / "README.md", "x")
    worker = await started(tmp_path)
    await worker.refresh()
    shown = {"name": "tor", "kind": "cidr", "state": "ok", "entries": 1, "age_s": 600.0, "error": ""}
    health = worker.health()
    assert (health["sources"], health["sources_passed_over"], health["degraded"]) == ([shown], 1, "")
    assert worker.places.lookup("185.220.101.5").lists == ()

    put(tor, "185.220.101.4\n185.220.101.9\n", MTIME + 60)
    await worker.refresh()
    assert worker.places.lookup("185.220.101.9").lists == ("tor",)
    assert worker.health()["sources"] == [{**shown, "entries": 2, "age_s": 540.0}]

    put(tor, "<html>\n", MTIME + 120)
    put(bad, "x\n")
    await worker.refresh()
    assert worker.places.lookup("185.220.101.9").lists == ("tor",), "what was there before stays in force"
    health = worker.health()
    assert [(one["name"], one["state"], one["entries"]) for one in health["sources"]] == [
        ("asn", "failed", None), ("tor", "old", 2),
    ]  # fmt: skip
    assert (health["sources_faulty"], health["sources_read"]) == (2, 0)
    assert health["degraded"].startswith(f"asn (failed): {bad}")
    assert f"tor (old): {tor}" in health["degraded"]

    put(tor, "185.220.101.7\n", MTIME + 180)
    bad.unlink()
    await worker.refresh()
    health = worker.health()
    assert (health["degraded"], [one["state"] for one in health["sources"]]) == ("", ["ok"])
    await worker.stop()


@pytest.mark.parametrize(("files", "shown"), [(MAX_SHOWN, MAX_SHOWN), (MAX_SHOWN + 1, MAX_SHOWN)])
async def test_health_tells_of_so_many_files_and_of_the_broken_ones_first(
    tmp_path: Path, files: int, shown: int
) -> None:
    for n in range(files - 1):
        put(tmp_path / "intel" / f"a{n:03}.txt", "9.9.9.9\n")
    put(tmp_path / "intel" / "zz.txt", "?\n")
    worker = await started(tmp_path)
    await worker.refresh()
    health = worker.health()
    assert (len(health["sources"]), health["sources"][0]["name"], health["sources_read"]) == (
        shown,
        "zz",
        files - 1,
    )
    await worker.stop()


async def test_the_background_task_reads_files_and_leaves_the_stream_once_the_bus_lets_it(
    tmp_path: Path,
) -> None:
    settings = BusSettings()
    broker = Broker(settings)
    bus = MemoryBus(settings=settings, broker=broker)
    await bus.connect()
    await bus.consume("intel", [ENDED])
    put(tmp_path / "intel" / "tor.txt", "185.220.101.4\n")
    worker = await started(tmp_path, intel={"refresh_s": 0.001})
    await worker.start(None, bus)  # type: ignore[arg-type]
    read = asyncio.Event()
    real = worker.refresh

    async def refresh() -> None:
        await real()
        read.set()

    worker.refresh = refresh  # type: ignore[method-assign]
    task = asyncio.create_task(worker.background()["files"]())  # type: ignore[arg-type]
    await read.wait()
    assert worker.places.lookup("185.220.101.4").lists == ("tor",)
    assert "intel" not in broker.durables
    task.cancel()
    await worker.stop()
    await bus.close()


async def test_a_key_that_is_not_taken_degrades_by_name(tmp_path: Path) -> None:
    worker = await started(tmp_path, greynoise={"enabled": True}, feodo={"enabled": True})
    assert worker.asker is not None
    governor = worker.asker.desk._governor
    asked = governor.decide("greynoise", worker.asker.desk.askable("address", "9.9.9.9"))
    governor.failed(asked, "refused")  # type: ignore[arg-type]
    health = worker.health()
    assert health["degraded"] == "greynoise: the key is not taken"
    assert health["services"]["greynoise"]["rests_until"] == NOW + 3600
    await worker.stop()


async def test_without_a_bus_the_place_in_the_stream_is_left_later(tmp_path: Path) -> None:
    class Away(NullBus):
        async def forget_consumer(self, name: str) -> None:
            raise BusUnavailable(name)

    worker = await started(tmp_path)
    assert await worker._leave_stream() is True
    await worker.start(None, Away())  # type: ignore[arg-type]
    assert await worker._leave_stream() is False


async def test_counters_go_on_when_the_worker_is_started_again(tmp_path: Path) -> None:
    worker = await started(tmp_path, greynoise={"enabled": True})
    assert worker.asker is not None
    worker.asker.dropped = 3
    await worker.stop()
    await worker.start(None, NullBus())  # type: ignore[arg-type]
    assert worker.health()["questions_dropped"] == 3
    await worker.stop()
