"""What every step of a change needs: the repository, the tools, and who works where; and the change itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.db.rows.fleet import BegunMutation, DeckyRow, TopologyRow
from decnet.mutator.rows import Tools
from decnet.mutator.substrate import make_substrates
from decnet.mutator.substrate.base import Substrate
from decnet.runtime.leases import OWNER, site_of

LEASE_MARGIN_S = 60.0
"""A lease lives this much longer than the change it is for, in seconds."""


@dataclass(frozen=True, slots=True)
class Job:
    """One change under way: the decky's row as claimed, and the row of the change."""

    decky: DeckyRow
    mutation: BegunMutation
    old: list[str]
    new: list[str]

    @property
    def name(self) -> str:
        """The decky."""
        return str(self.decky["name"])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a change; ``reason`` is empty when it was applied."""

    applied: bool
    old: Sequence[str] = ()
    new: Sequence[str] = ()
    reason: str = ""


class MutationContext:
    """One repository, one engine (``owner``) at one place (``site``)."""

    def __init__(
        self,
        repo: BaseRepository,
        settings: Settings,
        *,
        substrates: Mapping[str, Substrate] | None = None,
        tools: Tools | None = None,
        owner: str = OWNER,
    ) -> None:
        self.repo = repo
        self.settings = settings.mutator
        self.tools = tools or Tools.of(settings)
        self.substrates = substrates or make_substrates(settings, self.tools.catalogue, repo)
        self.owner = owner
        self.site = site_of(settings.data_dir)
        self.working: set[str] = set()
        """Deckies that this service works on now."""
        self.rotations = 0
        self.failures = 0

    @property
    def lease_s(self) -> float:
        """Seconds a claim lives."""
        return self.settings.apply_timeout_s + LEASE_MARGIN_S

    @property
    def site_lease_s(self) -> float:
        """Seconds after which another engine may take over the deckies of one that is gone."""
        return max(self.settings.observe_s * 4, 60.0)

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[BaseRepository]:
        """A transaction that has the fleet's lock before any row's, so that two of them cannot deadlock."""
        async with self.repo.transaction() as tx:
            await tx.fleet_lock()
            yield tx

    async def release(self, tx: BaseRepository, name: str) -> None:
        await tx.decky_update(name, self.owner, lease_owner=None, lease_until=None)

    async def interval(self, tx: BaseRepository, decky: DeckyRow) -> TopologyRow | None:
        return await tx.topology_get(decky["topology_id"])

    def next_due(self, decky: DeckyRow, topology: TopologyRow | None) -> float | None:
        return self.tools.due_after({"last_mutated": None}, decky["mutate_interval"], topology)
