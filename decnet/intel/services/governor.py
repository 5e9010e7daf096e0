"""When a service may be asked: cache, daily budget, pauses after failures, one question in flight a value; pure.

The clock is the caller's (epoch seconds, UTC). What has to outlive a restart goes out as rows and comes back as rows;
where they are kept is left to the caller.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from decnet.intel.services.base import OF_THE_VALUE, REASONS, Answer, Kind, Value

DAY_S: Final = 86_400.0
KEPT_S: Final[Mapping[Kind, float]] = {
    "address": DAY_S,
    "host": DAY_S,
    "url": DAY_S,
    "list": DAY_S,
    "sha256": 7 * DAY_S,
}
"""Seconds for which an answer counts."""
FIRST_REST_S: Final = 60.0
"""First pause of a service after a failure; doubles with each one that follows, up to the next."""
MAX_REST_S: Final = 3600.0
MAX_RETRY_AFTER_S: Final = DAY_S
"""Longest pause that a service gets because it asked for one."""
VALUE_REST_S: Final = 6 * 3600.0
"""Pause of a value whose answer could not be read: the same would come again, and costs as much as a good one."""
MAX_CACHED: Final = 20_000
"""Answers in memory; beyond, those that were not needed for the longest time go."""


class Row(NamedTuple):
    """A service's day (days since the epoch), what was asked in it, failures in a row, and until when it rests."""

    service: str
    day: int
    used: int
    failures: int
    rest_until: float


class CacheRow(NamedTuple):
    """One answer, and when it came (epoch seconds)."""

    service: str
    value: Value
    at: float
    answer: Answer


class Rows(NamedTuple):
    """What has to outlive a restart."""

    services: tuple[Row, ...]
    answers: tuple[CacheRow, ...]


class Ask(NamedTuple):
    """Leave to ask: it is counted. Ends by one of ``answered``, ``failed`` and ``given_up``."""

    service: str
    value: Value


class Known(NamedTuple):
    """An answer that is still good, and when it came."""

    answer: Answer
    at: float


class Not(NamedTuple):
    """Not now; ``why`` is ``over_budget``, ``backed_off`` or ``in_flight``, ``until`` when that ends, if it is known."""

    why: str
    until: float | None = None


@dataclass(slots=True)
class _State:
    budget: int
    day: int = 0
    used: int = 0
    failures: int = 0
    rest_until: float = 0.0
    last_fault: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)


Key = tuple[str, Value]


