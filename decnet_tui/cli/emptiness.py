"""Why a list of tags is empty, and what to do next: nothing read, nothing judged, no rules, or nothing matched."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository

NOTHING = "nothing yet: give the engine a log with --sensor cowrie=PATH, or try --demo"
"""An empty database."""
_JUDGING = frozenset({"ok", "degraded", "starting", "waiting_for_rules", "waiting_for_bus"})


async def why_no_tags(repo: BaseRepository, heartbeat_s: float, now: float | None = None) -> str:
    """One line for a list of tags without filters that is empty; ``now`` is epoch seconds. Raises DatabaseError."""
    from decnet.runtime.health import status_of  # here: few lists are empty

    figures = await repo.tagging_figures()
    beats = {row["worker"]: row["payload"] for row in await repo.heartbeats()}
    moment = time.time() if now is None else now
    beat = beats.get("ttp")
    return no_tags(figures, beat, "stale" if beat is None else status_of(beat, moment, heartbeat_s))


def no_tags(figures: Mapping[str, int], beat: Mapping[str, Any] | None, status: str) -> str:
    """The words for it: ``figures`` of the repository, the last heartbeat of the ttp worker and what it means now."""
    if figures["tags"]:
        return (
            f"{_many(figures['tags'], 'tag')}, all of ignored sources or replaced: --ignored shows the former"
        )
    if not figures["sessions"]:
        return NOTHING
    return f"{_many(figures['sessions'], 'session')} and no tag: {_reason(figures, beat or {}, status)}"


def _reason(figures: Mapping[str, int], beat: Mapping[str, Any], status: str) -> str:
    if status == "waiting_for_rules":
        return "the rules are still loading; if that lasts, look at `decnet-tui workers` and `decnet-tui rules check`"
    if status in _JUDGING and beat.get("rules_loaded") == 0:
        return (
            "no rules are loaded; name a directory with --rules, `decnet-tui rules check` says what is wrong"
        )
    waiting = figures["unjudged"]
    if waiting and status in _JUDGING:
        return f"{waiting} still to be judged (open, or the ttp worker is behind: see `decnet-tui workers`)"
    if waiting:
        return f"{waiting} not judged yet, and no ttp worker runs: start `decnet-tui --headless`"
    return "all were judged and no rule fired; `decnet-tui backfill --since 7d` judges again after a change of rules"


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"
