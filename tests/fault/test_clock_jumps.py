"""The wall clock jumps, either way and while all runs: leases, schedules and expiries hold, and tags are what they are."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from decnet.bus.base import Event
from decnet.config import Settings, load_settings
from decnet.db.repository import BaseRepository
from decnet.db.repository.runtime.work import FAR_S
from decnet.db.tables import table
from decnet.engine import Engine
from decnet.keyed import load_key
from decnet.mutator.setback import count_anew
from decnet.recorder.worker import RecorderWorker
from decnet.runtime.health import status_of
from decnet.runtime.worker import Transaction
from decnet.sensors.files.tailer import Line
from decnet.sensors.sources import CowrieSource
from decnet.ttp.rules import RuleState
from tests.acceptance.test_commands_fuzz import COMMANDS
from tests.cowriegen import lines
from tests.dbkit import KINDS, open_repo
from tests.jumpkit import DAY, HOUR, Jumps
from tests.mutatorkit import START, Clock, World, calm, engine, lab_repo, moment
from tests.programkit import surroundings
from tests.wirekit import taken

TTL = 15.0


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as opened:
        yield opened


async def ends_in(repo: BaseRepository, seconds: float) -> None:
    """The lease looks as if the clock had been moved: PostgreSQL's is nobody's to move."""
    lease = table("lease")
    async with repo.transaction() as tx, tx._write() as session:
        await session.execute(update(lease).values(expires_at=time.time() + seconds))


@pytest.mark.fault(
    fault="the clock is set back by an hour or ten days while a lease is held, and its holder dies",
    guard="a lease that lasts longer than any that is taken now is free",
    control="mutant db-lease-of-another-time",
    figure="taken at once on both databases, instead of an hour or ten days later",
)
@pytest.mark.parametrize("back", [HOUR, 10 * DAY])
async def test_a_lease_from_before_the_clock_was_set_back_keeps_nobody_out(
    repo: BaseRepository, back: float
) -> None:
    assert await repo.lease_acquire("tick", "gone", TTL)
    await ends_in(repo, TTL + back)
    assert await repo.lease_acquire("tick", "next", TTL)
    assert not await repo.lease_acquire("tick", "late", TTL)


@pytest.mark.fault(
    fault="engines of one database with leases of different lengths",
    guard="two minutes more than ours are borne",
    control="itself",
    figure="held at 115 s more, free at 125 s",
)
async def test_a_lease_that_is_a_little_longer_than_ours_is_held(repo: BaseRepository) -> None:
    """Clocks are slewed, and engines are not all set alike."""
    assert await repo.lease_acquire("tick", "other", TTL)
    await ends_in(repo, TTL + FAR_S - 5)
    assert not await repo.lease_acquire("tick", "next", TTL)
    await ends_in(repo, TTL + FAR_S + 5)
    assert await repo.lease_acquire("tick", "next", TTL)


@pytest.mark.parametrize("by", [-10 * DAY, -HOUR, HOUR, 10 * DAY])
@pytest.mark.fault(
    fault="a jump of an hour or ten days under a lease that is held",
    guard="its holder takes it anew by the clock of then",
    control="itself",
    figure="4 jumps, held by one",
)
async def test_whoever_holds_a_lease_renews_it_over_a_jump(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: float
) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        jumps = Jumps(monkeypatch)
        assert await repo.lease_acquire("tick", "one", TTL)
        jumps.by = by
        assert await repo.lease_acquire("tick", "one", TTL)
        assert not await repo.lease_acquire("tick", "two", TTL), "renewed in the time that counts now"


# --- the fleet


@pytest.mark.fault(
    fault="the clock is set back by ten days, or an hour, under a fleet that rotates",
    guard="a moment that lies further away than any that is chosen now is chosen anew",
    control="mutant mutator-schedule-of-another-time",
    figure="the next rotation is within one interval",
)
@pytest.mark.parametrize("back", [HOUR, 10 * DAY])
async def test_a_schedule_goes_on_after_the_clock_was_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, back: float
) -> None:
    clock = Clock(monkeypatch)
    async with lab_repo(tmp_path) as repo:
        world = World()
        one = engine(repo, calm(tmp_path), world)
        due = {row["name"]: row["next_due"] for row in await repo.deckies() if row["next_due"]}
        assert due, "the lab rotates"
        clock.now = START + 100
        await count_anew(one)
        assert {row["name"]: row["next_due"] for row in await repo.deckies() if row["next_due"]} == due
        intervals = {name: (at - moment(START)).total_seconds() for name, at in due.items()}
        clock.now = START - back
        await count_anew(one)
        anew = {row["name"]: row["next_due"] for row in await repo.deckies() if row["next_due"]}
        late = {name: at for name, at in anew.items() if at > moment(clock.now + intervals[name] + 120)}
        assert late == {}
        await count_anew(one)
        assert {row["name"]: row["next_due"] for row in await repo.deckies() if row["next_due"]} == anew
        clock.now += max(intervals.values()) + 1
        assert await one.anything_ready()


@pytest.mark.fault(
    fault="the clock is set back by ten days under a try that was put off and a claim",
    guard="a moment that lies too far away counts as over",
    control="mutant mutator-try-of-another-time",
    figure="tried at once, taken over at once",
)
async def test_a_try_that_was_put_off_and_leases_of_the_fleet_do_not_wait_for_the_old_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    async with lab_repo(tmp_path) as repo:
        one, other = (
            engine(repo, calm(tmp_path), World(), owner) for owner in ("elsewhere:1:x", "elsewhere:2:y")
        )
        await repo.decky_update("web", None, pending=True, retry_at=moment(START + 1800), failures=3)
        clock.now = START - 10 * DAY
        assert not await one.anything_pending()
        await count_anew(one)
        assert await one.anything_pending()
        clock.now = START + 10
        assert await repo.decky_claim("web", one.owner, 300.0, one.site)
        assert await repo.decky_claim("web", other.owner, 300.0, other.site) is None
        clock.now = START - 10 * DAY
        assert await repo.decky_claim("web", other.owner, 300.0, other.site), "its holder is of another time"
        await count_anew(one)
        row = await repo.decky_get("web")
        assert row is not None
        assert row["lease_owner"] == other.owner, "what is claimed is left alone"


# --- expiries


@pytest.mark.parametrize("by", [-10 * DAY, -HOUR, 0.0, HOUR - 61, HOUR - 59, 10 * DAY])
@pytest.mark.fault(
    fault="a jump under a state of a rule that ends by itself",
    guard="an expiry is a moment of the clock, in UTC",
    control="itself",
    figure="6 jumps; over to the second",
)
def test_a_state_of_a_rule_ends_when_the_clock_says_so(by: float) -> None:
    """Whoever says "for an hour" means a moment of the clock; one that is set back is waited for, never for ever."""
    now = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)  # half an hour before the clocks of Europe go forward
    state = RuleState("disabled", None, now + timedelta(seconds=HOUR - 60), "noisy", "eve", now)
    assert state.expired(now + timedelta(seconds=by)) is (by >= HOUR - 60)


# --- the whole engine


def grown(data: Path, log: Path, **more: Any) -> Settings:
    return load_settings(
        data_dir=data,
        sensors=[{"kind": "cowrie", "path": str(log)}],
        runtime={"heartbeat_s": 0.3, "tail_db_s": 0.1},
        **more,
    )


async def told(repo: BaseRepository) -> dict[str, set[str]]:
    """What an engine found out, without the moments at which it did."""
    own = ("created_at", "tagged_at", "updated_at", "since")
    out = {}
    for name, rows in (
        ("tags", await repo.list_tags(limit=0)),
        ("sessions", await repo.list_sessions(limit=0)),
    ):
        out[name] = {
            json.dumps({k: v for k, v in row.items() if k not in own}, default=str, sort_keys=True)
            for row in rows
        }
    return out


async def worked(
    settings: Settings, log: Path, made: list[str], jumps: list[float], clock: Jumps | None
) -> dict[str, set[str]]:
    """An engine that reads a log which grows while the clock jumps; raises AssertionError unless all stays well."""
    running = Engine(settings)
    log.write_text("", "utf-8")
    await running.start()
    try:
        piece = len(made) // len(jumps) + 1
        for number, by in enumerate(jumps):
            if clock is not None:
                clock.by = by
            with log.open("a", encoding="utf-8") as file:
                file.write("".join(f"{line}\n" for line in made[number * piece : (number + 1) * piece]))
            assert await running.until_idle(0.3) is None, by
        states = {
            row["worker"]: status_of(row["payload"], time.time(), 0.3)
            for row in await running.repo.heartbeats()
        }
        assert set(states.values()) == {"ok"}, states
        assert await running.repo.dead_letters() == []
        assert await running.repo.outbox_count() == 0
        return await told(running.repo)
    finally:
        await running.stop(5.0)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.fault(
    fault="the clock jumps by an hour and by ten days, either way, and beyond 2038, while an engine works",
    guard="windows go by the time of events; only leases, expiries and heartbeats by the clock",
    control="test_a_lease_from_before_the_clock_was_set_back_keeps_nobody_out",
    figure="6 jumps: tags and sessions those of a calm run, no dead letter, every worker ok",
)
async def test_an_engine_works_on_while_the_clock_jumps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, clock = lines(600, 23), Jumps(monkeypatch)
    calm_dir, data = tmp_path / "calm", tmp_path / "data"
    load_key(calm_dir)
    data.mkdir(mode=0o700)
    (data / "secret.key").write_bytes((calm_dir / "secret.key").read_bytes())
    (data / "secret.key").chmod(0o600)
    log = tmp_path / "cowrie.json"
    expected = await worked(grown(calm_dir, log), log, made, [0.0] * 6, clock)
    assert len(expected["tags"]) > 20
    beyond = datetime(2040, 1, 1, tzinfo=UTC).timestamp() - time.time()
    jumps = [0.0, HOUR, -HOUR, 10 * DAY, -10 * DAY, beyond]
    assert await worked(grown(data, log), log, made, jumps, clock) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.fault(
    fault="an attack and a clock beyond 2038-01-19T03:14:07Z",
    guard="no time is an integer of 32 bits",
    control="itself",
    figure="stored, listed, leased on both databases",
)
async def test_attacks_beyond_2038_are_stored_and_listed(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last second of 32 bits is 2038-01-19T03:14:07Z; one session lies across it."""
    last = 2.0**31 - 1
    payload = {
        "session_id": "s1", "attacker_uuid": "a", "attacker_ip": "203.0.113.9", "decky_id": "web", "service": "ssh", "protocol": "ssh",
        "started_at": last - 5, "ended_at": last + 20, "duration_s": 25.0, "end_reason": "closed", "part": 1, "parts": 1, "command_count": 1,
        "commands": [{"id": "c1", "command_text": "id", "ts": last + 10}],
    }  # fmt: skip
    Jumps(monkeypatch).by = last + 3600 - time.time()
    async with open_repo(kind, tmp_path) as repo:
        async with repo.transaction() as bound:
            event = Event("attacker.session.ended", payload, ts=last + 20)
            await RecorderWorker(load_settings(data_dir=tmp_path)).handle(taken([event]), Transaction(bound))
        (row,) = await repo.list_sessions(since=datetime.fromtimestamp(last - 60, UTC))
        assert (row["started_at"].timestamp(), row["ended_at"].timestamp()) == (last - 5, last + 20)
        assert await repo.list_sessions(since=datetime.fromtimestamp(last + 60, UTC)) == []
        assert await repo.lease_acquire("tick", "one", TTL)


