"""Facts about an attacker that no single event holds: guessing over sessions, spraying, regular returns.

Computed from stored rows for attackers that the recorder marked as due, never while an event is handled:
recorder and ttp get the same events in any order, so the row may not be there yet. The mark is written
with the row, so whatever order they come in, the last computation sees everything. Source ids are made
of the attacker and a bucket of event time, not of the event that happened to be last, so that a tag is
the same whatever was known first. What a number must reach is a rule's business.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from decnet.bounds import bit
from decnet.logs import get_logger
from decnet.ttp.base import TaggerEvent
from decnet.ttp.rushes import rush_events

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.rows.recorder import CredentialAttempt, SecretSpread
    from decnet.db.rows.runtime import DueSpan

_log = get_logger(__name__)
WINDOW_S = 300.0
"""Guessing is counted within five minutes (design, credential lifter)."""
AFTER_S = 3600.0
"""A success counts as one after guessing for an hour: a bot that got in uses what it found at once."""
LEAST = 2
"""Fewer failures, secrets or names than this are no aggregate."""
RETURNS = 8
"""Session starts in the run whose regularity is measured; with fewer, chance looks regular."""
SAME_RETURN_S = 1.0
"""Sessions that start within a second of each other are one return."""
MOST_JITTER = 0.5
"""A run less regular than this is not worth an event."""
NEWEST_STARTS = 500
MAX_ATTEMPTS = 50_000
MAX_NAMED = 50
ATTEMPTS_UNCOUNTED = "attempts_uncounted"
"""The name in health of looks that had more than MAX_ATTEMPTS before them."""
AT_ONCE = 100
_SPREAD = ("account_count", "target_count", "flood_count", "sessions_a_minute")


class Attempt(NamedTuple):
    """One login attempt; ``ts`` is epoch seconds of event time."""

    ts: float
    credential_id: str
    ok: bool
    user: str
    secret: str
    session: str
    decky: str
    service: str
    row: CredentialAttempt

    @classmethod
    def of(cls, row: CredentialAttempt) -> Attempt:
        """From a row of ``credential``."""
        return cls(
            row["first_seen"],
            row["credential_id"],
            row["success"] is True,
            row["username"] or "",
            row["secret_hmac"] or "",
            row["session_id"] or "",
            row["decky_id"] or "",
            row["service"] or "",
            row,
        )


@dataclass
class _Window:
    """The failures of the last five minutes, counted as they come and go."""

    failures: deque[Attempt] = field(default_factory=deque)
    sessions: Counter[str] = field(default_factory=Counter)
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    secrets: Counter[str] = field(default_factory=Counter)

    def add(self, attempt: Attempt) -> None:
        self.failures.append(attempt)
        self.sessions[attempt.session] += 1
        self.pairs[attempt.user, attempt.secret] += 1
        if self.pairs[attempt.user, attempt.secret] == 1:
            self.secrets[attempt.user] += 1
        while self.failures[0].ts <= attempt.ts - WINDOW_S:
            self._drop(self.failures.popleft())

    def _drop(self, old: Attempt) -> None:
        _less(self.sessions, old.session)
        if not _less(self.pairs, (old.user, old.secret)):
            _less(self.secrets, old.user)


def _less(counts: Counter[Any], key: Any) -> int:
    """Takes one away and forgets what is gone; what is left."""
    counts[key] -= 1
    left = counts[key]
    if not left:
        del counts[key]
    return left


@dataclass
class _Bucket:
    """What five minutes of the calendar saw."""

    fail_count: int = 0
    secret_count: int = 0
    username: str = ""
    attempts: int = 0
    sessions: set[str] = field(default_factory=set)
    deckies: set[str] = field(default_factory=set)
    services: set[str] = field(default_factory=set)

    def take(self, attempt: Attempt, window: _Window) -> None:
        self.attempts += 1
        self.sessions.add(attempt.session)
        self.deckies.add(attempt.decky)
        self.services.add(attempt.service)
        if attempt.ok:
            return
        if len(window.sessions) > 1:
            self.fail_count = max(self.fail_count, len(window.failures))
        if (count := window.secrets[attempt.user]) > self.secret_count:
            self.secret_count, self.username = count, attempt.user

    def payload(self, start: float) -> dict[str, Any]:
        """Without ``fail_count`` when all failures are one session's: that session's own event has it."""
        out: dict[str, Any] = {
            "window_s": WINDOW_S, "window_start": start, "window_end": start + WINDOW_S,
            "attempt_count": self.attempts, "session_count": len(self.sessions),
            "deckies": sorted(filter(None, self.deckies))[:MAX_NAMED],
            "services": sorted(filter(None, self.services))[:MAX_NAMED],
            "secret_count": self.secret_count, "username": self.username,
        }  # fmt: skip
        return out | ({"fail_count": self.fail_count} if self.fail_count else {})


def auth_events(
    attacker: str, rows: Iterable[CredentialAttempt], since: float, until: float
) -> list[TaggerEvent]:
    """The ``auth_attempt`` events of one attacker from its credential rows in order of (time, id).

    Only buckets and successes that rows of ``since`` to ``until`` can have changed are given.
    """
    window, buckets, out = _Window(), dict[int, _Bucket](), list[TaggerEvent]()
    bursts: deque[tuple[float, int]] = deque()
    for attempt in map(Attempt.of, rows):
        if attempt.ok:
            out += _success(attacker, attempt, bursts, since, until)
        else:
            window.add(attempt)
            _note(bursts, attempt.ts, len(window.failures))
        buckets.setdefault(int(attempt.ts // WINDOW_S), _Bucket()).take(attempt, window)
    for number, bucket in sorted(buckets.items()):
        start = number * WINDOW_S
        touched = since - WINDOW_S <= start <= until + WINDOW_S
        if touched and max(bucket.fail_count, bucket.secret_count) >= LEAST:
            source = f"{attacker}#auth#{number}"
            out.append(TaggerEvent("auth_attempt", source, attacker, payload=bucket.payload(start)))
    return out


def _note(bursts: deque[tuple[float, int]], ts: float, failures: int) -> None:
    """Keeps what can still be the greatest count of the next hour: falling counts only."""
    while bursts and bursts[-1][1] <= failures:
        bursts.pop()
    bursts.append((ts, failures))


def _success(
    attacker: str, attempt: Attempt, bursts: deque[tuple[float, int]], since: float, until: float
) -> list[TaggerEvent]:
    while bursts and bursts[0][0] < attempt.ts - AFTER_S:
        bursts.popleft()
    prior = bursts[0][1] if bursts else 0
    if prior < LEAST or not since <= attempt.ts <= until + AFTER_S:
        return []
    row = attempt.row
    payload: dict[str, Any] = {"username": row["username"], "secret_hmac": row["secret_hmac"]}
    payload |= {"secret_kind": row["secret_kind"], "service": row["service"]}
    payload |= {"success": True, "prior_fail_count": prior, "window_s": WINDOW_S, "ts": attempt.ts}
    where = {"session_id": row["session_id"], "decky_id": row["decky_id"]}
    return [TaggerEvent("auth_attempt", attempt.credential_id, attacker, payload=payload, **where)]


class Returns(NamedTuple):
    """The most regular run of returns: median interval in seconds, and deviation from it as a share of it."""

    interval_s: float
    jitter: float


def regular_returns(starts: Sequence[float]) -> Returns | None:
    """The most regular run of RETURNS starts (rising, epoch seconds); None with too few of them."""
    returns: list[float] = []
    for start in starts:
        if not returns or start - returns[-1] > SAME_RETURN_S:
            returns.append(start)
    gaps = [b - a for a, b in pairwise(returns)]
    runs = [_regularity(gaps[i : i + RETURNS - 1]) for i in range(len(gaps) - RETURNS + 2)]
    return min(runs, key=lambda run: (run.jitter, run.interval_s), default=None)


def _regularity(gaps: Sequence[float]) -> Returns:
    median = sorted(gaps)[len(gaps) // 2]
    return Returns(median, sum(abs(gap - median) for gap in gaps) / len(gaps) / median)


def beacon_event(attacker: str, starts: Sequence[float]) -> list[TaggerEvent]:
    """The ``session`` event of an attacker that comes back like clockwork."""
    found = regular_returns(starts)
    if found is None or found.jitter > MOST_JITTER:
        return []
    payload = {
        "attacker_uuid": attacker,
        "beacon_interval_s": round(found.interval_s, 3),
        "beacon_jitter_pct": round(found.jitter, 4),
        "beacon_returns": RETURNS,
    }
    return [TaggerEvent("session", f"{attacker}#beacon", attacker, payload=payload)]


def grown(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether the evidence ``new`` of an aggregate takes the place of ``old``: not when it counts less.

    A later look at spraying sees the secrets that are new only; the most that was ever seen stays.
    """
    return all((new.get(name) or 0) >= (old.get(name) or 0) for name in _SPREAD)


