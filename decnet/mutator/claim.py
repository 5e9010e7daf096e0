"""Claims what is to be changed and writes down what will be done: requests, the schedule, interrupted work, operations.

Each is one short transaction under the fleet's lock. Doing it is left to :mod:`decnet.mutator.apply`.
"""

from __future__ import annotations

import time
from contextlib import suppress
from uuid import uuid4

from decnet.db.repository import BaseRepository
from decnet.db.rows.fleet import BegunMutation, Cause, DeckyRow, MutationRow
from decnet.db.types import as_utc
from decnet.errors import FleetError
from decnet.ids import event_id
from decnet.logs import get_logger
from decnet.mutator import events
from decnet.mutator.context import Job, MutationContext
from decnet.mutator.observe import finish_op
from decnet.mutator.queue import current_shape, stored_op, write_op
from decnet.mutator.rows import MAX_TEXT, blocked, cause, refresh_status, taken_sockets
from decnet.mutator.schedule import choose

log = get_logger(__name__)
POSTPONE_S = 60.0
"""Seconds after which a rotation is looked at again that an attacker's session held back."""


class Claims(MutationContext):
    """From something that is to be done to a job; True where it is answered without one, False where nothing is."""

    async def begin_request(self, row: MutationRow) -> Job | bool:
        """A job, True when the request is answered without one, False when it has to wait."""
        async with self.changing() as tx:
            decky = await tx.decky_claim(row["target"], self.owner, self.lease_s, self.site)
            if decky is None:
                known = await tx.decky_get(row["target"])
                if known is not None and known["wanted"]:
                    return False
            if decky is None or not decky["wanted"]:
                why = f"no decky '{row['target'][:70]}' in the fleet"
                await self._refuse(tx, row, decky, why)
                return True
            if open_row := await self._open_row(tx, decky["name"]):
                return await self._resumed(tx, decky, open_row)
            claimed = await tx.mutation_claim(row["mutation_id"], "pending", self.owner, self.lease_s)
            if claimed is None:
                await self.release(tx, decky["name"])
                return False
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
            await self.release(tx, decky["name"])
        running = list(decky["observed"] or ()) if decky is not None else []
        if await tx.mutation_finish(
            row["mutation_id"], "failed", why[:MAX_TEXT], {"old": running, "new": running}
        ):
            with suppress(ValueError):  # a name that is no topic token has no topic either
                await tx.outbox_add(events.mutation(row, running, running, "failed", why[:MAX_TEXT]))
            log.warning("rotation refused", decky=row["target"], reason=why)

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

    async def begin_pending(self, name: str) -> Job | bool:
        """Makes a decky what it should be: new ones, retired ones, failed ones, dead ones, interrupted ones."""
        async with self.changing() as tx:
            decky = await tx.decky_claim(name, self.owner, self.lease_s, self.site)
            if decky is None:
                return False
            if not decky["pending"]:
                await self.release(tx, name)
                return False
            open_row = await self._open_row(tx, name)
            return await (self._resumed(tx, decky, open_row) if open_row else self._again(tx, decky))

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

    async def begin_rotation(self, name: str) -> Job | bool:
        """The rotation that the schedule asks for; True when it was put off, False when it is not due."""
        async with self.changing() as tx:
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
                    tx, decky, str(error), self.next_due(decky, await self.interval(tx, decky))
                )
                return True
            await tx.mutation_add(row)
            return await self._written(tx, decky, row, new)

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

    async def begin_op(self, row: MutationRow) -> Job | bool:
        """Checks an operation on the state of now and writes its effect, in one transaction."""
        async with self.changing() as tx:
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
        return (await self.begin_pending(row["target"]) if follows else False) or True


def _names(value: object) -> list[str]:
    """Names of services that a payload holds; nothing where it holds no list."""
    return [str(name) for name in value] if isinstance(value, (list, tuple)) else []
