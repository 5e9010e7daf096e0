"""Answers of the store for the first view, made up."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from decnet.db.rows.since import SinceRows, SomeNew, SourceSince, SpanTotals

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NONE = SomeNew(0, ())


def nothing(**more: Any) -> SinceRows:
    """A span in which nothing happened."""
    totals: SpanTotals = {"sources": 0, "sessions": 0, "got_in": 0, "ran_code": 0, "files": 0}
    rows = SinceRows(
        begin=EPOCH, end=datetime(2026, 3, 4, tzinfo=UTC), history=None, new_from=None, totals=totals, new_sources=0,
        usual=None, usual_of=0, rhythm=(), bucket_s=3600, sources=(), by_severity={}, files=NONE, hosts=NONE, keys=NONE,
        credentials=NONE, techniques=(), alerts=(), addresses={}, changes=(), journal=(), heartbeats=(),
    )  # fmt: skip
    return rows._replace(**more)


def source(number: int, severity: str | None = "high", **more: Any) -> SourceSince:
    """One source of a span."""
    moment = datetime(2026, 3, 3, 14, number % 60, tzinfo=UTC)
    row: SourceSince = {
        "attacker_uuid": f"a{number}", "attacker_ip": f"192.0.2.{number}", "identity_uuid": f"i{number}", "severity": severity,
        "severity_reason": "ran x", "sessions": 1, "playbooks": 1, "first": moment, "last": moment, "new": False, "unseen": False,
        "session_id": f"s{number}", "decky_id": "web", "service": "ssh", "playbook": f"pb-{number}", "story_line": "run",
    }  # fmt: skip
    row.update(more)  # type: ignore[typeddict-item]
    return row


def spanned(*sources: SourceSince, knocked: int = 0, **more: Any) -> SinceRows:
    """A span of some sources, and of more that only knocked."""
    counts: dict[str | None, int] = {}
    for one in sources:
        counts[one["severity"]] = counts.get(one["severity"], 0) + 1
    counts["info"] = counts.get("info", 0) + knocked
    totals = {
        "sources": len(sources) + knocked,
        "sessions": len(sources) + knocked,
        "got_in": 0,
        "ran_code": 0,
        "files": 0,
    }
    return nothing(sources=sources, by_severity=counts, totals=totals, **more)