def spraying_event(row: SecretSpread, attackers: Iterable[str]) -> TaggerEvent:
    """The ``identity`` event about the secret that most login names were tried with."""
    payload = {
        "identity_uuid": row["identity_uuid"],
        "secret_kind": row["secret_kind"],
        "secret_hmac": row["secret_hmac"],
        "account_count": row["account_count"],
        "target_count": row["target_count"],
        "attacker_uuids": sorted(attackers)[:MAX_NAMED],
    }
    return TaggerEvent("identity", row["identity_uuid"], None, row["identity_uuid"], payload=payload)


async def due_events(repo: BaseRepository, marks: Sequence[DueSpan]) -> list[TaggerEvent]:
    """Everything that stored rows say about the attackers of some due marks."""
    attackers = [mark["attacker_uuid"] for mark in marks]
    out = await _auth(repo, marks)
    for attacker, starts in sorted((await repo.session_starts(attackers, NEWEST_STARTS)).items()):
        out += beacon_event(attacker, starts)
    out += await rush_events(repo, marks)
    identities = await repo.identities_of(attackers)
    members: dict[str, list[str]] = {}
    for attacker, identity in identities.items():
        members.setdefault(identity, []).append(attacker)
    since = min(float(mark["since"]) for mark in marks)
    spread = await repo.spread_of_secrets(sorted(members), since, LEAST)
    return out + [spraying_event(row, members[row["identity_uuid"]]) for row in spread]