@pytest.mark.fault(
    fault="another zone, the hour that summer time leaves out, and the one that comes twice",
    guard="times are UTC from the sensor to the answer",
    control="itself",
    figure="3 zones: the same events, the same answers",
)
async def test_the_zone_of_the_host_and_its_summer_time_change_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions in the hour that Europe's clocks leave out and in the one that they have twice."""
    log = tmp_path / "cowrie.json"
    rows = [json.loads(line) for line in lines(40, 3)]
    for number, row in enumerate(rows):
        hour = "2026-03-29T01" if number < 20 else "2026-10-25T00"
        row["timestamp"] = f"{hour}:{30 + number % 20}:00.000000Z"
    made = [json.dumps(row) for row in rows]
    await worked(grown(tmp_path / "data", log, bus={"type": "memory"}), log, made, [0.0], None)
    read: dict[str, list[Any]] = {}
    answers: dict[str, bytes] = {}
    asked = (
        ["sessions", "--json"],
        ["tags"],
        ["sessions", "--since", "2026-03-29T01:45:00"],
        ["attackers"],
        ["stats"],
    )
    try:
        for zone in ("UTC", "Europe/Berlin", "America/New_York"):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            source = CowrieSource(load_settings(), b"k" * 32)
            events = source.feed(
                [Line("f", n, 0, line.encode()) for n, line in enumerate(made)]
            ) + source.end_all("eof")
            read[zone] = [(event.topic, event.id, event.payload) for event in events]
            answers[zone] = await asyncio.to_thread(said, asked, tmp_path / "data", zone)
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    assert read["UTC"] == read["Europe/Berlin"] == read["America/New_York"]
    assert answers["UTC"] == answers["Europe/Berlin"] == answers["America/New_York"]
    assert b"2026-03-29" in answers["UTC"]


def said(asked: Sequence[Sequence[str]], data: Path, zone: str) -> bytes:
    """What commands answer, in a process of its own."""
    rows = json.dumps([[*words, "--data-dir", str(data)] for words in asked])
    (file := data.with_suffix(".json")).write_text(rows, "utf-8")
    env = {**surroundings(), "TZ": zone}
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, str(file)], capture_output=True, env=env, timeout=60, check=True
    )
    return re.sub(rb"(?m)^=== .*$", b"", done.stdout)
