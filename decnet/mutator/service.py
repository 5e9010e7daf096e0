"""Carries changes out, one decky at a time: claim, write down, apply, look, write down again.

Every step is a short transaction; the substrate works between two of them. Whoever dies in between
leaves an open row and a lease that runs out, and the next one goes on with that row: the same services
are applied again, which changes nothing if they already run. Choosing is left to
:mod:`decnet.mutator.schedule`, running in a loop to :mod:`decnet.mutator.worker`.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from uuid import uuid4

from decnet.bus.base import Event
from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.db.rows.fleet import BegunMutation, Cause, DeckyRow, MutationRow, Rotated, TopologyRow
from decnet.db.types import as_utc
from decnet.errors import DatabaseError, FleetError, SubstrateError
from decnet.ids import event_id
from decnet.logs import get_logger
from decnet.mutator import events
from decnet.mutator.observe import finish_op, look
from decnet.mutator.queue import current_shape, stored_op, write_op
from decnet.mutator.rows import (
    MAX_TEXT,
    Row,
    Tools,
    blocked,
    cause,
    leaves,
    refresh_status,
    taken_sockets,
)
from decnet.mutator.schedule import backoff, choose
from decnet.mutator.substrate import make_substrates
from decnet.mutator.substrate.base import Substrate, Target
from decnet.mutator.topology import OPS
from decnet.runtime.leases import OWNER

log = get_logger(__name__)
LEASE_MARGIN_S = 60.0
"""A lease lives this much longer than the change it is for, in seconds."""
POSTPONE_S = 60.0
"""Seconds after which a rotation is looked at again that an attacker's session held back."""
_LOOK_AHEAD = 50
_LOOK_S = 0.2
_ANNOUNCED = ("creation", "retirement", "scheduled", "operator")


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


