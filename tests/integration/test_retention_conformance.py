"""What any retention has to do, on both databases: what leaves, what hangs on what, what is never touched.

The moment asked for is the border: what is older leaves, what is exactly as old stays. Rows are put into
the tables as they are, so that the suite asks nothing of whoever writes them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from decnet.bus.null import NullBus
from decnet.config import load_settings
from decnet.db.repository import BaseRepository
from decnet.db.repository.runtime import retention as repo_retention
from decnet.recorder.worker import RecorderWorker
from tests.dbkit import KINDS, open_repo
from tests.rowkit import TABLES, emptied, left, put

pytestmark = pytest.mark.asyncio(loop_scope="module")
STEP = 0.001
CUTOFF = 1_700_000_000.0
OLD, AT, FRESH = CUTOFF - STEP, CUTOFF, CUTOFF + STEP
SESSION_TABLES = {
    "behave_part", "behave_session", "command", "credential", "email_body", "observation", "session_feature",
    "session_part", "session_story", "session_thing", "ttp_part", "ttp_tag", "link_due", "link_session",
    "canary_trigger", "bait_read",
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=KINDS)
async def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[BaseRepository]:
    folder: Path = tmp_path_factory.mktemp("retention")
    async with open_repo(request.param, folder) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def repo(database: BaseRepository) -> BaseRepository:
    """The same database for all, empty again."""
    await emptied(database)
    return database


def three(key: str, time: str, names: Iterable[Any] = ("old", "at", "fresh")) -> list[dict[str, Any]]:
    return [{key: name, time: when} for name, when in zip(names, (OLD, AT, FRESH), strict=True)]


BY_TIME = {
    "credential": ("credential_id", "last_seen"),
    "fingerprint": ("fingerprint_id", "last_seen"),
    "observation": ("observation_id", "ts"),
    "attacker_intel": ("attacker_uuid", "ts"),
    "email_body": ("source_id", "ts"),
    "intel_answer": ("value", "at"),
    "intel_due": ("value", "ts"),
    "attacker": ("attacker_uuid", "last_seen"),
    "ttp_tag": ("uuid", "created_at"),
}
BY_NUMBER = {"dead_letter": ("seq", "ts"), "mutation": ("mutation_id", "finished_at")}


@pytest.mark.parametrize("as_time", [False, True])
async def test_each_table_keeps_what_is_exactly_as_old_and_counts_what_left(
    repo: BaseRepository, as_time: bool
) -> None:
    for table, (key, time) in BY_TIME.items():
        rows = three(key, time)
        if table == "observation":
            rows = [{**row, "evidence_ref": row[key]} for row in rows]
        await put(repo, table, *rows)
    await put(repo, "dead_letter", *three("seq", "ts", (1, 2, 3)))
    running = {"mutation_id": "running", "state": "applying", "finished_at": None}
    await put(repo, "mutation", *three("mutation_id", "finished_at"), running)
    before: float | datetime = datetime.fromtimestamp(CUTOFF, UTC) if as_time else CUTOFF
    seen: list[tuple[str, int]] = []
    done = await repo.purge_older(before, lambda table, rows: seen.append((table, rows)))
    for table, (key, _) in BY_TIME.items():
        assert await left(repo, table, key) == {"at", "fresh"}, table
    assert await left(repo, "dead_letter", "seq") == {2, 3}
    assert await left(repo, "mutation", "mutation_id") == {"at", "fresh", "running"}, "what runs never leaves"
    expected = dict.fromkeys((*BY_TIME, *BY_NUMBER), 1)
    assert {table: count for table, count in done.items() if count} == expected
    assert dict(seen) == expected, "progress tells of every table, once a page"
    assert len(seen) == len(expected)
    assert not any((await repo.purge_older(before)).values()), "a second time nothing is left to do"


async def test_a_session_leaves_by_its_end_and_an_open_one_by_its_start(repo: BaseRepository) -> None:
    ends = [{"started_at": 1.0, **row} for row in three("session_id", "ended_at")]
    starts = three("session_id", "started_at", ("open-old", "open-at", "open-fresh"))
    mark = {"session_id": "mark", "tagged_at": 1.0}
    await put(repo, "session", *ends, *starts, mark)
    done = await repo.purge_older(CUTOFF)
    assert await left(repo, "session", "session_id") == {"at", "fresh", "open-at", "open-fresh", "mark"}
    assert done["session"] == 2


async def test_everything_that_names_a_session_leaves_with_it_whatever_its_own_age(
    repo: BaseRepository,
) -> None:
    named = {name for name, table in TABLES.items() if "session_id" in table.columns}
    # A fingerprint is of its attacker and leaves with it; the session says where it was seen first.
    assert named - {"fingerprint"} == SESSION_TABLES | {"session", "recording"}, (
        "say here what a new table hangs on"
    )
    await put(
        repo, "session", {"session_id": "gone", "ended_at": OLD}, {"session_id": "kept", "ended_at": AT}
    )
    extra = {
        "command": "command_id", "credential": "credential_id", "observation": "observation_id", "ttp_tag": "uuid",
        "email_body": "source_id", "canary_trigger": "trigger_id", "bait_read": "token_id",
    }  # fmt: skip
    times = {"credential": "last_seen", "observation": "ts", "ttp_tag": "created_at", "email_body": "ts", "canary_trigger": "last_at", "bait_read": "at"}  # fmt: skip
    for table in SESSION_TABLES:
        for name in ("gone", "kept"):
            row: dict[str, Any] = {"session_id": name}
            if table in extra:
                row[extra[table]] = f"{table}-{name}"
            if table in times:
                row[times[table]] = FRESH
            if table == "observation":
                row["evidence_ref"] = name
            await put(repo, table, row)
    done = await repo.purge_older(CUTOFF)
    for table in sorted(SESSION_TABLES | {"session"}):
        assert await left(repo, table, "session_id") == {"kept"}, table
        assert done[table] == 1, table


async def test_a_recording_stays_while_one_session_names_it(repo: BaseRepository) -> None:
    await put(
        repo,
        "session",
        {"session_id": "gone", "ended_at": OLD, "keystrokes_ref": "shared"},
        {"session_id": "gone2", "ended_at": OLD, "keystrokes_ref": "own"},
        {"session_id": "kept", "ended_at": AT, "keystrokes_ref": "shared"},
    )
    await put(
        repo, "recording", {"key": "shared", "session_id": "gone"}, {"key": "own", "session_id": "gone2"}
    )
    done = await repo.purge_older(CUTOFF)
    assert await left(repo, "recording", "key") == {"shared"}
    assert done["recording"] == 1


async def test_an_attacker_leaves_when_nothing_of_it_is_left(repo: BaseRepository) -> None:
    quiet = {"last_seen": OLD}
    await put(
        repo,
        "attacker",
        *({"attacker_uuid": name, **quiet} for name in ("nothing", "old-session", "old-credential")),
        *({"attacker_uuid": name, **quiet} for name in ("fresh-session", "fresh-credential", "intel-too")),
        *({"attacker_uuid": name} for name in ("never-seen", "intel-only", "old-intel-only", "session-only")),
    )
    for table, key in (("session", "session_id"), ("credential", "credential_id")):
        time = "ended_at" if table == "session" else "last_seen"
        owners = (("old", OLD), ("fresh", AT))
        await put(repo, table, *({key: n, "attacker_uuid": f"{n}-{table}", time: t} for n, t in owners))
    await put(repo, "session", {"session_id": "s", "attacker_uuid": "session-only", "started_at": FRESH})
    await put(repo, "attacker_intel", *({"attacker_uuid": a, "ts": AT} for a in ("intel-too", "intel-only")))
    await put(repo, "attacker_intel", {"attacker_uuid": "old-intel-only", "ts": OLD})
    done = await repo.purge_older(CUTOFF)
    assert await left(repo, "attacker", "attacker_uuid") == {
        "fresh-session", "fresh-credential", "session-only", "intel-only",
    }  # fmt: skip
    assert done["attacker"] == 6


async def test_what_is_known_of_an_attacker_leaves_with_it_and_can_be_told_anew(repo: BaseRepository) -> None:
    """The names are chosen to be hard to tell apart for a pattern."""
    for name, seen in (("a_1", OLD), ("ab1", AT), ("a_12", AT)):
        await put(repo, "attacker", {"attacker_uuid": name, "last_seen": seen})
        await put(repo, "identity", {"identity_uuid": f"i-{name}", "attacker_uuid": name})
        await put(repo, "attribution_state", {"identity_uuid": f"i-{name}"})
        await put(repo, "multi_actor_evidence", {"identity_uuid": f"i-{name}"})
        await put(
            repo, "producer_due", *({"attacker_uuid": name, "consumer": c} for c in ("recorder", "ttp"))
        )
        await put(repo, "announcement", *({"key": f"scored|{name}|{n}"} for n in (25, 50)))
    await put(repo, "announcement", {"key": "reuse|a_1|2"})
    await put(repo, "attacker_intel", {"attacker_uuid": "ab1", "ts": OLD})
    await repo.purge_older(CUTOFF)
    for table in ("identity", "attribution_state", "multi_actor_evidence"):
        assert await left(repo, table, "identity_uuid") == {"i-ab1", "i-a_12"}, table
    assert await left(repo, "producer_due", "attacker_uuid") == {"ab1", "a_12"}
    kept = {f"scored|{name}|{n}" for name in ("ab1", "a_12") for n in (25, 50)}
    assert await left(repo, "announcement", "key") == kept | {"reuse|a_1|2"}
    assert await repo.announce({"scored|a_1|25": 1.0, "scored|ab1|25": 1.0}) == ["scored|a_1|25"]


async def test_an_identity_stays_with_its_states_while_another_member_lives(repo: BaseRepository) -> None:
    members = {"win": OLD, "lose": AT, "win2": OLD, "lose2": OLD, "win3": OLD}
    for name, seen in members.items():
        await put(repo, "attacker", {"attacker_uuid": name, "last_seen": seen})
    merged = {"lose": "i-win", "lose2": "i-win2"}
    for name in members:
        row = {"identity_uuid": f"i-{name}", "attacker_uuid": name, "merged_into": merged.get(name)}
        await put(repo, "identity", row)
        for table in ("attribution_state", "attribution_past", "multi_actor_evidence", "identity_link"):
            await put(repo, table, {"identity_uuid": f"i-{name}"})
    await put(repo, "identity", {"identity_uuid": "not formed yet", "merged_into": "i-win3"})
    await repo.purge_older(CUTOFF)
    assert await left(repo, "attacker", "attacker_uuid") == {"lose"}
    living = {"i-win", "i-lose", "i-win3"}
    assert await left(repo, "identity", "identity_uuid") == living | {"not formed yet"}
    assert await left(repo, "attribution_state", "identity_uuid") == living, "the state of a group that lives"
    for table in ("attribution_past", "multi_actor_evidence", "identity_link"):
        assert await left(repo, table, "identity_uuid") == living, table
    assert await left(repo, "link_gone", "attacker_uuid") == {"win", "win2", "lose2", "win3"}, (
        "linking has to forget them"
    )


async def test_an_identity_that_stood_for_others_leaves_once_it_stands_for_nobody(
    repo: BaseRepository,
) -> None:
    """The winner's attacker leaves first: its identity goes on while the others live, and not for ever."""
    await put(repo, "attacker", {"attacker_uuid": "lose", "last_seen": AT})
    await put(
        repo, "identity",
        {"identity_uuid": "i-win", "attacker_uuid": "win"},
        {"identity_uuid": "i-lose", "attacker_uuid": "lose", "merged_into": "i-win"},
        {"identity_uuid": "i-folded", "attacker_uuid": "folded", "merged_into": "i-win"},
        {"identity_uuid": "named", "attacker_uuid": None},
    )  # fmt: skip
    await put(repo, "attribution_state", {"identity_uuid": "i-win"}, {"identity_uuid": "named"})
    assert (await repo.purge_older(CUTOFF))["identity"] == 0
    async with repo.db.write() as session:
        await session.execute(text("UPDATE identity SET merged_into = NULL WHERE identity_uuid = 'i-lose'"))
    assert (await repo.purge_older(CUTOFF))["identity"] == 2
    assert await left(repo, "identity", "identity_uuid") == {"i-lose", "named"}
    assert await left(repo, "attribution_state", "identity_uuid") == {"named"}


