"""Rows of deckies and fleets: what a fleet file, an interval or a removal makes of them, and a fleet's status.

All of it works on the database alone; carrying it out is left to :mod:`decnet.mutator.service`.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random, SystemRandom
from typing import Any

from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.db.rows.fleet import Cause, DeckyRow
from decnet.db.types import utcnow
from decnet.errors import FleetError
from decnet.mutator import events
from decnet.mutator.fleet import DeckySpec, Defaults, FleetSpec
from decnet.mutator.schedule import choose, legal, next_due, parse_interval
from decnet.mutator.topology import route, status_of
from decnet.services import Catalogue, load_catalogue

Row = dict[str, Any]
MAX_TEXT = 500
Sockets = Collection[tuple[str, str, int]]


@dataclass(frozen=True, slots=True)
class Tools:
    """What every change needs: settings, catalogue, and a source of randomness that nobody can foresee."""

    settings: Settings
    catalogue: Catalogue
    rng: Random = field(default_factory=SystemRandom)

    @classmethod
    def of(cls, settings: Settings) -> Tools:
        """With the catalogue of the settings. Raises ConfigError."""
        return cls(settings, load_catalogue(settings.mutator.catalogue))

    @property
    def defaults(self) -> Defaults:
        """What holds for fleets that say nothing."""
        mutator = self.settings.mutator
        return Defaults(mutator.substrate, mutator.mutate_interval, mutator.max_deckies)

    def due_after(
        self, row: Mapping[str, Any], own_interval: str, topology: Mapping[str, Any] | None
    ) -> float | None:
        """When a decky is due after a change of its interval: counted from its last rotation, never in the past."""
        text = own_interval or (topology or {}).get("mutate_interval") or "never"
        since = row["last_mutated"]
        base = since.timestamp() if since else time.time()
        due = next_due(base, parse_interval(text), self.settings.mutator.jitter, self.rng)
        return None if due is None else max(due, time.time())


async def set_interval(repo: BaseRepository, name: str, interval: str, tools: Tools) -> None:
    """Sets a decky's interval (``12h``, ``never``, ``inherit``). Raises FleetError for a bad one or no decky."""
    if interval != "inherit":
        parse_interval(interval)
    async with repo.transaction() as tx:
        row = await tx.decky_get(name)
        if row is None or not row["wanted"]:
            raise FleetError(f"no decky '{name[:70]}': see `decnet-tui fleet list`")
        own = "" if interval == "inherit" else interval
        due = tools.due_after(row, own, await tx.topology_get(row["topology_id"]))
        await tx.decky_update(name, mutate_interval=own, next_due=due)


async def taken_sockets(
    repo: BaseRepository, row: Mapping[str, Any], catalogue: Catalogue
) -> set[tuple[str, str, int]]:
    """Address, transport and port of everything that other deckies of this one's address run or want to run."""
    found: set[tuple[str, str, int]] = set()
    if row["substrate"] != "dry_run":
        for other in await repo.deckies_at(row["address"], row["name"]):
            found |= _sockets(other, [*(other["desired"] or ()), *(other["observed"] or ())], catalogue)
    return found


def _sockets(
    row: Mapping[str, Any], services: Sequence[str], catalogue: Catalogue
) -> set[tuple[str, str, int]]:
    known = [name for name in services if name in catalogue.services]
    return {(row["address"], *catalogue.socket_of(name, row["ports"] or {})) for name in known}


def blocked(row: Mapping[str, Any], taken: Sockets, catalogue: Catalogue) -> set[str]:
    """Services of a decky's pool whose port somebody else has."""
    if row["substrate"] == "dry_run":
        return set()
    return {name for name in row["pool"] or () if _sockets(row, [name], catalogue) & set(taken)}


