"""Window and sequence rules at their edges: time, counts, keys, lateness, what is kept and what is told."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from decnet.ttp import aggregates, windows_engine
from decnet.ttp.aggregates import (
    AFTER_S,
    LEAST,
    MAX_NAMED,
    RETURNS,
    WINDOW_S,
    auth_events,
    beacon_event,
    due_events,
    regular_returns,
    spraying_event,
)
from decnet.ttp.loader import load_bytes
from decnet.ttp.rule_engine import RuleEngine
from decnet.ttp.rules import CompiledRule, RuleState
from decnet.ttp.windows import (
    Completion,
    Correlation,
    Mark,
    Step,
    StoredHit,
    Subject,
    WindowHit,
    completions,
    event_time,
    events_of,
    facts,
    slot_of,
    superfluous,
    value_of,
    window_hit,
)
from decnet.ttp.windows_engine import WindowEngine
from decnet.ttp.windows_memory import MemoryWindows

TEXT = """rule_id: W1
rule_version: 1
name: demo
description: d
applies_to: [command]
emits: [{tactic: TA0007, technique_id: T1082, confidence: 0.8}]
match: {pattern: x, window: {count: 3, within: 60s, by: [session_id]}}
"""


def made(text: str = TEXT) -> CompiledRule:
    rule, errors = load_bytes(text.encode(), "W.yaml")
    assert rule is not None, [str(e) for e in errors]
    return rule


def hit(ts: float, source: str = "", *, value: str = "", steps: int = 0, pos: int = 0) -> StoredHit:
    return StoredHit(
        ts,
        source or f"e{ts:g}",
        pos,
        "command",
        steps,
        value,
        {"attacker_uuid": "a", "session_id": "s"},
        {"matched": "x"},
    )


def came(spec: Correlation, hits: Sequence[StoredHit], fired: Sequence[float] = ()) -> list[str]:
    return [done.hit.source_id for done in completions(spec, hits, fired)]


THREE = Correlation(60.0, ("session_id",), 3)


# -- the edges of time and count


@pytest.mark.parametrize(
    ("times", "wanted"),
    [
        ([0, 1], []),
        ([0, 1, 2], ["e2"]),
        ([0, 30, 60], ["e60"]),
        ([0, 30, 60.001], []),
        ([60, 0, 30], ["e60"]),
    ],
)
def test_a_window_is_full_at_its_count_and_as_wide_as_was_said(times: list[float], wanted: list[str]) -> None:
    assert came(THREE, [hit(t) for t in times]) == wanted


@pytest.mark.parametrize(
    ("fired", "silent"),
    [
        (2.0, True),
        (-58.0, True),
        (-58.001, False),
        (62.0, True),
        (62.001, False),
        (500.0, False),
        (-500.0, False),
    ],
)
def test_a_rule_rests_for_its_window_before_and_after_it_fired_and_no_longer(
    fired: float, silent: bool
) -> None:
    """A hit that comes late, far from what has fired, is not silenced by it."""
    assert (came(THREE, [hit(0), hit(1), hit(2)], [fired]) == []) is silent


def test_firings_on_both_sides_are_looked_at() -> None:
    hits = [hit(100), hit(101), hit(102)]
    assert came(THREE, hits, [0.0, 500.0]) == ["e102"]
    assert came(THREE, hits, [0.0, 150.0, 500.0]) == []
    assert came(THREE, hits, [500.0, 0.0, 50.0]) == [], "in any order"


def test_what_fires_in_one_look_rests_too() -> None:
    assert came(THREE, [hit(t) for t in (0, 1, 2, 3, 62, 63, 64)]) == ["e2", "e63"]
    assert came(THREE, [hit(t) for t in (0, 1, 2, 61, 62, 62.5)]) == ["e2", "e62.5"]


def test_ids_decide_between_events_of_one_moment() -> None:
    one = [hit(5, "b"), hit(5, "a"), hit(5, "c", pos=1), hit(5, "c")]
    (done,) = completions(THREE, one, ())
    assert [(h.source_id, h.pos) for h in done.parts] == [("a", 0), ("b", 0), ("c", 0)]


def test_distinct_values_are_counted_and_forgotten_with_their_last_hit() -> None:
    spec = Correlation(60.0, ("session_id",), 2, "argv0")
    assert came(spec, [hit(0, value="a"), hit(1, value="a"), hit(60.5, value="a")]) == []
    assert came(spec, [hit(0, value="a"), hit(60, value="b")]) == ["e60"]
    assert came(spec, [hit(0, value="a"), hit(60.5, value="b")]) == []
    assert came(spec, [hit(0, value="a"), hit(30, value="a"), hit(61, value="b")]) == ["e61"]
    assert came(THREE, [hit(0, value="a"), hit(1, value="a"), hit(2, value="a")]) == ["e2"]


STEPS = Correlation(60.0, ("session_id",), steps=(Step(None, None), Step(None, None), Step(None, None)))  # type: ignore[arg-type]
A, B, C = 1, 2, 4


@pytest.mark.parametrize(
    ("hits", "wanted"),
    [
        ([hit(0, steps=A), hit(30, steps=B), hit(60, steps=C)], ["e60"]),
        ([hit(0, steps=A), hit(30, steps=B), hit(60.001, steps=C)], []),
        ([hit(0, steps=A), hit(60.001, steps=B), hit(60.002, steps=C)], []),
        ([hit(0, steps=B), hit(1, steps=A), hit(2, steps=C)], []),
        ([hit(0, steps=A), hit(1, steps=C), hit(2, steps=B)], []),
        ([hit(0, steps=A | B | C)], []),
        ([hit(0, steps=A), hit(1, steps=A | B), hit(2, steps=B | C)], ["e2"]),
        ([hit(0, steps=A), hit(50, steps=A), hit(51, steps=B), hit(105, steps=C)], ["e105"]),
        ([hit(0, steps=A), hit(1, steps=B), hit(50, steps=A), hit(65, steps=C)], []),
        ([hit(0, "b", steps=B), hit(0, "a", steps=A), hit(0, "c", steps=C)], ["c"]),
    ],
)
def test_steps_hold_in_order_within_the_time_from_the_first_to_the_last(
    hits: list[StoredHit], wanted: list[str]
) -> None:
    assert came(STEPS, hits) == wanted


def test_a_sequence_shows_its_latest_start() -> None:
    (done,) = completions(STEPS, [hit(0, steps=A), hit(5, steps=A), hit(6, steps=B), hit(7, steps=C)], ())
    assert [h.ts for h in done.parts] == [5, 6, 7]


# -- keys and values


def subject(**payload: Any) -> Subject:
    return Subject("command", "e", 1.0, {"session_id": "s", "attacker_uuid": None}, payload)


def test_a_key_is_whole_or_counts_for_nothing_and_says_rule_and_version() -> None:
    rule = made()
    key = slot_of(rule, ["s"])
    assert key is not None
    assert len(key) == 32
    assert key == slot_of(made(), ["s"])
    others = [
        slot_of(made(TEXT.replace("rule_version: 1", "rule_version: 2")), ["s"]),
        slot_of(made(TEXT.replace("W1", "W2")), ["s"]),
        slot_of(rule, ["t"]),
        slot_of(rule, ["s", "t"]),
    ]
    assert len({key, *others}) == 5
    assert slot_of(rule, ["s", None]) is slot_of(rule, [""]) is None
    assert slot_of(rule, [0]) is not None
    assert slot_of(rule, [False]) is not None


def test_keys_come_from_who_it_was_and_else_from_the_payload() -> None:
    by = TEXT.replace("[session_id]", "[session_id, src.ip]")
    found = window_hit(
        made(by), [Mark(0, 0, "v")], subject(session_id="theirs", src={"ip": "h"}), {"matched": "m"}
    )
    assert found is not None
    assert found.slot == slot_of(made(by), ["s", "h"])
    (stored,) = found.stored
    assert (stored.ts, stored.source_id, stored.pos, stored.value, stored.why) == (
        1.0,
        "e",
        0,
        "v",
        {"matched": "m"},
    )
    assert window_hit(made(by), [Mark(0, 0, "")], subject(), {}) is None
    lone = made(
        TEXT.replace(
            "match: {pattern: x, window: {count: 3, within: 60s, by: [session_id]}}", "match: {pattern: x}"
        )
    )
    assert window_hit(lone, [Mark(0, 0, "")], subject(), {}) is None


@pytest.mark.parametrize(
    ("payload", "wanted"),
    [
        ({"ts": 5}, 5.0),
        ({"ts": "5", "ended_at": 6}, 6.0),
        ({"ts": True, "started_at": 7.5}, 7.5),
        ({"first_seen": 8}, 8.0),
        ({"ended_at": 6, "started_at": 7}, 6.0),
        ({"ts": 1e15}, 99.0),
        ({"ts": 9.99e14}, 9.99e14),
        ({"ts": float("nan")}, 99.0),
        ({}, 99.0),
    ],
)
def test_the_time_of_an_event_is_its_own_or_the_envelopes(payload: dict[str, Any], wanted: float) -> None:
    assert event_time(payload, 99.0) == wanted


def test_values_are_texts_of_bounded_length() -> None:
    assert value_of(None) is None
    assert value_of("a\0") == "a\ufffd"
    assert value_of({"b": 1}) == '{"b": 1}'
    assert value_of("x" * 200) == "x" * 200
    long = value_of("x" * 201)
    assert long is not None
    assert len(long) == 32
    assert long != value_of("y" * 201)


# -- what is kept


def test_the_newest_hits_are_kept_and_older_ones_only_while_they_can_take_part() -> None:
    plain = [hit(float(i)) for i in range(5)]
    two = Correlation(60.0, ("s",), 2)
    assert superfluous(two, plain, kept=5) == []
    assert superfluous(two, plain, kept=4) == plain[:1]
    assert superfluous(Correlation(60.0, ("s",), 5), plain, kept=2) == [], (
        "as many as the count are always kept"
    )
    spread = Correlation(60.0, ("s",), 2, "v")
    mixed = [
        hit(0.0, value="a"),
        hit(1.0, value="a"),
        hit(2.0, value="b"),
        *(hit(3.0 + i, value="c") for i in range(3)),
    ]
    assert superfluous(spread, mixed, kept=3) == [mixed[0]], "the newest of each value stays"
    far = [hit(0.0, value="a"), *(hit(120.0 + i / 100, value="c") for i in range(3))]
    assert superfluous(spread, far, kept=3) == []
    farther = [hit(0.0, value="a"), *(hit(120.001 + i / 100, value="c") for i in range(3))]
    assert superfluous(spread, farther, kept=3) == farther[:1], "twice the window is too old"


def test_chains_of_a_sequence_outlive_a_flood_of_one_step() -> None:
    hits = [hit(0, steps=A), hit(1, steps=A), hit(2, steps=B), *(hit(3.0 + i, steps=B) for i in range(4))]
    gone = superfluous(STEPS, hits, kept=4)
    assert hits[0] in gone
    assert hits[1] not in gone
    assert hits[2] not in gone


def test_evidence_names_the_last_fifty_events_each_once() -> None:
    parts = tuple(hit(float(i), f"e{i // 2}") for i in range(120))
    done = Completion(parts[-1], parts)
    named = events_of(done)
    assert (len(named), named[0], named[-1]) == (50, "e10", "e59")
    assert facts(THREE, done) == {"sources": named, "within_s": 60.0, "count": 120}
    steps = facts(
        STEPS, Completion(parts[2], (hit(0)._replace(why={"matched": "m" * 201}), hit(1)._replace(why={})))
    )
    assert steps["steps"] == ["m" * 200, ""]
    values = facts(
        Correlation(60.0, ("s",), 2, "argv0"),
        Completion(parts[0], (hit(0, value="a"), hit(1, value="a"), hit(2, value="b"))),
    )
    assert (values["count"], values["metric"]) == (2, "argv0")


def test_in_memory_the_key_untouched_for_longest_goes_and_is_counted() -> None:
    rule, memory = made(), MemoryWindows(max_slots=2)

    def add(key: str, ts: float) -> int:
        return len(memory.apply([WindowHit(rule, key, (hit(ts),))]))

    assert [add("a", 0), add("b", 0), add("a", 1), add("c", 0)] == [0, 0, 0, 0]
    assert memory.forgotten == 1
    assert add("a", 2) == 1, "b went, since a was touched after it"
    assert memory.forgotten == 1
    assert add("a", 3) == 0
    assert add("a", 2) == 0, "the same hit counts once"


# -- over the database


class Repo:
    """What a transaction would do, in memory."""

    def __init__(self) -> None:
        self.rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        self.fires: list[dict[str, Any]] = []
        self.calls: list[Any] = []

    async def lock_slots(self, slots: Sequence[str]) -> None:
        self.calls.append(("lock", list(slots)))

    async def add_window_hits(self, rows: Sequence[dict[str, Any]]) -> None:
        self.calls.append("add")
        for row in rows:
            self.rows.setdefault((row["slot"], row["source_kind"], row["source_id"], row["pos"]), row)

    async def window_marks(self, slots: Sequence[str]) -> list[dict[str, Any]]:
        return [
            {name: row[name] for name in row if name not in ("who", "why")}
            for row in self.rows.values()
            if row["slot"] in slots
        ]

    async def window_reasons(self, keys: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
        return [self.rows[key] for key in keys]

    async def window_fires(self, slots: Sequence[str]) -> list[dict[str, Any]]:
        return [row for row in self.fires if row["slot"] in slots]

    async def drop_window_hits(self, keys: Sequence[tuple[Any, ...]]) -> None:
        for key in keys:
            del self.rows[key]

    async def add_window_fires(self, rows: Sequence[dict[str, Any]]) -> None:
        self.fires += rows

    async def purge_window_hits(self, now: float) -> int:
        self.calls.append(("purge", now))
        return 0


def added(rule: CompiledRule, ts: float, slot: str = "k") -> WindowHit:
    return WindowHit(rule, slot, (hit(ts),))


async def test_keys_are_locked_in_order_before_anything_is_read_or_written() -> None:
    engine, repo, rule = WindowEngine(RuleEngine()), Repo(), made()
    assert await engine.apply(repo, []) == []  # type: ignore[arg-type]
    assert repo.calls == []
    await engine.apply(repo, [added(rule, 0, "b"), added(rule, 0, "a")])  # type: ignore[arg-type]
    assert repo.calls == [("lock", ["a", "b"]), "add"]


async def test_a_completion_gives_the_tags_of_its_last_event_once_and_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(windows_engine, "time", SimpleNamespace(time=lambda: 1000.0))
    engine, repo, rule = WindowEngine(RuleEngine(), retention_s=100.0), Repo(), made()
    batch = [added(rule, 0), added(rule, 1), added(rule, 2)]
    (tag,) = await engine.apply(repo, batch)  # type: ignore[arg-type]
    assert (tag.source_id, tag.session_id, tag.rule_id) == ("e2", "s", "W1")
    assert tag.evidence == {"sources": ["e0", "e1", "e2"], "within_s": 60.0, "count": 3, "matched": "x"}
    assert [(row["slot"], row["source_id"], row["ts"]) for row in repo.fires] == [("k", "e2", 2)]
    assert await engine.apply(repo, batch) == []  # type: ignore[arg-type]
    assert engine.health() == {"window_hits": 6, "windows_fired": 1, "window_hits_dropped": 0}
    assert {row["keep_until"] for row in repo.rows.values()} == {1120.0}, (
        "twice the window, where that is longer"
    )
    other = Repo()
    await WindowEngine(RuleEngine(), retention_s=500.0).apply(other, batch)  # type: ignore[arg-type]
    assert {row["keep_until"] for row in other.rows.values()} == {1500.0}
    await engine.purge(repo)  # type: ignore[arg-type]
    assert repo.calls[-1] == ("purge", 1000.0)


async def test_a_flood_is_dropped_and_counted() -> None:
    engine, repo, rule = WindowEngine(RuleEngine()), Repo(), made()
    await engine.apply(repo, [added(rule, float(i)) for i in range(514)])  # type: ignore[arg-type]
    assert engine.health()["window_hits_dropped"] == 2
    assert len(repo.rows) == 512


async def test_a_rule_that_was_switched_off_meanwhile_gives_no_tag() -> None:
    base, rule = RuleEngine(), made()
    base.replace([rule], {"W1": RuleState("disabled")})
    assert await WindowEngine(base).apply(Repo(), [added(rule, float(i)) for i in range(3)]) == []  # type: ignore[arg-type]
    assert base.suppressed == {("W1", "disabled"): 1}


# -- aggregates


def attempt(ts: float, n: int = 0, **more: Any) -> dict[str, Any]:
    row = {"credential_id": f"c{ts}-{n}", "attacker_uuid": "a", "decky_id": f"d{n}", "service": "ssh"}
    row |= {"session_id": f"s{n}", "username": "root", "secret_kind": "password", "secret_hmac": f"h{n}"}
    return row | {"success": False, "first_seen": ts} | more


def buckets(rows: list[dict[str, Any]], since: float = 0.0, until: float = 1e9) -> dict[str, dict[str, Any]]:
    return {e.source_id: e.payload for e in auth_events("a", rows, since, until)}


def test_failures_count_within_five_minutes_to_the_second() -> None:
    inside = buckets([attempt(10_000.0, 0), attempt(10_000.0 + WINDOW_S - 0.001, 1)])
    assert [p["fail_count"] for p in inside.values()] == [2]
    assert buckets([attempt(10_000.0, 0), attempt(10_000.0 + WINDOW_S, 1)]) == {}


def test_two_failures_are_the_least_aggregate_and_one_is_none() -> None:
    assert LEAST == 2
    assert buckets([attempt(9_000.0)]) == {}
    (payload,) = buckets([attempt(9_000.0, 0), attempt(9_001.0, 1)]).values()
    assert (payload["fail_count"], payload["secret_count"], payload["attempt_count"]) == (2, 2, 2)
    assert (payload["session_count"], payload["deckies"], payload["services"]) == (2, ["d0", "d1"], ["ssh"])
    assert (payload["window_start"], payload["window_end"], payload["window_s"]) == (9_000.0, 9_300.0, 300.0)


def test_secrets_are_counted_for_one_user_and_each_once() -> None:
    rows = [
        attempt(9_000.0 + i, i % 2, username=user) for i, user in enumerate(["root", "root", "bob", "root"])
    ]
    (payload,) = buckets(rows).values()
    assert (payload["secret_count"], payload["username"]) == (2, "root")
    gone = [attempt(9_000.0, 0), attempt(9_100.0, 1), attempt(9_301.0, 2), attempt(9_302.0, 2)]
    counts = {source: p["secret_count"] for source, p in buckets(gone).items()}
    assert counts == {"a#auth#30": 2, "a#auth#31": 2}


@pytest.mark.parametrize(("after", "prior"), [(0.0, 3), (AFTER_S, 3), (AFTER_S + 0.001, 0)])
def test_a_success_counts_for_an_hour_after_the_guessing(after: float, prior: int) -> None:
    fails = [attempt(10_000.0 + i, i) for i in range(3)]
    rows = [*fails, attempt(10_002.0 + after, 9, success=True, username="u")]
    found = [p for p in buckets(rows).values() if p.get("success")]
    assert [p["prior_fail_count"] for p in found] == ([prior] if prior else [])
    if found:
        assert found[0] == {
            "username": "u", "secret_hmac": "h9", "secret_kind": "password", "service": "ssh", "success": True,
            "prior_fail_count": 3, "window_s": 300.0, "ts": 10_002.0 + after,
        }  # fmt: skip


def test_the_greatest_count_of_the_last_hour_is_told_and_one_failure_is_no_guessing() -> None:
    rows = [attempt(10_000.0 + i, i) for i in range(4)] + [attempt(11_000.0, 8), attempt(11_001.0, 9)]
    found = [p for p in buckets([*rows, attempt(12_000.0, 1, success=True)]).values() if p.get("success")]
    assert [p["prior_fail_count"] for p in found] == [4]
    one = [attempt(10_000.0), attempt(10_001.0, success=True)]
    assert not any(p.get("success") for p in buckets(one).values())


@pytest.mark.parametrize(
    ("since", "until", "told"),
    [
        (9_000.0, 9_000.0, True),
        (9_300.0, 9_999.0, True),
        (9_300.001, 9_999.0, False),
        (0.0, 8_700.0, True),
        (0.0, 8_699.999, False),
    ],
)
def test_only_what_the_rows_of_the_span_can_have_changed_is_given(
    since: float, until: float, told: bool
) -> None:
    assert bool(buckets([attempt(9_000.0, 0), attempt(9_001.0, 1)], since, until)) is told


@pytest.mark.parametrize(
    ("since", "until", "told"),
    [(9_100.0, 9_100.0, True), (9_100.001, 9_999.0, False), (0.0, 5_500.0, True), (0.0, 5_499.999, False)],
)
def test_a_success_is_given_with_the_span_that_can_have_changed_it(
    since: float, until: float, told: bool
) -> None:
    rows = [attempt(9_000.0, 0), attempt(9_001.0, 1), attempt(9_100.0, 2, success=True)]
    assert any(p.get("success") for p in buckets(rows, since, until).values()) is told


def test_names_in_an_aggregate_are_bounded() -> None:
    rows = [attempt(9_000.0 + i, i) for i in range(MAX_NAMED + 1)]
    (payload,) = buckets(rows).values()
    assert len(payload["deckies"]) == MAX_NAMED
    row = {
        "identity_uuid": "i",
        "secret_kind": "p",
        "secret_hmac": "h",
        "account_count": 5,
        "target_count": 2,
        "more": 1,
    }
    event = spraying_event(row, [f"a{n:03}" for n in reversed(range(MAX_NAMED + 1))])
    assert (event.source_kind, event.source_id, event.attacker_uuid, event.identity_uuid) == (
        "identity",
        "i",
        None,
        "i",
    )
    assert event.payload["attacker_uuids"] == [f"a{n:03}" for n in range(MAX_NAMED)]
    assert event.payload["account_count"] == 5
    assert "more" not in event.payload


def test_eight_returns_make_a_run_and_those_within_a_second_are_one() -> None:
    starts = [100.0 * n for n in range(RETURNS)]
    assert regular_returns(starts[:-1]) is None
    assert regular_returns(starts) == (100.0, 0.0)
    doubled = sorted([*starts, 1.0, 701.001])
    found = regular_returns(doubled)
    assert found is not None
    assert found.jitter == 0.0, "one second is the same return, a thousandth more is another"
    assert regular_returns([0.0] * 20) is None


def test_the_most_regular_run_is_told_and_one_that_is_too_irregular_is_none() -> None:
    wild = [0.0, 5.0, 50.0, 51.5]
    starts = wild + [1000.0 + 60.0 * n for n in range(RETURNS)]
    (event,) = beacon_event("a", starts)
    assert event.payload == {
        "attacker_uuid": "a",
        "beacon_interval_s": 60.0,
        "beacon_jitter_pct": 0.0,
        "beacon_returns": 8,
    }
    assert (event.source_id, event.attacker_uuid) == ("a#beacon", "a")
    gaps = (50.0, 150.0, 50.0, 150.0, 100.0, 100.0, 100.0)
    assert beacon_event("a", [sum(gaps[:n]) for n in range(8)])
    edge = (50.0, 50.0, 50.0, 100.0, 150.0, 150.0, 200.0)
    (event,) = beacon_event("a", [sum(edge[:n]) for n in range(8)])
    assert event.payload["beacon_jitter_pct"] == 0.5
    over = (50.0, 50.0, 50.0, 100.0, 150.0, 150.0, 201.0)
    assert beacon_event("a", [sum(over[:n]) for n in range(8)]) == []


class Rows:
    """Attempts in memory, at most so many a look."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows, self.asked = rows, list[tuple[list[str], float, float, int]]()

    async def attempts(self, who: list[str], first: float, last: float, limit: int) -> list[dict[str, Any]]:
        self.asked.append((who, first, last, limit))
        found = [r for r in self.rows if r["attacker_uuid"] in who and first <= r["first_seen"] <= last]
        return sorted(found, key=lambda r: (r["attacker_uuid"], r["first_seen"]))[:limit]

    async def session_starts(self, who: list[str], newest: int) -> dict[str, list[float]]:
        assert newest == 500
        return {name: [100.0 * n for n in range(8)] for name in who}

    async def attackers_with_sessions(
        self, who: list[str], since: float, until: float, least: int
    ) -> set[str]:
        assert (least, since % 3600.0, until % 3600.0) == (10, 3540.0, 0.0)
        return set()

    async def identities_of(self, who: list[str]) -> dict[str, str]:
        return dict.fromkeys(who, "i")

    async def spread_of_secrets(
        self, identities: list[str], since: float, least: int
    ) -> list[dict[str, Any]]:
        assert (identities, since, least) == (["i"], 100.0, 2)
        keys = {"secret_kind": "p", "secret_hmac": "h", "account_count": 5, "target_count": 2}
        return [{"identity_uuid": "i", **keys}]