async def test_a_tag_without_session_stays_as_long_as_whom_it_is_about(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(repo, "attacker", {"attacker_uuid": "known", "last_seen": FRESH})
    await put(repo, "identity", {"identity_uuid": "i-known", "attacker_uuid": "known"})
    tags: dict[str, dict[str, Any]] = {
        "known": {"attacker_uuid": "known"},
        "unknown": {"attacker_uuid": "gone"},
        "unknown but of a known identity": {"attacker_uuid": "gone", "identity_uuid": "i-known"},
        "of an identity": {"attacker_uuid": None, "identity_uuid": "i-known"},
        "of no identity any more": {"attacker_uuid": None, "identity_uuid": "i-gone"},
        "of a session that comes later": {"attacker_uuid": "gone", "session_id": "later"},
        "known by both": {"attacker_uuid": "known", "identity_uuid": "i-gone"},
    }
    await put(repo, "ttp_tag", *({"uuid": name, "created_at": OLD, **row} for name, row in tags.items()))
    done = await repo.purge_older(CUTOFF)
    gone = {"unknown", "of no identity any more", "unknown but of a known identity"}
    assert await left(repo, "ttp_tag", "uuid") == tags.keys() - gone
    assert done["ttp_tag"] == 3


async def test_a_tag_younger_than_an_hour_may_be_ahead_of_its_attacker(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    monkeypatch.setattr(repo_retention, "utcnow", lambda: now)
    border = now - timedelta(hours=1)
    ages = {
        "older": border - timedelta(milliseconds=1),
        "at": border,
        "younger": border + timedelta(seconds=1),
    }
    await put(repo, "ttp_tag", *({"uuid": name, "created_at": when} for name, when in ages.items()))
    await repo.purge_older(now)
    assert await left(repo, "ttp_tag", "uuid") == {"at", "younger"}


async def test_two_tellings_of_one_mail_leave_each_by_its_own_time(repo: BaseRepository) -> None:
    await put(repo, "email_body", *({**row, "source_id": "m"} for row in three("attacker_uuid", "ts")))
    done = await repo.purge_older(CUTOFF)
    assert await left(repo, "email_body", "attacker_uuid") == {"at", "fresh"}
    assert done["email_body"] == 1


async def test_marks_make_no_difference_and_what_operators_did_stays(repo: BaseRepository) -> None:
    for name, seen in (("old", OLD), ("fresh", FRESH)):
        marked = {"attacker_uuid": name, "ignored_by": "e1"}
        await put(repo, "attacker", {**marked, "last_seen": seen})
        await put(repo, "session", {**marked, "session_id": name, "ended_at": seen, "tagged_at": FRESH})
        await put(repo, "identity", {"identity_uuid": f"i-{name}", "attacker_uuid": name})
        await put(repo, "attribution_alert", {"alert_id": f"l-{name}", "identity_uuid": f"i-{name}"})
    await put(repo, "ignored_source", {"ignore_id": "e1"}, {"ignore_id": "e2", "expires_at": OLD})
    await put(repo, "journal", {"id": 1})
    await put(repo, "identity_merge", {"loser_uuid": "i-old", "winner_uuid": "i-fresh"})
    await put(repo, "ttp_rule_state", {"rule_id": "R1", "state": "disabled"})
    await put(repo, "rule_change", {"rule_id": "R1"})
    await put(repo, "worker_heartbeat", {"worker": "w"})
    await put(repo, "lease", {"name": "n", "owner": "o", "expires_at": 1.0})
    await repo.purge_older(CUTOFF)
    assert await left(repo, "session", "session_id") == {"fresh"}
    assert await left(repo, "attacker", "attacker_uuid") == {"fresh"}
    assert await left(repo, "attribution_alert", "alert_id") == {"l-old", "l-fresh"}
    assert await left(repo, "ignored_source", "ignore_id") == {"e1", "e2"}
    for table, key in (("journal", "id"), ("identity_merge", "loser_uuid"), ("ttp_rule_state", "rule_id")):
        assert len(await left(repo, table, key)) == 1, table
    for table, key in (("rule_change", "rule_id"), ("worker_heartbeat", "worker"), ("lease", "name")):
        assert len(await left(repo, table, key)) == 1, table


async def test_pages_are_transactions_of_their_own_and_the_next_run_goes_on(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert repo_retention.AT_ONCE == 500
    monkeypatch.setattr(repo_retention, "AT_ONCE", 2)
    names = [f"s{n}" for n in range(4)]
    await put(repo, "session", *({"session_id": name, "ended_at": OLD} for name in names))
    await put(repo, "command", *({"command_id": name, "session_id": name} for name in names))

    def stop(_table: str, _rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await repo.purge_older(CUTOFF, stop)
    remaining = await left(repo, "session", "session_id")
    assert len(remaining) == 2, "the first page is gone for good"
    assert await left(repo, "command", "session_id") == remaining, "each with what hangs on it"
    seen: list[tuple[str, int]] = []
    await put(repo, "session", {"session_id": "s4", "ended_at": OLD})
    done = await repo.purge_older(CUTOFF, lambda table, rows: seen.append((table, rows)))
    assert seen == [("session", 2), ("session", 1)]
    assert (done["session"], done["command"]) == (3, 2)
    assert await left(repo, "session", "session_id") == set()


async def test_a_page_that_fails_takes_nothing_half(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(repo, "session", {"session_id": "s", "ended_at": OLD})
    await put(repo, "command", {"command_id": "c", "session_id": "s"})
    honest = type(repo)._with_session

    async def fails(self: Any, *args: Any) -> Any:
        await honest(self, *args)
        raise RuntimeError("power")

    monkeypatch.setattr(type(repo), "_with_session", fails)
    with pytest.raises(RuntimeError, match="power"):
        await repo.purge_older(CUTOFF)
    assert await left(repo, "session", "session_id") == {"s"}
    assert await left(repo, "command", "command_id") == {"c"}


async def test_nothing_is_deleted_by_itself(repo: BaseRepository) -> None:
    """Retention is off until somebody asks: what workers do all day leaves the oldest row."""
    await put(repo, "attacker", {"attacker_uuid": "a", "last_seen": 1.0})
    await put(repo, "session", {"session_id": "s", "attacker_uuid": "a", "started_at": 1.0, "ended_at": 2.0})
    await put(repo, "dead_letter", {"seq": 1, "ts": 1.0})
    await put(repo, "producer_due", {"attacker_uuid": "a"})
    worker = RecorderWorker(load_settings())
    for job in worker.jobs:
        await job.run(repo, NullBus())
    assert await left(repo, "session", "session_id") == {"s"}
    assert await left(repo, "attacker", "attacker_uuid") == {"a"}
    assert await left(repo, "dead_letter", "seq") == {1}
    assert not any((await repo.purge_older(0.0)).values())