async def _auth(repo: BaseRepository, marks: Sequence[DueSpan]) -> list[TaggerEvent]:
    """Attackers with too many attempts for one look are looked at alone, over shorter and shorter spans."""
    out: list[TaggerEvent] = []
    todo = [list(marks)]
    while todo:
        some = todo.pop()
        spans: Mapping[str, tuple[float, float]] = {
            m["attacker_uuid"]: (m["since"], m["until"]) for m in some
        }
        first = min(since for since, _ in spans.values()) - AFTER_S - WINDOW_S
        last = max(until for _, until in spans.values()) + AFTER_S
        rows = await repo.attempts(sorted(spans), first, last, MAX_ATTEMPTS)
        if len(rows) == MAX_ATTEMPTS:
            if parts := _parts(some):
                todo += parts
                continue
            bit(ATTEMPTS_UNCOUNTED)
            _log.warning("attempts beyond the bound are not counted", bound=MAX_ATTEMPTS)
        for attacker, own in groupby(rows, key=lambda row: str(row["attacker_uuid"])):
            out += auth_events(attacker, own, *spans[attacker])
            await asyncio.sleep(0)  # thousands of attempts are no single turn of the event loop
    return out


def _parts(marks: list[DueSpan]) -> list[list[DueSpan]]:
    """Half of the marks each, or one mark as two halves of its span; nothing when that is short already."""
    if len(marks) > 1:
        return [marks[len(marks) // 2 :], marks[: len(marks) // 2]]
    (mark,) = marks
    middle = (mark["since"] + mark["until"]) / 2
    if mark["until"] - mark["since"] <= WINDOW_S:
        return []
    return [[{**mark, "since": middle}], [{**mark, "until": middle}]]
