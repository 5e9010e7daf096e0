"""Fleets for tests: a repository with one, a substrate that fails when told to, and the news so far."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest

from decnet.config import MutatorSettings, RuntimeSettings, Settings
from decnet.db.repository import BaseRepository
from decnet.db.repository import fleet as repo_fleet
from decnet.errors import SubstrateError
from decnet.mutator import claim, observe, rows, service, setback, settle
from decnet.mutator.fleet import parse_fleet
from decnet.mutator.rows import Applied, Tools, apply_fleet
from decnet.mutator.service import MutationService
from decnet.mutator.substrate.base import Substrate, Target
from decnet.mutator.substrate.dry_run import DryRunSubstrate
from decnet.services import load_catalogue

FLEET = """\
fleet: lab
substrate: dry_run
mutate_interval: 30m
networks: [dmz]
deckies:
  - {name: web-01, archetype: web-server, services: [http, ftp], pinned: [http]}
  - {name: db-01, pool: [redis, mysql, ssh], services: [redis], mutate_interval: never}
"""


def settings_for(folder: Path, **mutator: Any) -> Settings:
    """Settings that wait for nothing."""
    quick = {
        "retry_backoff_s": 0.05,
        "retry_backoff_max_s": 0.2,
        "poll_interval_s": 0.2,
        "observe_s": 0.2,
        **mutator,
    }
    return Settings(
        data_dir=folder / "data", mutator=MutatorSettings(**quick), runtime=RuntimeSettings(tail_db_s=0.05, batch_wait_s=0.02)
    )  # fmt: skip


class Scripted(DryRunSubstrate):
    """Runs what it is told, unless ``faults`` says otherwise; counts calls. ``died`` are decoys that are gone."""

    host_bound = False

    def __init__(self, directory: Path, delay_s: float = 0.0) -> None:
        super().__init__(directory)
        self.faults: dict[str, list[Exception]] = {}
        self.applied: list[tuple[str, tuple[str, ...]]] = []
        self.removed: list[str] = []
        self.died: set[str] = set()
        self.delay_s = delay_s

    async def apply(self, decky: Target, services: Sequence[str]) -> None:
        """Fails with the next fault of this decky, if there is one."""
        await asyncio.sleep(self.delay_s)
        if self.faults.get(decky.name):
            raise self.faults[decky.name].pop(0)
        self.applied.append((decky.name, tuple(services)))
        self.died.discard(decky.name)
        await super().apply(decky, services)

    async def observe(self, decky: Target) -> list[str]:
        """Nothing of a decoy that died."""
        return [] if decky.name in self.died else await super().observe(decky)

    async def remove(self, decky: Target) -> None:
        """Counts."""
        self.removed.append(decky.name)
        await super().remove(decky)


def service_for(repo: BaseRepository, settings: Settings, substrate: Scripted | None = None, owner: str = "", seed: int = 1) -> MutationService:  # fmt: skip
    """A service over a scripted substrate; ``owner`` makes it another engine than this process."""
    substrate = substrate or Scripted(settings.data_dir / "fleet" / "dry_run")
    every = {"dry_run": substrate, "opencanary": substrate, "compose": substrate}
    tools = Tools(settings, load_catalogue(), Random(seed))
    more = {"owner": owner} if owner else {}
    return MutationService(repo, settings, substrates=every, tools=tools, **more)


async def applied(repo: BaseRepository, settings: Settings, text: str = FLEET) -> Applied:
    """Applies a fleet file."""
    tools = Tools(settings, load_catalogue(), Random(1))
    return await apply_fleet(
        repo, parse_fleet(text, "fleet.yaml", tools.catalogue, tools.defaults), tools, actor="me"
    )


async def drain(service: MutationService) -> None:
    """Until nothing is ready any more."""
    while await service.serve_one():
        pass


async def news(repo: BaseRepository) -> list[tuple[str, dict[str, Any]]]:
    """Takes the outbox: topics and payloads in order."""
    rows = await repo.outbox_take(10_000)
    await repo.outbox_delete([row for row, _ in rows])
    return [(event.topic, event.opened().payload) for _, event in rows]


async def make_due(repo: BaseRepository, *names: str) -> None:
    """The clock strikes for these deckies."""
    for name in names:
        await repo.decky_update(name, None, next_due=time.time() - 1)


def fails(text: str = "port taken") -> SubstrateError:
    """A fault for :class:`Scripted`."""
    return SubstrateError(text)


START = 1_800_000_000.0
"""Where a :class:`Clock` begins."""


class Clock:
    """The time as the fleet's tables, rows and services see it; set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = START
        shown = SimpleNamespace(time=lambda: self.now)
        for module in (repo_fleet, rows, service, claim, settle, observe, setback):
            monkeypatch.setattr(module, "time", shown)
        for named in (repo_fleet, rows):
            monkeypatch.setattr(named, "utcnow", lambda: moment(self.now))


