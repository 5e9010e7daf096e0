"""Fleets for tests: a repository with one, a substrate that fails when told to, and the news so far."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from decnet.config import MutatorSettings, RuntimeSettings, Settings
from decnet.db.repository import BaseRepository
from decnet.errors import SubstrateError
from decnet.mutator.fleet import parse_fleet
from decnet.mutator.rows import Applied, Tools, apply_fleet
from decnet.mutator.service import MutationService
from decnet.mutator.substrate.base import Target
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
    return [(event.topic, event.payload) for _, event in rows]


async def make_due(repo: BaseRepository, *names: str) -> None:
    """The clock strikes for these deckies."""
    for name in names:
        await repo.decky_update(name, None, next_due=time.time() - 1)


def fails(text: str = "port taken") -> SubstrateError:
    """A fault for :class:`Scripted`."""
    return SubstrateError(text)