class Governor:
    """Decides for some services, of which each has a daily budget."""

    def __init__(
        self, budgets: Mapping[str, int], clock: Callable[[], float], rows: Rows | None = None
    ) -> None:
        self._clock = clock
        self._services = {name: _State(budget) for name, budget in budgets.items()}
        self._cache: OrderedDict[Key, tuple[float, Answer]] = OrderedDict()
        self._resting: OrderedDict[Key, float] = OrderedDict()
        self._in_flight: set[Key] = set()
        self._touched: set[str] = set()
        self._fresh: dict[Key, CacheRow] = {}
        self.take(rows or Rows((), ()))

    def take(self, rows: Rows) -> None:
        """What is kept, as whoever asked last left it; rows of services that are off now are passed over.

        What changed here and is not kept yet is not undone by it.
        """
        for row in rows.services:
            if state := self._services.get(row.service):
                _left_by_another(state, row, unkept=row.service in self._touched)
        for each in sorted(rows.answers, key=lambda row: row.at):
            key = (each.service, each.value)
            if each.service in self._services and each.at >= self._cache.get(key, (each.at, None))[0]:
                self._remember(key, each.at, each.answer)

    def until(self, service: str) -> float | None:
        """Until when a service is not asked whatever it is about: it rests, or its budget is used; None for now."""
        state, now = self._services[service], self._clock()
        if (rest := _rest(state, now)) > now:
            return rest
        self._turn(state, now)
        return (state.day + 1) * DAY_S if state.used >= state.budget else None

    def knows(self, service: str, value: Value) -> bool:
        """Whether there is an answer that still counts."""
        return self._still_good((service, value), self._clock()) is not None

    def decide(self, service: str, value: Value) -> Ask | Known | Not:
        """Whether to ask now. Raises KeyError for a service that it does not know."""
        state, now, key = self._services[service], self._clock(), (service, value)
        if known := self._still_good(key, now):
            state.counts["cached"] += 1
            return known
        if key in self._in_flight:
            return Not("in_flight")
        rest = max(_rest(state, now), self._rest_of(key, now))
        if rest > now:
            state.counts["backed_off"] += 1
            return Not("backed_off", rest)
        self._turn(state, now)
        if state.used >= state.budget:
            state.counts["over_budget"] += 1
            return Not("over_budget", (state.day + 1) * DAY_S)
        state.used += 1
        state.counts["asked"] += 1
        self._touched.add(service)
        self._in_flight.add(key)
        return Ask(service, value)

    def answered(self, ask: Ask, answer: Answer) -> float:
        """What came back, and when that was, as it is kept; that nothing is known is an answer."""
        state, key, now = self._services[ask.service], (ask.service, ask.value), self._clock()
        self._in_flight.discard(key)
        state.counts["answered" if answer.known else "unknown"] += 1
        state.failures, state.rest_until, state.last_fault = 0, 0.0, ""
        self._touched.add(ask.service)
        self._fresh[key] = CacheRow(ask.service, ask.value, now, answer)
        self._remember(key, now, answer)
        return now

    def failed(self, ask: Ask, reason: str, retry_after: float | None = None) -> None:
        """Nothing came back that could be believed: the service rests, and a value that cannot be read too.

        ``reason`` is one of :data:`decnet.intel.services.base.REASONS`, ``retry_after`` the seconds that the service
        named.
        """
        state, key, now = self._services[ask.service], (ask.service, ask.value), self._clock()
        self._in_flight.discard(key)
        state.faults[reason] += 1
        state.last_fault = reason
        self._touched.add(ask.service)
        if reason in OF_THE_VALUE:
            self._resting[key] = now + VALUE_REST_S
            self._resting.move_to_end(key)
            _cut(self._resting)
        if state.rest_until > now and retry_after is None:
            return  # asked before the first of several failures was known: that was one failure
        state.failures += 1
        state.rest_until = now + _pause(reason, state.failures, retry_after)

    def given_up(self, ask: Ask) -> None:
        """Nobody waits for the answer any more; it stays counted, since it may have gone out."""
        self._in_flight.discard((ask.service, ask.value))

    def changed(self) -> Rows:
        """What changed since the last ``kept``."""
        rows = [
            Row(name, state.day, state.used, state.failures, state.rest_until)
            for name, state in self._services.items()
            if name in self._touched
        ]
        return Rows(tuple(rows), tuple(self._fresh.values()))

    def kept(self, rows: Rows) -> None:
        """These rows are kept; what changed meanwhile is not."""
        now = {row.service: row for row in self.changed().services}
        self._touched -= {row.service for row in rows.services if now.get(row.service) == row}
        for row in rows.answers:
            if self._fresh.get((row.service, row.value)) == row:
                del self._fresh[row.service, row.value]

    def health(self) -> dict[str, dict[str, Any]]:
        """By service: its counters, faults that there were by reason, what today's budget has left, until when it rests."""
        now = self._clock()
        return {name: self._health_of(state, now) for name, state in self._services.items()}

    def _health_of(self, state: _State, now: float) -> dict[str, Any]:
        self._turn(state, now)
        rest = _rest(state, now)
        return {
            **{name: state.counts[name] for name in COUNTERS},
            "faults": {reason: state.faults[reason] for reason in REASONS if state.faults[reason]},
            "last_fault": state.last_fault,
            "left_today": max(state.budget - state.used, 0),
            "rests_until": rest if rest > now else None,
        }

    def _turn(self, state: _State, now: float) -> None:
        """A new day has a new budget; a day before the last one is a clock that was set back, and has none."""
        today = int(now // DAY_S)
        if today > state.day:
            state.used = 0
        state.day = today

    def _still_good(self, key: Key, now: float) -> Known | None:
        found = self._cache.get(key)
        if found is None:
            return None
        at, answer = found
        if abs(now - at) >= KEPT_S[key[1].kind]:
            del self._cache[key]
            return None
        self._cache.move_to_end(key)
        return Known(answer, at)

    def _rest_of(self, key: Key, now: float) -> float:
        """Until when a value rests; the past for one that does not."""
        until = self._resting.get(key, 0.0)
        if until > now:
            self._resting[key] = until = _at_most(until, now, VALUE_REST_S)
        else:
            self._resting.pop(key, None)
        return until

    def _remember(self, key: Key, at: float, answer: Answer) -> None:
        self._cache[key] = (at, answer)
        self._cache.move_to_end(key)
        _cut(self._cache)


COUNTERS: Final = ("asked", "answered", "unknown", "cached", "over_budget", "backed_off")


def _left_by_another(state: _State, row: Row, *, unkept: bool) -> None:
    """A service's state as it is kept; where ours is ahead of that, of each the more."""
    used, failures = max(row.used, 0), max(row.failures, 0)
    if unkept and row.day == state.day:
        used, failures = max(used, state.used), max(failures, state.failures)
        state.rest_until = max(row.rest_until, state.rest_until)
    elif not unkept or row.day > state.day:
        state.rest_until = row.rest_until
    else:
        return
    state.day, state.used, state.failures = row.day, used, failures


def _cut(kept: OrderedDict[Key, Any]) -> None:
    while len(kept) > MAX_CACHED:
        kept.popitem(last=False)


def _rest(state: _State, now: float) -> float:
    """Until when a service rests; the past for one that does not."""
    state.rest_until = _at_most(state.rest_until, now, MAX_RETRY_AFTER_S)
    return state.rest_until


def _at_most(until: float, now: float, longest: float) -> float:
    """The end of a pause; one that lies further away than any pause lasts is from another clock, and begins now."""
    return until if until - now <= longest else now + longest


def _pause(reason: str, failures: int, retry_after: float | None) -> float:
    if retry_after is not None:
        return min(max(retry_after, FIRST_REST_S), MAX_RETRY_AFTER_S)
    if reason == "refused":
        return MAX_REST_S  # a key that is not taken is not taken a minute later either
    return float(min(FIRST_REST_S * 2 ** min(failures - 1, 16), MAX_REST_S))