def moment(seconds: float) -> datetime:
    """Epoch seconds as the tables give them back."""
    return datetime.fromtimestamp(seconds, UTC)


class World(Substrate):
    """Decoys in memory. ``during`` is done while a change is applied, before what it does can be seen."""

    host_bound = False

    def __init__(self) -> None:
        self.up: dict[str, list[str]] = {}
        self.faults: list[BaseException] = []
        self.blind: set[str] = set()
        self.calls: list[tuple[str, str]] = []
        self.during: Callable[[Target], Awaitable[object]] | None = None

    async def _step(self, verb: str, decky: Target) -> None:
        self.calls.append((verb, decky.name))
        during, self.during = self.during, None
        if during is not None:
            await during(decky)
        if self.faults:
            raise self.faults.pop(0)

    async def apply(self, decky: Target, services: Sequence[str]) -> None:
        """Runs them, or fails with the next fault."""
        await self._step("apply", decky)
        self.up[decky.name] = list(services)

    async def observe(self, decky: Target) -> list[str]:
        """What runs; a decky in ``blind`` cannot be seen."""
        if decky.name in self.blind:
            raise SubstrateError("cannot tell")
        return [name for name in decky.pool if name in self.up.get(decky.name, ())]

    async def remove(self, decky: Target) -> None:
        """Runs nothing, or fails with the next fault."""
        await self._step("remove", decky)
        self.up.pop(decky.name, None)


LAB = """\
fleet: lab
substrate: dry_run
mutate_interval: 1h
networks: [dmz, office]
deckies:
  - {name: web, pool: [http, ftp, ssh], services: [http, ftp], pinned: [http]}
  - {name: db, pool: [redis, mysql], services: [redis], mutate_interval: never}
"""
LAB_UP = {"web": ["http", "ftp"], "db": ["redis"]}


class Last(Random):
    """No chance: the last choice, and the middle of a range."""

    def choice(self, seq: Any) -> Any:
        """The last."""
        return seq[-1]

    def uniform(self, a: float, b: float) -> float:
        """The middle."""
        return (a + b) / 2


def engine(repo: BaseRepository, settings: Settings, world: World, owner: str = "") -> MutationService:
    """An engine of its own (``owner``) on one world, without chance."""
    tools = Tools(settings, load_catalogue(), Last(1))
    every = dict.fromkeys(("dry_run", "opencanary", "compose"), world)
    return MutationService(
        repo, settings, substrates=every, tools=tools, **({"owner": owner} if owner else {})
    )


def calm(folder: Path, **mutator: Any) -> Settings:
    """Settings of an engine whose rotations come at the very interval; see :func:`engine`."""
    return Settings(data_dir=folder / "data", mutator=MutatorSettings(**{"jitter": 0.0, **mutator}))


@cache
def _lab() -> bytes:
    """A database in which :data:`LAB` is up since :data:`START`, made once: the tests begin there."""

    async def make(folder: Path) -> None:
        repo = await BaseRepository.open(f"sqlite:///{folder / 'lab.sqlite'}")
        with pytest.MonkeyPatch.context() as monkeypatch:
            Clock(monkeypatch)
            settings = calm(folder)
            made = engine(repo, settings, World())
            await apply_fleet(repo, parse_fleet(LAB, "f", made.tools.catalogue), made.tools, actor="me")
            await drain(made)
            await news(repo)
        await repo.close()

    with TemporaryDirectory() as name:
        asyncio.run(make(Path(name)))
        return (Path(name) / "lab.sqlite").read_bytes()


@asynccontextmanager
async def lab_repo(folder: Path) -> AsyncIterator[BaseRepository]:
    """A repository of its own in which :data:`LAB` is up."""
    made = await asyncio.to_thread(_lab)
    (folder / "lab.sqlite").write_bytes(made)
    repo = await BaseRepository.open(f"sqlite:///{folder / 'lab.sqlite'}")
    try:
        yield repo
    finally:
        await repo.close()
