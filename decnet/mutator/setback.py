"""Schedules after the clock was set back: what was due in an hour must not be due in ten days.

A moment that lies further away than any that is chosen now was chosen before; it is chosen anew.
"""

from __future__ import annotations

import time

from decnet.db.rows.fleet import DeckyRow, TopologyRow
from decnet.db.types import as_utc
from decnet.logs import get_logger
from decnet.mutator.claim import POSTPONE_S
from decnet.mutator.context import MutationContext
from decnet.mutator.rows import Row
from decnet.mutator.schedule import parse_interval

log = get_logger(__name__)
SLACK_S = 60.0
"""Seconds by which the clocks of two hosts may differ, and a moment lie beyond the last that could be chosen."""


async def count_anew(context: MutationContext) -> None:
    """Chooses anew when deckies are due or tried again, where that lies too far away; touches none that is claimed."""
    topologies = {one["topology_id"]: one for one in await context.repo.topologies()}
    for row in await context.repo.deckies():
        topology = topologies.get(row["topology_id"])
        if row["lease_owner"] is not None or not too_far(context, row, topology, time.time()):
            continue
        async with context.changing() as tx:
            now = await tx.decky_get(row["name"])
            if now is None or now["lease_owner"] is not None:
                continue
            values = too_far(context, now, topology, time.time())
            if values:
                await tx.decky_update(row["name"], None, **values)
                log.warning("the clock was set back, the schedule is counted anew", decky=row["name"])


def too_far(context: MutationContext, row: DeckyRow, topology: TopologyRow | None, now: float) -> Row:
    """New values for what of a decky's times lies further away than it could be chosen at ``now`` (epoch seconds)."""
    values: Row = {}
    text = row["mutate_interval"] or (topology["mutate_interval"] if topology else "") or "never"
    interval = parse_interval(text)
    longest = max((interval or 0.0) * (1.0 + context.settings.jitter), POSTPONE_S) + SLACK_S
    if row["next_due"] is not None and row["next_due"].timestamp() > now + longest:
        values["next_due"] = as_utc(context.next_due(row, topology))
    most = context.settings.retry_backoff_max_s * 1.1 + SLACK_S
    if row["retry_at"] is not None and row["retry_at"].timestamp() > now + most:
        values["retry_at"] = None
    return values