def mark(who: str, since: float = 100.0, until: float = 9_999.0) -> dict[str, Any]:
    return {"attacker_uuid": who, "since": since, "until": until}


async def test_everything_that_rows_say_of_the_due_is_given() -> None:
    rows = [attempt(9_000.0 + n, n, attacker_uuid=who) for who in "ab" for n in range(3)]
    repo = Rows(rows)
    events = await due_events(repo, [mark("b"), mark("a", 200.0, 8_888.0)])  # type: ignore[arg-type]
    assert [(e.source_kind, e.source_id) for e in events] == [
        ("auth_attempt", "a#auth#30"), ("auth_attempt", "b#auth#30"), ("session", "a#beacon"), ("session", "b#beacon"),
        ("identity", "i"),
    ]  # fmt: skip
    assert events[-1].payload["attacker_uuids"] == ["a", "b"]
    assert repo.asked == [(["a", "b"], 100.0 - AFTER_S - WINDOW_S, 9_999.0 + AFTER_S, 50_000)]


async def test_too_many_attempts_for_one_look_are_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregates, "MAX_ATTEMPTS", 7)
    rows = [attempt(9_000.0 + n, n, attacker_uuid=who) for who in "ab" for n in range(4)]
    repo = Rows(rows)
    events = await aggregates._auth(repo, [mark("a"), mark("b")])  # type: ignore[arg-type]
    assert [e.source_id for e in events] == ["a#auth#30", "b#auth#30"]
    assert [e.payload["fail_count"] for e in events] == [4, 4]
    assert [who for who, *_ in repo.asked] == [["a", "b"], ["a"], ["b"]]


async def test_a_span_is_halved_until_it_is_five_minutes_and_then_told_to_be_too_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert aggregates._parts([mark("a", 0.0, 600.0)]) == [[mark("a", 300.0, 600.0)], [mark("a", 0.0, 300.0)]]
    assert aggregates._parts([mark("a", 0.0, 300.0)]) == []
    assert aggregates._parts([mark("a", 0.0, 300.1)]) != []
    monkeypatch.setattr(aggregates, "MAX_ATTEMPTS", 3)
    repo = Rows([attempt(9_000.0 + n, n) for n in range(4)])
    with capture_logs() as logs:
        (event,) = await aggregates._auth(repo, [mark("a", 9_000.0, 9_300.0)])  # type: ignore[arg-type]
    assert event.payload["fail_count"] == 3
    assert [log["event"] for log in logs] == ["attempts beyond the bound are not counted"]