@dataclass(slots=True)
class Applied:
    """What applying a fleet file changed, by decky name."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)


async def apply_fleet(repo: BaseRepository, fleet: FleetSpec, tools: Tools, *, actor: str = "") -> Applied:
    """Makes the rows of a fleet what its file says; the deckies follow when an engine runs.

    A decky whose part of the file did not change is left alone, whatever it runs by now. Deckies that
    are not in the file any more are retired. Raises FleetError; then nothing is written.
    """
    async with repo.transaction() as tx:
        await tx.fleet_lock()
        return await _FleetWriter(tx, fleet, tools, actor).write()


@dataclass(slots=True)
class _FleetWriter:
    tx: BaseRepository
    fleet: FleetSpec
    tools: Tools
    actor: str
    done: Applied = field(default_factory=Applied)

    async def write(self) -> Applied:
        rows = {row["name"]: row for row in await self.tx.deckies()}
        self._check_names(rows)
        await self._topology()
        for spec in self.fleet.deckies:
            await self._decky(spec, rows.get(spec.name))
        wanted = {spec.name for spec in self.fleet.deckies}
        for name, row in rows.items():
            if row["topology_id"] == self.fleet.name and name not in wanted and row["wanted"]:
                await retire(self.tx, name, self.actor)
                self.done.removed.append(name)
        await refresh_status(self.tx, self.fleet.name)
        return self.done

    def _check_names(self, rows: Mapping[str, DeckyRow]) -> None:
        foreign = [
            f"decky '{spec.name}' belongs to the fleet '{rows[spec.name]['topology_id']}'"
            for spec in self.fleet.deckies
            if spec.name in rows and rows[spec.name]["topology_id"] != self.fleet.name
        ]
        if foreign:
            raise FleetError("\n".join(foreign))

    async def _topology(self) -> None:
        old = await self.tx.topology_get(self.fleet.name)
        row = {
            "topology_id": self.fleet.name,
            "status": old["status"] if old else "pending",
            "reason": old["reason"] if old else "",
            "substrate": self.fleet.substrate,
            "mutate_interval": self.fleet.mutate_interval,
            "networks": list(self.fleet.networks),
            "wanted": bool(self.fleet.deckies),
        }
        await self.tx.topology_put(row)
        if old and old["mutate_interval"] != self.fleet.mutate_interval:
            await self._inherit(row)

    async def _inherit(self, topology: Mapping[str, Any]) -> None:
        for row in await self.tx.deckies(self.fleet.name):
            if not row["mutate_interval"]:
                await self.tx.decky_update(row["name"], next_due=self.tools.due_after(row, "", topology))

    async def _decky(self, spec: DeckySpec, old: DeckyRow | None) -> None:
        if old is not None and old["wanted"] and old["spec"] == spec.to_json():
            self.done.unchanged.append(spec.name)
            return
        (self.done.added if old is None else self.done.changed).append(spec.name)
        topology = {"topology_id": self.fleet.name, "mutate_interval": self.fleet.mutate_interval}
        await put_decky(self.tx, topology, spec, old, self.tools, self.actor)


async def put_decky(
    tx: BaseRepository,
    topology: Mapping[str, Any],
    spec: DeckySpec,
    old: DeckyRow | None,
    tools: Tools,
    actor: str,
) -> None:
    """Writes a decky's row from its spec; a new one is to be made, a changed one to be applied anew."""
    plain = spec.to_json()
    row = {key: plain[key] for key in ("name", "substrate", "archetype", "pool", "pinned", "mutate_interval")}
    row |= {key: plain[key] for key in ("address", "ports", "networks")}
    row |= {"topology_id": topology["topology_id"], "spec": plain, "wanted": True, "pending": True}
    row |= {"failures": 0, "retry_at": None, "reason": ""}
    taken = await taken_sockets(tx, row, tools.catalogue)
    row["desired"] = _desired(spec, old, blocked(row, taken, tools.catalogue), tools)
    if old is None:
        row |= {"observed": [], "state": "pending", "since": utcnow(), "cause": cause("creation", actor)}
        await tx.decky_put(row)
        return
    row["next_due"] = tools.due_after(old, spec.mutate_interval, topology)
    created = old["last_mutated"] is None or not old["wanted"]
    row["cause"] = cause("creation" if created else "operator", actor, old)
    if old["substrate"] != spec.substrate:
        row["cause"]["leaves"] = sorted({*leaves(old), old["substrate"]} - {spec.substrate})
    await tx.decky_update(row.pop("name"), None, **row)


def cause(trigger: str, actor: str, before: Mapping[str, Any] | None = None) -> Cause:
    """Whose wish a desired state is; what the row ``before`` still had to leave is not forgotten."""
    wish = Cause(trigger=trigger, actor=actor)
    if before is not None and (left := leaves(before)):
        wish["leaves"] = left
    return wish


def leaves(row: Mapping[str, Any]) -> list[str]:
    """Substrates that a decky has to be taken from, since it runs on another one now."""
    return list((row["cause"] or {}).get("leaves") or ())


def _desired(spec: DeckySpec, old: DeckyRow | None, taken: Collection[str], tools: Tools) -> list[str]:
    """What the file names; else what is there already where it is still legal; else a choice."""
    graph = tools.catalogue.conflicts(spec.pool, spec.ports)
    named_before = ((old["spec"] if old is not None else None) or {}).get("services")
    if spec.services and list(spec.services) != named_before:
        return [name for name in spec.pool if name in spec.services]
    kept = list(old["desired"] or ()) if old is not None else []
    if kept and not legal(kept, spec.pool, spec.pinned, graph):
        return kept
    if spec.services:
        return [name for name in spec.pool if name in spec.services]
    most = tools.settings.mutator.max_services
    try:
        return choose(spec.pool, (), spec.pinned, graph, tools.rng, max_services=most, blocked=taken)
    except FleetError as error:
        raise FleetError(f"decky '{spec.name}': {error}") from error


async def retire(tx: BaseRepository, name: str, actor: str) -> None:
    """Marks a decky for removal."""
    values: Row = {"wanted": False, "pending": True, "desired": [], "failures": 0, "retry_at": None}
    why = cause("retirement", actor, await tx.decky_get(name))
    await tx.decky_update(name, None, **values, cause=why)


async def refresh_status(tx: BaseRepository, topology_id: str) -> None:
    """Moves a topology to the status that its deckies amount to, along legal edges, and tells each step."""
    await tx.fleet_lock()
    topology = await tx.topology_get(topology_id)
    if topology is None:
        return
    tally = await tx.topology_tally(topology_id)
    wanted = status_of(tally, wanted=bool(topology["wanted"]))
    reason = str(tally["reason"] or "")[:MAX_TEXT] if wanted in ("degraded", "failed") else ""
    steps = route(topology["status"], wanted)
    for step in steps:
        said = reason if step == wanted else ""
        await tx.outbox_add(events.topology_status(topology_id, step, said))
    if steps or topology["reason"] != reason:
        await tx.topology_update(topology_id, status=wanted if steps else topology["status"], reason=reason)
