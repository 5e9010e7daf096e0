"""What really runs: looks at deckies, writes and tells differences, and frees what dead engines held.

Making a decky again what it should be is left to :mod:`decnet.mutator.service`, which finds it pending.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from decnet.db.repository import BaseRepository
from decnet.db.repository.fleet import FAR_S
from decnet.db.rows.fleet import DeckyRow, MutationRow
from decnet.db.types import as_utc
from decnet.errors import SubstrateError
from decnet.logs import get_logger
from decnet.mutator import events
from decnet.mutator.context import MutationContext
from decnet.mutator.rows import Row, refresh_status
from decnet.mutator.substrate.base import Target
from decnet.mutator.topology import OPS
from decnet.runtime.leases import is_dead

log = get_logger(__name__)


async def tend(context: MutationContext) -> Row:
    """One round over everything; what :func:`counts` says of the deckies before it."""
    await free_dead(context)
    await _end_left_ops(context)
    rows = await context.repo.deckies()
    mine = [row for row in rows if row["site"] == context.site]
    if mine:
        async with context.repo.transaction() as tx:
            await tx.fleet_lock()
            await tx.site_renew(context.site, time.time() + context.site_lease_s)
    for row, running in await _running(
        context, [r for r in rows if r["lease_owner"] is None and _ours(context, r)]
    ):
        await note(context, row, running)
    for topology in await context.repo.topologies():
        async with context.repo.transaction() as tx:
            await refresh_status(tx, topology["topology_id"])
    return counts(rows)


def counts(rows: Sequence[DeckyRow]) -> Row:
    """What health says of deckies: how many, how many to change, how many fail, and why the first one does."""
    failing = [row for row in rows if row["failures"]]
    return {
        "deckies": len(rows),
        "pending": sum(bool(row["pending"]) for row in rows),
        "failing": len(failing),
        "reason": f"{failing[0]['name']}: {failing[0]['reason']}"[:200] if failing else "",
    }


def _ours(context: MutationContext, row: DeckyRow) -> bool:
    """Whether this engine can see what a decky runs; nobody looks at one that never ran."""
    bound = context.substrates[row["substrate"]].host_bound
    return row["last_mutated"] is not None and (not bound or row["site"] == context.site)


async def _running(context: MutationContext, rows: Sequence[DeckyRow]) -> list[tuple[DeckyRow, list[str]]]:
    """What each of them runs; those that cannot be seen now are left out."""
    found: list[tuple[DeckyRow, list[str]]] = []
    for name, substrate in context.substrates.items():
        here = [row for row in rows if row["substrate"] == name]
        if not here:
            continue
        try:
            seen = await substrate.observe_many([Target.of(row) for row in here])
        except SubstrateError as error:
            log.warning("deckies not observed", substrate=name, reason=str(error))
            continue
        found += [(row, seen[row["name"]]) for row in here if row["name"] in seen]
    return found


async def look(context: MutationContext, decky: DeckyRow) -> None:
    """Looks at one decky and notes what it runs."""
    try:
        running = await context.substrates[decky["substrate"]].observe(Target.of(decky))
    except SubstrateError as error:
        log.debug("decky not observed", decky=decky["name"], reason=str(error))
        return
    await note(context, decky, running)


async def note(context: MutationContext, decky: DeckyRow, running: list[str]) -> None:
    """Writes and tells a difference between what runs and what is stored; ``decky`` is the row from before the look."""
    if set(running) == set(decky["observed"] or ()):
        return
    async with context.repo.transaction() as tx:
        await tx.fleet_lock()
        now = await tx.decky_get(decky["name"])
        # Somebody who works on it, or has done so meanwhile, knows better than an older look.
        if now is not None and now["lease_owner"] is None and now["observed"] == decky["observed"]:
            await _differs(tx, now, running)


async def _differs(tx: BaseRepository, now: DeckyRow, running: list[str]) -> None:
    moment, wanted = time.time(), list(now["desired"] or ())
    status = "running" if set(running) == set(wanted) else "degraded" if running else "down"
    values: Row = {"observed": running, "since": as_utc(moment), "state": status}
    if not now["pending"]:
        values |= {"pending": True, "failures": 1, "retry_at": None, "cause": {"trigger": "repair"}}
        values["reason"] = f"runs {', '.join(running) or 'nothing'} instead of {', '.join(wanted)}"
    reason = str(values.get("reason", now["reason"]))
    await tx.decky_update(now["name"], None, **values)
    await tx.outbox_add(events.state(now["name"], running, status, moment, reason))
    await refresh_status(tx, now["topology_id"])
    log.warning("decky runs something else", decky=now["name"], running=running, wanted=wanted)


async def free_dead(context: MutationContext) -> None:
    """Frees what engines of this host held that are gone, and what a failed task of this one left."""
    for owner in await context.repo.lease_owners():
        if owner != context.owner and is_dead(owner):
            log.warning("an engine is gone, its work is taken over", owner=owner)
            async with context.repo.transaction() as tx:
                await tx.fleet_lock()
                await tx.leases_drop(owner)
    for row in await context.repo.deckies():
        if row["lease_owner"] == context.owner and row["name"] not in context.working:
            await context.repo.decky_update(row["name"], context.owner, lease_owner=None, lease_until=None)


async def _end_left_ops(context: MutationContext) -> None:
    """Ends operations whose decky has long done what they wanted: somebody died between the two."""
    for row in await context.repo.mutations(states=("applying",), limit=0, newest_first=False):
        if row["kind"] not in OPS or 0.0 < (row["lease_until"] or 0.0) - time.time() <= FAR_S:
            continue
        async with context.repo.transaction() as tx:
            await tx.fleet_lock()
            decky = await tx.decky_get(row["target"])
            if decky is None or not decky["pending"]:
                gone = decky is None and row["kind"] not in ("remove_decky", "add_network", "remove_network")
                await finish_op(tx, row, "the decky is gone" if gone else "")


async def finish_op(tx: BaseRepository, row: MutationRow, why: str) -> None:
    """Ends an operation as applied, or as failed when there is a reason, and tells it."""
    state = "failed" if why else "applied"
    if await tx.mutation_finish(row["mutation_id"], state, why, {}):
        await tx.outbox_add(events.topology_change(row, state, why))
