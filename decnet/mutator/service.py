"""The mutator's work, one decky at a time: claim, write down, apply, look, write down again.

Every step is a short transaction (:mod:`decnet.mutator.claim`, :mod:`decnet.mutator.settle`); the substrate
works between two of them (:mod:`decnet.mutator.apply`). Whoever dies in between leaves an open row and a lease
that runs out, and the next one goes on with that row: the same services are applied again, which changes
nothing if they already run. Choosing is left to :mod:`decnet.mutator.schedule`, running in a loop to
:mod:`decnet.mutator.worker`.
"""

from __future__ import annotations

import asyncio
import time

from decnet.db.rows.fleet import MutationRow, Rotated
from decnet.mutator.apply import apply_change
from decnet.mutator.claim import Claims
from decnet.mutator.context import Job, Outcome
from decnet.mutator.observe import look
from decnet.mutator.settle import Settlements
from decnet.mutator.topology import OPS

_LOOK_AHEAD = 50
_LOOK_S = 0.2


class MutationService(Claims, Settlements):
    """Serves what is ready: wishes of operators, then what is pending, then the schedule."""

    async def serve_one(self, *, operators_only: bool = False) -> bool:
        """Works off one change that is ready; False when there is none. Operators' wishes go first."""
        waiting = await self.repo.mutations(states=("enqueued",), limit=_LOOK_AHEAD, newest_first=False)
        for row in waiting:
            if await self.take_up(row):
                return True
        if operators_only:
            return False
        for name in await self.repo.decky_candidates(self.site, pending=True, limit=_LOOK_AHEAD):
            if await self._served(await self.begin_pending(name)):
                return True
        for name in await self.repo.decky_candidates(self.site, pending=False, limit=_LOOK_AHEAD):
            if await self._served(await self.begin_rotation(name)):
                return True
        return False

    async def serve_request(self, mutation_id: str) -> Outcome:
        """Works off one enqueued request for a rotation, and says what became of it."""
        row: MutationRow | None = None
        for _ in range(int(self.lease_s / _LOOK_S)):
            row = await self.repo.mutation_get(mutation_id)
            if row is None or row["state"] != "enqueued":
                break
            if not await self.take_up(row):
                await asyncio.sleep(_LOOK_S)
        if row is None or row["state"] not in ("applied", "failed"):
            return Outcome(False, reason="the decky is being changed by another engine; the request waits")
        told: Rotated = row["outcome"] or {}
        return Outcome(row["state"] == "applied", told.get("old", ()), told.get("new", ()), row["reason"])

    async def anything_pending(self) -> bool:
        """Whether a decky is to be made what it should be, and may be now."""
        return bool(await self.repo.decky_candidates(self.site, pending=True, limit=1))

    async def anything_ready(self) -> bool:
        """Whether a decky is to be made what it should be, or rotated, and may be now."""
        return await self.anything_pending() or bool(
            await self.repo.decky_candidates(self.site, pending=False, limit=1)
        )

    async def anything_waiting(self) -> bool:
        """Whether wishes of operators are not taken up."""
        return bool(await self.repo.mutation_backlog())

    async def seconds_to_next(self) -> float | None:
        """Seconds until a decky is due or tried again, 0 when one is; None when there is none."""
        moment = await self.repo.decky_next_time()
        return None if moment is None else max(moment.timestamp() - time.time(), 0.0)

    async def take_up(self, row: MutationRow) -> bool:
        """Works off one enqueued row; False when it has to wait."""
        begin = self.begin_op if row["kind"] in OPS else self.begin_request
        return await self._served(await begin(row))

    async def _served(self, begun: Job | bool) -> bool:
        """Carries out what was begun, if anything was; whether there was something to do."""
        if isinstance(begun, Job):
            await self.carry_out(begun)
            return True
        return begun

    async def carry_out(self, job: Job) -> Outcome:
        """The substrate's part and what follows from it."""
        try:
            observed, why = await apply_change(self.substrates, job, self.settings.apply_timeout_s)
            if why:
                await self.failed(job, why)
                await look(self, job.decky)
                return Outcome(False, job.old, job.new, why)
            await self.succeeded(job, observed)
            return Outcome(True, job.old, observed)
        finally:
            self.working.discard(job.name)