class MutationService:
    """The mutator's work on one repository, by one engine (``owner``) at one place (``site``)."""

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
        self.substrates = substrates or make_substrates(settings, self.tools.catalogue)
        self.owner = owner
        self.site = f"{socket.gethostname()}:{settings.data_dir.absolute()}"
        self.working: set[str] = set()
        """Deckies that this service works on now."""
        self.rotations = 0
        self.failures = 0

    @property
    def lease_s(self) -> float:
        """Seconds a claim lives."""
        return self.settings.apply_timeout_s + LEASE_MARGIN_S

    async def serve_one(self, *, operators_only: bool = False) -> bool:
        """Works off one change that is ready; False when there is none. Operators' wishes go first."""
        waiting = await self.repo.mutations(states=("enqueued",), limit=_LOOK_AHEAD, newest_first=False)
        for row in waiting:
            if await self._take_up(row):
                return True
        if operators_only:
            return False
        for name in await self.repo.decky_candidates(self.site, pending=True, limit=_LOOK_AHEAD):
            if await self._go_on(name):
                return True
        for name in await self.repo.decky_candidates(self.site, pending=False, limit=_LOOK_AHEAD):
            if await self._rotate_due(name):
                return True
        return False

    async def serve_request(self, mutation_id: str) -> Outcome:
        """Works off one enqueued request for a rotation, and says what became of it."""
        row: MutationRow | None = None
        for _ in range(int(self.lease_s / _LOOK_S)):
            row = await self.repo.mutation_get(mutation_id)
            if row is None or row["state"] != "enqueued":
                break
            if not await self._take_up(row):
                await asyncio.sleep(_LOOK_S)
        if row is None or row["state"] not in ("applied", "failed"):
            return Outcome(False, reason="the decky is being changed by another engine; the request waits")
        told: Rotated = row["outcome"] or {}
        return Outcome(row["state"] == "applied", told.get("old", ()), told.get("new", ()), row["reason"])

    async def anything_pending(self) -> bool:
        """Whether a decky is to be made what it should be, and may be now."""
        return bool(await self.repo.decky_candidates(self.site, pending=True, limit=1))

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[BaseRepository]:
        """A transaction that has the fleet's lock before any row's, so that two of them cannot deadlock."""
        async with self.repo.transaction() as tx:
            await tx.fleet_lock()
            yield tx

    async def seconds_to_next(self) -> float | None:
        """Seconds until a decky is due or tried again, 0 when one is; None when there is none."""
        moment = await self.repo.decky_next_time()
        return None if moment is None else max(moment.timestamp() - time.time(), 0.0)

    async def _take_up(self, row: MutationRow) -> bool:
        if row["kind"] in OPS:
            return await self._begin_op(row)
        job = await self._begin_request(row)
        if isinstance(job, Job):
            await self._carry_out(job)
        return job is not None

    async def _begin_request(self, row: MutationRow) -> Job | bool | None:
        """A job, True when the request is answered without one, None when it has to wait."""
        async with self._changing() as tx:
            decky = await tx.decky_claim(row["target"], self.owner, self.lease_s, self.site)
            if decky is None:
                known = await tx.decky_get(row["target"])
                if known is not None and known["wanted"]:
                    return None
            if decky is None or not decky["wanted"]:
                why = f"no decky '{row['target'][:70]}' in the fleet"
                await self._refuse(tx, row, decky, why)
                return True
            if open_row := await self._open_row(tx, decky["name"]):
                return await self._resumed(tx, decky, open_row)
            claimed = await tx.mutation_claim(row["mutation_id"], "pending", self.owner, self.lease_s)
            if claimed is None:
                await self._release(tx, decky["name"])
                return None
            return await self._chosen(tx, decky, claimed)

    async def _chosen(self, tx: BaseRepository, decky: DeckyRow, row: MutationRow) -> Job | bool:
        """Picks the services and writes them down; True when there is nothing to choose."""
        try:
            new = await self._choose(tx, decky)
        except FleetError as error:
            await self._refuse(tx, row, decky, str(error))
            return True
        return await self._written(tx, decky, row, new)

    async def _choose(self, tx: BaseRepository, decky: DeckyRow) -> list[str]:
        taken = await taken_sockets(tx, decky, self.tools.catalogue)
        pool = self.tools.catalogue.playable(decky["pool"] or [], decky["substrate"])
        ports = decky["ports"] or {}
        return choose(
            pool,
            decky["observed"] or [],
            decky["pinned"] or [],
            self.tools.catalogue.conflicts(pool, ports),
            self.tools.rng,
            max_services=self.settings.max_services,
            blocked=blocked(decky, taken, self.tools.catalogue),
        )

    async def _written(self, tx: BaseRepository, decky: DeckyRow, row: BegunMutation, new: list[str]) -> Job:
        """The row ``pending`` with old and new, and the wish at the decky."""
        old = list(decky["observed"] or ())
        why: Cause = {**cause(row["trigger"], row["requested_by"], decky), "payload": row["payload"] or {}}
        await tx.decky_update(decky["name"], None, desired=new, pending=True, cause=why)
        row = {
            **row,
            "payload": {**(row["payload"] or {}), "old": old, "new": new},
            "topology_id": decky["topology_id"],
        }
        await tx.mutation_update(row["mutation_id"], payload=row["payload"], topology_id=row["topology_id"])
        await refresh_status(tx, decky["topology_id"])
        self.working.add(decky["name"])
        return Job({**decky, "desired": new, "pending": True, "cause": why}, row, old, new)

    async def _refuse(self, tx: BaseRepository, row: MutationRow, decky: DeckyRow | None, why: str) -> None:
        """Answers a request that cannot be served."""
        if decky is not None:
            await self._release(tx, decky["name"])
        running = list(decky["observed"] or ()) if decky is not None else []
        if await tx.mutation_finish(
            row["mutation_id"], "failed", why[:MAX_TEXT], {"old": running, "new": running}
        ):
            with suppress(ValueError):  # a name that is no topic token has no topic either
                await tx.outbox_add(events.mutation(row, running, running, "failed", why[:MAX_TEXT]))
            log.warning("rotation refused", decky=row["target"], reason=why)

    async def _release(self, tx: BaseRepository, name: str) -> None:
        await tx.decky_update(name, self.owner, lease_owner=None, lease_until=None)

    async def _open_row(self, tx: BaseRepository, name: str) -> MutationRow | None:
        """The change of a decky that somebody began and did not end."""
        found = await tx.mutations(states=("pending",), target=name, limit=1)
        return found[0] if found else None

    async def _resumed(self, tx: BaseRepository, decky: DeckyRow, row: MutationRow) -> Job:
        """Goes on with an interrupted change, towards what is wished for now."""
        told = row["payload"] or {}
        log.warning("interrupted change taken up", decky=decky["name"], mutation_id=row["mutation_id"])
        await tx.mutation_update(
            row["mutation_id"], lease_owner=self.owner, lease_until=time.time() + self.lease_s
        )
        self.working.add(decky["name"])
        return Job(decky, row, _names(told.get("old")), list(decky["desired"] or ()))

    async def _go_on(self, name: str) -> bool:
        """Makes a decky what it should be: new ones, retired ones, failed ones, dead ones, interrupted ones."""
        async with self._changing() as tx:
            decky = await tx.decky_claim(name, self.owner, self.lease_s, self.site)
            if decky is None:
                return False
            if not decky["pending"]:
                await self._release(tx, name)
                return False
            open_row = await self._open_row(tx, name)
            job = await (self._resumed(tx, decky, open_row) if open_row else self._again(tx, decky))
        await self._carry_out(job)
        return True

    async def _again(self, tx: BaseRepository, decky: DeckyRow) -> Job:
        """A new row for a wish that stands at the decky already."""
        why = decky["cause"] or {}
        trigger = str(why.get("trigger") or "operator")
        old, new = list(decky["observed"] or ()), list(decky["desired"] or ())
        kind = trigger if trigger in ("creation", "retirement", "repair") else "rotate"
        row = self._row(decky, kind, trigger, uuid4().hex)
        row["requested_by"] = str(why.get("actor") or "")
        row["payload"] = {**(why.get("payload") or {}), "old": old, "new": new}
        await tx.mutation_add(row)
        self.working.add(decky["name"])
        return Job(decky, row, old, new)

    def _row(self, decky: DeckyRow, kind: str, trigger: str, mutation_id: str) -> BegunMutation:
        now = time.time()
        return {
            "mutation_id": mutation_id,
            "kind": kind,
            "topology_id": decky["topology_id"],
            "target": decky["name"],
            "payload": {},
            "state": "pending",
            "trigger": trigger,
            "requested_by": "",
            "lease_owner": self.owner,
            "lease_until": now + self.lease_s,
            "started_at": as_utc(now),
        }

    async def _rotate_due(self, name: str) -> bool:
        async with self._changing() as tx:
            decky = await tx.decky_claim(name, self.owner, self.lease_s, self.site, due=True)
            if decky is None:
                return False
            if await self._held_back(tx, decky):
                return True
            # The slot of the schedule names the row: two engines that both saw it due make one row.
            row = self._row(
                decky, "rotate", "scheduled", event_id("scheduled", f"{name}|{decky['next_due']}")
            )
            try:
                new = await self._choose(tx, decky)
            except FleetError as error:
                await self._postpone(
                    tx, decky, str(error), self._next_due(decky, await self._interval(tx, decky))
                )
                return True
            await tx.mutation_add(row)
            job = await self._written(tx, decky, row, new)
        await self._carry_out(job)
        return True

    async def _held_back(self, tx: BaseRepository, decky: DeckyRow) -> bool:
        """The quiet rule: an attacker who is at work is not disturbed by the clock."""
        if not self.settings.quiet:
            return False
        live = await tx.live_sessions(decky["name"], time.time() - self.settings.quiet_session_s)
        if live:
            why = f"rotation waits: {live} live attacker session{'s' if live > 1 else ''}"
            await self._postpone(tx, decky, why, time.time() + POSTPONE_S)
        return live > 0

    async def _postpone(self, tx: BaseRepository, decky: DeckyRow, why: str, due: float | None) -> None:
        log.info("rotation postponed", decky=decky["name"], reason=why)
        await tx.decky_update(
            decky["name"],
            self.owner,
            next_due=as_utc(due),
            reason=why[:MAX_TEXT],
            lease_owner=None,
            lease_until=None,
        )

    async def _interval(self, tx: BaseRepository, decky: DeckyRow) -> TopologyRow | None:
        return await tx.topology_get(decky["topology_id"])

    def _next_due(self, decky: DeckyRow, topology: TopologyRow | None) -> float | None:
        return self.tools.due_after({"last_mutated": None}, decky["mutate_interval"], topology)

    async def _carry_out(self, job: Job) -> Outcome:
        """The substrate's part and what follows from it."""
        try:
            observed, why = await self._applied(job)
            if why:
                await self._failed(job, why)
                await look(self, job.decky)
                return Outcome(False, job.old, job.new, why)
            await self._succeeded(job, observed)
            return Outcome(True, job.old, observed)
        finally:
            self.working.discard(job.name)

    async def _applied(self, job: Job) -> tuple[list[str], str]:
        """What runs afterwards, or why it failed."""
        target, wanted = Target.of(job.decky), bool(job.decky["wanted"])
        substrate = self.substrates[job.decky["substrate"]]
        try:
            async with asyncio.timeout(self.settings.apply_timeout_s):
                for name in leaves(job.decky):
                    await self.substrates[name].remove(target)
                await (substrate.apply(target, job.new) if wanted else substrate.remove(target))
                observed = await substrate.observe(target)
        except SubstrateError as error:
            return [], str(error)
        except TimeoutError:
            return [], f"not done in {self.settings.apply_timeout_s:.0f} s"
        except DatabaseError:
            raise
        except Exception as error:  # a named boundary: one decky's substrate ends nothing else
            log.error("substrate failed", decky=job.name, exc_info=True)
            return [], f"{type(error).__name__}: {error}"
        if set(observed) != set(job.new):
            return [], f"runs {', '.join(observed) or 'nothing'} instead of {', '.join(job.new) or 'nothing'}"
        return observed, ""

    async def _succeeded(self, job: Job, observed: list[str]) -> None:
        async with self._changing() as tx:
            if not await tx.decky_update(job.name, self.owner, observed=observed, lease_until=None):
                log.warning("lease lost, another engine goes on", decky=job.name)
                return
            news = [] if job.mutation["trigger"] not in _ANNOUNCED else [
                events.mutation(job.mutation, job.old, observed, "applied")
            ]  # fmt: skip
            now = await tx.decky_get(job.name)
            assert now is not None, "its lease is ours"
            settled = _fulfils(job, now)
            news.append(await self._settle(tx, job, now, observed, settled=settled))
            await tx.mutation_finish(
                job.mutation["mutation_id"], "applied", "", {"old": job.old, "new": observed}
            )
            if settled:  # an operation that came meanwhile is not done by this
                await self._finish_ops(tx, job.name, "")
            await tx.outbox_add_many(news)
            await refresh_status(tx, job.decky["topology_id"])
        self.rotations += 1
        log.info("decky changed", decky=job.name, old=job.old, new=observed, trigger=job.mutation["trigger"])

    async def _settle(
        self, tx: BaseRepository, job: Job, now: DeckyRow, observed: list[str], *, settled: bool
    ) -> Event:
        """The decky's row after a success; a wish that came meanwhile stays pending."""
        moment = time.time()
        if settled and not now["wanted"]:
            await tx.decky_delete(job.name)
            return events.state(job.name, [], "retired", moment)
        values: Row = {
            "pending": not settled, "failures": 0, "retry_at": None, "reason": "", "since": as_utc(moment),
            "state": "running" if settled else "pending", "lease_owner": None,
        }  # fmt: skip
        if settled:
            values["cause"] = None
        if job.mutation["trigger"] != "repair":
            due = self._next_due(now, await self._interval(tx, now))
            values |= {"last_mutated": as_utc(moment), "next_due": as_utc(due)}
        values |= self._site_of(job.decky["substrate"])
        await tx.decky_update(job.name, None, **values)
        return events.state(job.name, observed, "running" if settled else "pending", moment)

    def _site_of(self, substrate: str) -> Row:
        if not self.substrates[substrate].host_bound:
            return {"site": None, "site_until": None}
        return {"site": self.site, "site_until": time.time() + self.site_lease_s}

    @property
    def site_lease_s(self) -> float:
        """Seconds after which another engine may take over the deckies of one that is gone."""
        return max(self.settings.observe_s * 4, 60.0)

    async def _failed(self, job: Job, why: str) -> None:
        why = why[:MAX_TEXT]
        self.failures += 1
        failures = int(job.decky["failures"]) + 1
        wait = backoff(
            failures, self.settings.retry_backoff_s, self.settings.retry_backoff_max_s, self.tools.rng
        )
        async with self._changing() as tx:
            values: Row = {
                "failures": failures, "retry_at": as_utc(time.time() + wait), "reason": why, "state": "failed",
                "lease_owner": None, "lease_until": None,
            }  # fmt: skip
            if not await tx.decky_update(job.name, self.owner, **values):
                log.warning("lease lost, another engine goes on", decky=job.name)
                return
            told: Rotated = {"old": job.old, "new": job.new, "retry_s": round(wait, 1)}
            await tx.mutation_finish(job.mutation["mutation_id"], "failed", why, told)
            if job.mutation["trigger"] in _ANNOUNCED:
                await tx.outbox_add(events.mutation(job.mutation, job.old, job.new, "failed", why))
            await self._finish_ops(tx, job.name, why)
            await refresh_status(tx, job.decky["topology_id"])
        log.warning(
            "decky not changed", decky=job.name, reason=why, retry_s=round(wait, 1), failures=failures
        )

    async def _finish_ops(self, tx: BaseRepository, name: str, why: str) -> None:
        """Operations that wait for this decky end with it."""
        for row in await tx.mutations(states=("applying",), target=name, limit=0, newest_first=False):
            if row["kind"] in OPS:
                await finish_op(tx, row, why)

    async def _begin_op(self, row: MutationRow) -> bool:
        """Checks an operation on the state of now and writes its effect, in one transaction."""
        async with self._changing() as tx:
            if await tx.mutations(states=("applying",), topology_id=row["topology_id"], limit=1):
                return False
            claimed = await tx.mutation_claim(row["mutation_id"], "applying", self.owner, self.lease_s)
            if claimed is None:
                return False
            await tx.outbox_add(events.topology_change(claimed, "applying"))
            try:
                op = stored_op(await current_shape(tx, claimed["topology_id"] or ""), claimed, self.tools)
                follows = await write_op(tx, claimed, op, self.tools)
            except FleetError as error:
                await finish_op(tx, claimed, str(error)[:MAX_TEXT])
                return True
            if not follows:
                await finish_op(tx, claimed, "")
            await refresh_status(tx, claimed["topology_id"] or "")
        if follows:
            await self._go_on(row["target"])
        return True


def _names(value: object) -> list[str]:
    """Names of services that a payload holds; nothing where it holds no list."""
    return [str(name) for name in value] if isinstance(value, (list, tuple)) else []


def _fulfils(job: Job, now: DeckyRow) -> bool:
    """Whether a change did what is wished for now; a wish that came while it ran it did not know of."""
    if not now["wanted"]:
        return not job.decky["wanted"]
    return all(now[key] == job.decky[key] for key in ("desired", "wanted", "spec", "networks"))
