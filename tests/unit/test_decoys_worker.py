"""The worker of our own decoys: what is off is not there, a port that is taken is told and tried again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from decnet.bus.null import NullBus
from decnet.config import Settings, load_settings
from decnet.decoys.listener import Listener, Place
from decnet.decoys.worker import LISTENERS, DecoysWorker

ALWAYS = ["canary-desk", "fleet-decoys"]
"""Tasks that open no port of their own."""


class Door:
    """A listener that fails to start until it is let."""

    def __init__(self, name: str, error: OSError | None = None) -> None:
        self.name, self.error = name, error
        self.calls: list[str] = []

    async def start(self) -> None:
        self.calls.append("start")
        if self.error is not None:
            raise self.error

    async def stop(self) -> None:
        self.calls.append("stop")

    def health(self) -> Mapping[str, int]:
        return {"knocks": 2, self.name: 1}


def worker_of(tmp_path: Path, *doors: Listener | None) -> DecoysWorker:
    makers = [lambda place, door=door: door for door in doors]
    return DecoysWorker(load_settings(data_dir=tmp_path), makers)


async def started(worker: DecoysWorker) -> DecoysWorker:
    await worker.start(None, NullBus("t"))  # type: ignore[arg-type]
    return worker


async def test_listeners_that_are_on_are_tasks_and_their_figures_are_added_up(tmp_path: Path) -> None:
    worker = await started(worker_of(tmp_path, Door("a"), None, Door("b")))
    assert list(worker.background()) == ["listen-a", "listen-b", *ALWAYS]
    assert worker.health() == {"knocks": 4, "a": 1, "b": 1, "degraded": ""}
    doors = worker.listeners
    await started(worker)
    assert worker.listeners == doors, "figures go on over lives"


async def test_a_task_holds_its_port_until_it_is_cancelled(tmp_path: Path) -> None:
    door = Door("a")
    worker = await started(worker_of(tmp_path, door))
    task = asyncio.create_task(worker.background()["listen-a"]())
    await asyncio.sleep(0.01)
    assert door.calls == ["start"]
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert door.calls == ["start", "stop"]


async def test_a_port_that_cannot_be_had_is_told_until_it_can(tmp_path: Path) -> None:
    door = Door("a", OSError(98, "Address already in use"))
    worker = await started(worker_of(tmp_path, door))
    with pytest.raises(OSError):
        await worker.background()["listen-a"]()
    assert door.calls == ["start", "stop"]
    assert worker.health()["degraded"] == "a: Address already in use"
    door.error = None
    task = asyncio.create_task(worker.background()["listen-a"]())
    await asyncio.sleep(0.01)
    assert worker.health()["degraded"] == ""
    task.cancel()


async def test_nothing_listens_without_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bound = []
    monkeypatch.setattr(socket.socket, "bind", lambda self, where: bound.append(where))
    worker = DecoysWorker(load_settings(data_dir=tmp_path))
    await started(worker)
    assert (worker.listeners, list(worker.background()), bound) == ([], ALWAYS, [])
    assert [make(Place(Settings(), None, b"")) for make in LISTENERS] == [None] * len(LISTENERS)  # type: ignore[arg-type]
