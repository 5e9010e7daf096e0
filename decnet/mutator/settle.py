"""Writes down what became of a change, and announces it; who lost the lease meanwhile leaves it to the new holder."""

from __future__ import annotations

import time

from decnet.bus.base import Event
from decnet.db.repository import BaseRepository
from decnet.db.rows.fleet import DeckyRow, Rotated
from decnet.db.types import as_utc
from decnet.logs import get_logger
from decnet.mutator import events
from decnet.mutator.context import Job, MutationContext
from decnet.mutator.observe import finish_op
from decnet.mutator.rows import MAX_TEXT, Row, refresh_status
from decnet.mutator.schedule import backoff
from decnet.mutator.topology import OPS

log = get_logger(__name__)
_ANNOUNCED = ("creation", "retirement", "scheduled", "operator")


class Settlements(MutationContext):
    """From a change that was carried out, or not, to rows and news."""

    async def succeeded(self, job: Job, observed: list[str]) -> None:
        async with self.changing() as tx:
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
                await self.finish_ops(tx, job.name, "")
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
            due = self.next_due(now, await self.interval(tx, now))
            values |= {"last_mutated": as_utc(moment), "next_due": as_utc(due)}
        values |= self._site_of(job.decky["substrate"])
        await tx.decky_update(job.name, None, **values)
        return events.state(job.name, observed, "running" if settled else "pending", moment)

    def _site_of(self, substrate: str) -> Row:
        if not self.substrates[substrate].host_bound:
            return {"site": None, "site_until": None}
        return {"site": self.site, "site_until": time.time() + self.site_lease_s}

    async def failed(self, job: Job, why: str) -> None:
        why = why[:MAX_TEXT]
        self.failures += 1
        failures = int(job.decky["failures"]) + 1
        wait = backoff(
            failures, self.settings.retry_backoff_s, self.settings.retry_backoff_max_s, self.tools.rng
        )
        async with self.changing() as tx:
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
            await self.finish_ops(tx, job.name, why)
            await refresh_status(tx, job.decky["topology_id"])
        log.warning(
            "decky not changed", decky=job.name, reason=why, retry_s=round(wait, 1), failures=failures
        )

    async def finish_ops(self, tx: BaseRepository, name: str, why: str) -> None:
        """Operations that wait for this decky end with it."""
        for row in await tx.mutations(states=("applying",), target=name, limit=0, newest_first=False):
            if row["kind"] in OPS:
                await finish_op(tx, row, why)


def _fulfils(job: Job, now: DeckyRow) -> bool:
    """Whether a change did what is wished for now; a wish that came while it ran it did not know of."""
    if not now["wanted"]:
        return not job.decky["wanted"]
    return all(now[key] == job.decky[key] for key in ("desired", "wanted", "spec", "networks"))
