"""What happened in a span, on both databases: who is read first, what is usual, what is new, what is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import delete, update

from decnet.db.repository import BaseRepository
from decnet.db.repository.lists import since as since_module
from decnet.db.repository.lists import ties as ties_module
from decnet.db.repository.lists.since import WIDE
from decnet.db.repository.lists.since import _is_wide as is_wide_span
from decnet.db.repository.lists.visits import Span
from decnet.db.tables import table
from decnet.events.ttp import SEVERITIES
from decnet.ids import attacker_id, identity_id
from decnet.keyed import login_label
from tests.dbkit import KINDS, open_repo
from tests.rowkit import emptied, left, put

pytestmark = pytest.mark.asyncio(loop_scope="module")
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
BEGIN = NOW - DAY
IPS = [f"192.0.2.{n}" for n in range(1, 9)]
A, B, C, D = (attacker_id(ip) for ip in IPS[:4])


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=KINDS)
async def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path_factory.mktemp("since")) as repo:
        yield repo


@pytest.fixture(params=[False, True], ids=["narrow", "wide"], autouse=True)
def wide(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a span is looked up or read through: either way it comes to the same."""
    monkeypatch.setattr(since_module, "_is_wide", lambda *_: request.param)


@pytest_asyncio.fixture(loop_scope="module")
async def repo(opened: BaseRepository) -> BaseRepository:
    await emptied(opened)
    for ip in IPS:
        uuid = attacker_id(ip)
        await put(
            opened,
            "attacker",
            {"attacker_uuid": uuid, "ip": ip, "first_seen": NOW - 30 * DAY, "last_seen": NOW},
        )
        await put(
            opened,
            "identity",
            {"identity_uuid": identity_id(uuid), "attacker_uuid": uuid, "merged_into": None},
        )
    return opened


async def visit(
    repo: BaseRepository, name: str, attacker: str, began: datetime, severity: str | None = "low", **more: Any
) -> None:
    """A session; one with a severity is judged."""
    ended = began + more.pop("took", timedelta(seconds=10))
    things, reason = more.pop("things", ()), more.pop("reason", "r")
    playbook = more.pop("playbook", None)
    row = {"session_id": name, "attacker_uuid": attacker, "attacker_ip": "x", "decky_id": "d", "service": "ssh", "started_at": began,
           "ended_at": ended, "command_count": 1, "tagged_at": began if severity else None, **more}  # fmt: skip
    await put(repo, "session", row)
    if severity is not None:
        story = {"session_id": name, "attacker_uuid": attacker, "severity": severity, "rank": SEVERITIES.index(severity),
                 "reason": reason, "line": "l", "playbook": playbook, "seen_at": began, "ended_at": ended.timestamp()}  # fmt: skip
        await put(repo, "session_story", story)
    for kind, value in things:
        await put(repo, "session_thing", {"session_id": name, "kind": kind, "value": value, "seen_at": began})


async def old(repo: BaseRepository, days: int = 10) -> None:
    """A history that begins so long ago."""
    await visit(repo, "old", D, NOW - days * DAY, "info")


async def first(repo: BaseRepository, **how: Any) -> list[tuple[str, str]]:
    rows = await repo.since(how.pop("begin", BEGIN), how.pop("end", NOW), **how)
    return [(row["attacker_ip"] or "", row["session_id"]) for row in rows.sources]


async def test_the_worst_is_first_then_what_nobody_had_then_more_scripts_and_never_the_number(
    repo: BaseRepository,
) -> None:
    await old(repo)
    for number in range(5):
        await visit(
            repo,
            f"noisy{number}",
            A,
            BEGIN + number * HOUR,
            "high",
            things=[("hash", "h1")],
            playbook=f"pb-{number % 2}",
        )
    await visit(repo, "alone", B, BEGIN + HOUR, "high", things=[("hash", "h2")], playbook="pb-9")
    await visit(repo, "scripts", C, BEGIN + HOUR, "high", things=[("hash", "h1")], playbook="pb-1")
    await visit(repo, "worse", D, BEGIN, "critical")
    rows = (await repo.since(BEGIN, NOW)).sources
    assert [(row["session_id"], row["sessions"], row["playbooks"], row["unseen"]) for row in rows] == [
        ("worse", 1, 0, False), ("alone", 1, 1, True), ("noisy4", 5, 2, False), ("scripts", 1, 1, False),
    ]  # fmt: skip
    assert (rows[1]["severity"], rows[1]["severity_reason"], rows[1]["identity_uuid"]) == (
        "high",
        "r",
        identity_id(B),
    )


async def test_its_session_to_read_is_the_newest_of_its_worst(repo: BaseRepository) -> None:
    await visit(repo, "bad", A, BEGIN + HOUR, "high")
    await visit(repo, "bad-later", A, BEGIN + 2 * HOUR, "high")
    await visit(repo, "mild", A, BEGIN + 3 * HOUR, "low")
    (row,) = (await repo.since(BEGIN, NOW)).sources
    assert (row["session_id"], row["first"], row["last"]) == (
        "bad-later",
        BEGIN + HOUR,
        BEGIN + 3 * HOUR + timedelta(seconds=10),
    )
    (row,) = (await repo.since(BEGIN, BEGIN + 2 * HOUR)).sources
    assert row["session_id"] == "bad", "what came after the span is not in it"


async def test_a_session_that_began_before_and_ended_inside_is_in_the_span(repo: BaseRepository) -> None:
    await visit(repo, "long", A, BEGIN - HOUR, "high", took=HOUR)
    await visit(repo, "over", B, BEGIN - HOUR, "high", took=HOUR - timedelta(seconds=1))
    await visit(repo, "next", C, NOW, "high")
    assert await first(repo) == [("x", "long")]


async def test_sessions_that_nobody_has_judged_are_told_behind_the_others(repo: BaseRepository) -> None:
    await visit(repo, "known", A, BEGIN + HOUR, "info")
    await visit(repo, "running", A, BEGIN + 2 * HOUR, None)
    await visit(repo, "only", B, BEGIN + HOUR, None, ended_at=None)
    rows = await repo.since(BEGIN, NOW)
    assert [(row["session_id"], row["severity"], row["sessions"]) for row in rows.sources] == [
        ("known", "info", 2),
        ("only", None, 1),
    ]
    assert rows.by_severity == {"info": 1, None: 1}
    assert (rows.totals["sources"], rows.totals["sessions"]) == (2, 3)


async def test_ignored_sources_are_left_out_of_everything(repo: BaseRepository) -> None:
    await old(repo)
    await visit(
        repo,
        "hidden",
        A,
        BEGIN + HOUR,
        "high",
        things=[("hash", "h1")],
        ignored_by="x",
        reason="up and ran x",
    )
    await visit(repo, "untold", A, BEGIN + HOUR, None, ignored_by="x")
    await visit(repo, "shown", B, BEGIN + HOUR, "low")
    rows = await repo.since(BEGIN, NOW)
    assert [row["session_id"] for row in rows.sources] == ["shown"]
    assert rows.totals == {"sources": 1, "sessions": 1, "got_in": 1, "ran_code": 0, "files": 0}
    assert rows.files.of == 0
    assert sum(count for _, count in rows.rhythm) == 1


async def test_totals_and_what_is_usual_are_of_spans_of_one_length(repo: BaseRepository) -> None:
    await visit(repo, "begin", D, NOW - 4 * DAY, "info")  # three whole days before this one
    for day, count in ((1, 2), (2, 4), (3, 8)):
        for number in range(count):
            began = BEGIN - day * DAY + HOUR * (number + 1)
            await visit(
                repo,
                f"d{day}-{number}",
                IPS[number % 2],
                began,
                "high",
                reason="fetched and ran x",
                things=[("hash", f"h{number}")],
            )
    for number, (severity, reason) in enumerate(
        (
            ("high", "uploaded and ran x"),
            ("high", "ran code of its own"),
            ("high", "persisted"),
            ("info", "knocked"),
        )
    ):
        await visit(repo, f"now{number}", A, BEGIN + HOUR, severity, reason=reason, things=[("hash", "h1")])
    rows = await repo.since(BEGIN, NOW)
    assert rows.totals == {"sources": 1, "sessions": 4, "got_in": 3, "ran_code": 2, "files": 1}
    assert rows.usual_of == 3
    assert rows.usual == {"sources": 2, "sessions": 4, "got_in": 4, "ran_code": 4, "files": 4}
    assert (await repo.since(0.0, NOW)).usual is None, "everything has nothing before it"
    assert (await repo.since(NOW - 3 * DAY, NOW)).usual_of == 0, "the history does not go back that far"


async def test_the_rhythm_is_by_hours_and_of_a_long_span_by_days(repo: BaseRepository) -> None:
    await visit(repo, "a", A, BEGIN + HOUR, "low")
    await visit(repo, "b", A, BEGIN + HOUR + timedelta(minutes=59), None)
    await visit(repo, "c", A, BEGIN + 5 * HOUR, "low")
    rows = await repo.since(BEGIN, NOW)
    assert (rows.bucket_s, list(rows.rhythm)) == (3600, [(BEGIN + HOUR, 2), (BEGIN + 5 * HOUR, 1)])
    rows = await repo.since(NOW - 9 * DAY, NOW)
    assert (rows.bucket_s, sum(count for _, count in rows.rhythm)) == (3600, 3), (
        "the history is shorter than the span"
    )
    await old(repo)
    rows = await repo.since(NOW - 11 * DAY, NOW)
    assert (rows.bucket_s, [count for _, count in rows.rhythm]) == (86_400, [1, 3])


async def test_the_rhythm_counts_each_session_once_at_the_edges_of_hours_and_spans(
    repo: BaseRepository,
) -> None:
    """What is counted by the index is what a plain count of the sessions comes to."""
    edge = timedelta(microseconds=1)
    begin, end = BEGIN + timedelta(minutes=20), BEGIN + 9 * HOUR + timedelta(minutes=20)
    moments = [begin - edge, begin, begin + edge, BEGIN + HOUR - edge, BEGIN + HOUR, BEGIN + 5 * HOUR, end - edge, end,
               end + HOUR]  # fmt: skip
    for number, moment in enumerate(moments):
        await visit(repo, f"j{number}", A, moment)
        await visit(repo, f"u{number}", A, moment, None)
    await visit(
        repo, "back", A, begin + HOUR, took=-2 * HOUR
    )  # its clock went back: it ended before the span
    await visit(repo, "whose", A, begin + HOUR)
    async with repo.db.write() as session:
        story = table("session_story")
        await session.execute(
            update(story).where(story.c.session_id == "whose").values(attacker_uuid=None)
        )  # fmt: skip
    inside = [moment for moment in moments if begin <= moment < end]
    hours = Counter(moment.replace(minute=0, second=0, microsecond=0) for moment in inside)
    rows = await repo.since(begin, end)
    assert list(rows.rhythm) == sorted((hour, 2 * count) for hour, count in hours.items())
    assert sum(count for _, count in rows.rhythm) == 12


async def test_sources_behind_the_first_to_be_told_keep_times_and_ties(repo: BaseRepository) -> None:
    """Details are read of those who are shown: whoever has no session left does not take another one's place."""
    for number, ip in enumerate(IPS):
        took = timedelta(minutes=number)
        await visit(repo, f"s{number}", attacker_id(ip), BEGIN + HOUR + number * HOUR, took=took)
        await visit(repo, f"r{number}", attacker_id(ip), BEGIN + HOUR / 2, None)
    async with repo.db.write() as session:
        own = table("session")
        await session.execute(delete(own).where(own.c.session_id.in_(["s7", "s6", "s5", "s4", "s3", "s2"])))
    rows = await repo.since(BEGIN, NOW, limit=1)
    (one,) = rows.sources
    assert (one["session_id"], one["sessions"]) == ("s1", 2)
    assert (one["first"], one["last"]) == (BEGIN + HOUR / 2, BEGIN + 2 * HOUR + timedelta(minutes=1))
    assert rows.totals["sources"] == 8
    everybody = await repo.since(BEGIN, NOW, limit=0)
    assert [row["session_id"] for row in everybody.sources] == ["s1", "s0"]


async def test_a_name_that_is_empty_and_none_at_all_are_one_log_in(repo: BaseRepository) -> None:
    await old(repo)
    for number, (name, typed) in enumerate(((None, "a"), ("", "b"), ("root", "c"))):
        row = {"credential_id": f"e{number}", "attacker_uuid": A, "username": name, "secret_hmac": "s1", "success": True,
               "secret": typed, "session_id": f"of{number}", "first_seen": BEGIN + HOUR, "last_seen": BEGIN + HOUR}  # fmt: skip
        await put(repo, "credential", row)
        await put(repo, "credential", {**row, "credential_id": f"f{number}", "success": False})
    found = (await repo.since(BEGIN, NOW)).credentials
    assert [(one["name"], one["times"], one["session_id"]) for one in found.some] == [
        ("", 2, "of0"),
        ("root", 1, "of2"),
    ]
    shown = (await repo.since(BEGIN, NOW, clear=True)).credentials.some
    assert [one["value"] for one in shown] == [login_label("", "s1", "b"), login_label("root", "s1", "c")]
    assert [one["value"] for one in found.some] == [
        login_label("", "s1", None),
        login_label("root", "s1", None),
    ]


async def test_what_is_new_is_what_nobody_had_before_the_span(repo: BaseRepository) -> None:
    await old(repo)
    await visit(
        repo, "before", A, BEGIN - HOUR, "high", things=[("hash", "known"), ("host", "known.example")]
    )
    up = [{"filename": "sshd", "sha256": "NEW", "destfile": "/tmp/up/sshd"}]
    await visit(
        repo,
        "now",
        B,
        BEGIN + HOUR,
        "high",
        uploads=up,
        things=[
            ("hash", "known"),
            ("hash", "new"),
            ("host", "new.example"),
            ("key", "k"),
            ("playbook", "pb"),
        ],
    )
    await visit(repo, "again", C, BEGIN + 2 * HOUR, "high", things=[("hash", "new")])
    await put(
        repo,
        "attacker",
        {"attacker_uuid": "fresh", "ip": "203.0.113.1", "first_seen": BEGIN + HOUR, "last_seen": NOW},
    )
    await put(repo, "identity", {"identity_uuid": "i-fresh", "attacker_uuid": "fresh", "merged_into": None})
    await visit(repo, "fresh", "fresh", BEGIN + HOUR, "low")
    login = {"attacker_uuid": B, "username": "root", "success": True, "last_seen": BEGIN + HOUR}
    await put(
        repo, "credential",
        {**login, "credential_id": "1", "secret_hmac": "ab" * 32, "first_seen": BEGIN + HOUR, "session_id": "now"},
        {**login, "credential_id": "2", "secret_hmac": "cd" * 32, "first_seen": BEGIN + HOUR, "session_id": "now"},
        {**login, "credential_id": "3", "secret_hmac": "cd" * 32, "first_seen": BEGIN - HOUR, "last_seen": BEGIN - HOUR, "success": False},
        {**login, "credential_id": "4", "secret_hmac": "ef" * 32, "first_seen": BEGIN + HOUR, "success": False},
    )  # fmt: skip
    await put(
        repo,
        "ttp_tag",
        {
            "uuid": "t1",
            "attacker_uuid": B,
            "seen_at": BEGIN + HOUR,
            "created_at": NOW,
            "technique_id": "T1548",
        },
    )
    await put(
        repo,
        "ttp_tag",
        {
            "uuid": "t2",
            "attacker_uuid": B,
            "seen_at": BEGIN - HOUR,
            "created_at": NOW,
            "technique_id": "T1105",
        },
    )
    rows = await repo.since(BEGIN, NOW)
    assert [(one["value"], one["name"], one["session_id"], one["times"]) for one in rows.files.some] == [
        ("new", "sshd", "now", 2)
    ]
    assert [(some.of, [one["value"] for one in some.some]) for some in (rows.hosts, rows.keys, rows.credentials)] == [
        (1, ["new.example"]), (1, ["k"]), (1, ["root/#abab"])
    ]  # fmt: skip
    assert [one["technique"] for one in rows.techniques] == ["T1548"]
    assert rows.new_from == BEGIN
    assert {row["session_id"]: row["new"] for row in rows.sources} == {
        "now": False,
        "again": False,
        "fresh": True,
    }
    assert rows.new_sources == 1
    page = await repo.session_page("fresh")
    assert page is not None
    assert page.new


async def test_a_log_in_without_a_name_is_known_by_its_secret(repo: BaseRepository) -> None:
    await old(repo)
    for number, (at, secret) in enumerate(((BEGIN - HOUR, "s1"), (BEGIN + HOUR, "s1"), (BEGIN + HOUR, "s2"))):
        row = {
            "credential_id": f"n{number}",
            "attacker_uuid": A,
            "username": None,
            "secret_hmac": secret,
            "success": True,
        }
        await put(repo, "credential", {**row, "session_id": f"of{number}", "first_seen": at, "last_seen": at})  # fmt: skip
    found = (await repo.since(BEGIN, NOW)).credentials
    assert [one["session_id"] for one in found.some] == ["of2"]


@pytest.mark.parametrize(
    ("age", "new"), [(timedelta(hours=23, minutes=59), 0), (DAY + HOUR, 1), (DAY + 3 * HOUR, 1)]
)
async def test_a_first_import_makes_nothing_new_for_a_day_of_its_own_time(
    repo: BaseRepository, age: timedelta, new: int
) -> None:
    """The last session stands so long behind the beginning of the history."""
    await visit(repo, "begin", A, NOW - HOUR - age, "low", things=[("hash", "h0")])
    await visit(repo, "last", B, NOW - HOUR, "low", things=[("hash", "h1")])
    assert (await repo.since(0.0, NOW)).files.of == new


async def test_at_the_limit_some_sources_are_told_and_all_are_counted(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(since_module, "LOOKED_AT", 2)
    for number, ip in enumerate(IPS):
        await visit(repo, f"s{number}", attacker_id(ip), BEGIN + number * HOUR, "low")
    assert len(await first(repo, limit=1)) == 1
    assert len(await first(repo, limit=2)) == 2
    assert len(await first(repo, limit=3)) == 3, "who asks for more than are looked at gets them"
    assert len(await first(repo, limit=0)) == len(IPS)
    assert (await repo.since(BEGIN, NOW, 1)).totals["sources"] == len(IPS)


async def test_an_empty_store_tells_nothing(repo: BaseRepository) -> None:
    rows = await repo.since(0.0, NOW)
    assert (rows.history, rows.new_from, rows.usual, list(rows.sources), list(rows.rhythm)) == (
        None,
        None,
        None,
        [],
        [],
    )
    assert set(rows.totals.values()) == {0}


async def test_the_page_of_a_session_tells_what_is_like_it(repo: BaseRepository) -> None:
    await old(repo)
    await visit(
        repo,
        "one",
        A,
        BEGIN,
        "high",
        playbook="pb",
        things=[("hash", "h1"), ("host", "b.example"), ("host", "a.example")],
    )
    await visit(repo, "two", A, BEGIN + HOUR, "high", playbook="pb", things=[("hash", "h1"), ("hash", "h2")])
    await visit(repo, "other", B, BEGIN + 2 * HOUR, "high", playbook="pb")
    await put(
        repo,
        "link_term",
        {"term_id": "t", "family": "client", "value": "v"},
        {"term_id": "n", "family": "network", "value": "w"},
    )
    for uuid in (A, B, C):
        await put(
            repo,
            "link_value",
            {"attacker_uuid": uuid, "term_id": "t"},
            {"attacker_uuid": uuid, "term_id": "n"},
        )
    for number in range(3):
        await put(repo, "credential", {"credential_id": f"c{number}", "attacker_uuid": A, "session_id": "two", "username": "root",
                                       "secret_hmac": f"{number}" * 64, "success": number == 2, "first_seen": BEGIN - number * HOUR})  # fmt: skip
    page = await repo.session_page("two")
    assert page is not None
    assert (page.place, page.of, page.new) == (2, 2, False)
    assert page.alike == {"playbook_before": 1, "playbook_sources": 1, "files": {"h1": 1, "h2": 0},
                          "shared": [{"family": "client", "value": "v", "addresses": 2}]}  # fmt: skip
    assert [(one["login"], one["success"]) for one in page.attempts] == [
        ("root/#2222", True),
        ("root/#1111", False),
        ("root/#0000", False),
    ]
    assert (await repo.session_page("one")).hosts == ["a.example", "b.example"]  # type: ignore[union-attr]


async def test_evidence_comes_in_pages_and_only_of_what_is_asked_for(repo: BaseRepository) -> None:
    for number in range(5):
        await visit(
            repo,
            f"s{number}",
            A if number % 2 else B,
            BEGIN + number * HOUR,
            "low",
            things=[("host", f"h{number}")],
        )
        await put(
            repo,
            "command",
            {
                "command_id": f"c{number}",
                "session_id": f"s{number}",
                "command_text": f"wget {number}",
                "ts": BEGIN,
            },
        )
    await visit(repo, "hidden", A, BEGIN, "low", ignored_by="x")

    async def asked(*args: Any, **how: Any) -> list[list[str]]:
        return [[one["session_id"] for one in page] async for page in repo.evidence(*args, **how)]

    assert await asked(at_once=2) == [["s0", "s1"], ["s2", "s3"], ["s4"]]
    assert await asked(at_once=5) == [["s0", "s1", "s2", "s3", "s4"], []]
    assert await asked(attacker=A) == [["s1", "s3"]]
    assert await asked(attacker=IPS[0], ignored=True) == [["hidden", "s1", "s3"]]
    assert await asked(sessions=["s4", "nobody"]) == [["s4"]]
    assert await asked(BEGIN + 2 * HOUR, until=BEGIN + 3 * HOUR) == [["s2"]]
    (page,) = [page async for page in repo.evidence(sessions=["s1"])]
    assert (page[0]["commands"], page[0]["hosts"], page[0]["logins"]) == (["wget 1"], ["h1"], [])


WIDE_WHEN = [
    (30, timedelta(days=5, seconds=1), True),
    (30, timedelta(days=5), False),
    (30, timedelta(days=40), True),
    (1, timedelta(hours=3), False),
]


@pytest.mark.parametrize(("history", "span", "is_wide"), WIDE_WHEN)
async def test_a_sixth_of_the_history_is_looked_up_and_more_is_read_through(
    history: int, span: timedelta, is_wide: bool
) -> None:
    asked = Span(NOW - span, NOW + DAY)
    assert WIDE == 6
    assert is_wide_span(asked, NOW - history * DAY, NOW) is is_wide
    assert is_wide_span(asked, None, None) is False


# --- what was there before


async def shares(
    repo: BaseRepository, family: str, value: str, *ips: str, at: datetime = BEGIN - HOUR
) -> None:
    """Addresses that have a value since a moment."""
    term = f"{family}|{value}"
    if term not in await left(repo, "link_term", "term_id"):
        await put(repo, "link_term", {"term_id": term, "family": family, "value": value})
    for ip in ips:
        row = {"attacker_uuid": attacker_id(ip), "term_id": term, "first_at": at.timestamp()}
        await put(repo, "link_value", row)


async def ties(repo: BaseRepository, **how: Any) -> list[tuple[str, str, int]]:
    rows = await repo.since(how.pop("begin", BEGIN), NOW, **how)
    return [(tie["attacker_uuid"], tie["value"], tie["sources"]) for tie in rows.ties]


async def test_what_the_first_to_be_read_share_with_sources_of_before_most_telling_first(
    repo: BaseRepository,
) -> None:
    await old(repo)
    await visit(repo, "a", A, BEGIN + HOUR, "high")
    await visit(repo, "b", B, BEGIN + HOUR, "info")
    await shares(repo, "client", "go", *IPS[:5])
    await shares(repo, "host", "evil.example", IPS[0], IPS[2], IPS[3])
    await shares(repo, "sha256", "ab", IPS[0], IPS[2])
    await shares(repo, "network", "64500", *IPS)
    await shares(repo, "key", "alone", IPS[0])
    assert await ties(repo) == [(A, "ab", 1), (A, "evil.example", 2), (A, "go", 4)], (
        "of who only knocked nothing"
    )
    assert await ties(repo, begin=0.0) == [], "before everything there is nothing"


async def test_who_had_it_only_since_then_or_is_ignored_is_nobody_of_before(repo: BaseRepository) -> None:
    await old(repo)
    await visit(repo, "a", A, BEGIN + HOUR, "high")
    await shares(repo, "sha256", "ab", IPS[0])
    await shares(repo, "sha256", "ab", IPS[1], at=BEGIN)
    assert await ties(repo) == []
    hidden = {"attacker_uuid": attacker_id("192.0.2.99"), "ip": "192.0.2.99", "ignored_by": "x"}
    await put(repo, "attacker", {**hidden, "first_seen": BEGIN - HOUR, "last_seen": NOW})
    await shares(repo, "sha256", "ab", "192.0.2.99")
    assert await ties(repo) == []
    await shares(repo, "sha256", "ab", IPS[2], at=BEGIN - timedelta(milliseconds=1))
    assert await ties(repo) == [(A, "ab", 1)]


@pytest.mark.parametrize("most", [2, 3])
async def test_known_sources_are_counted_up_to_a_bound(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(ties_module, "COUNTED", most)
    await old(repo)
    await visit(repo, "a", A, BEGIN + HOUR, "high")
    await shares(repo, "client", "go", *IPS[:4])
    assert await ties(repo) == [(A, "go", min(most, 3))]


@pytest.mark.parametrize("most", [1, 2])
async def test_so_many_sources_and_ties_are_asked_for(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    await old(repo)
    await visit(repo, "a", A, BEGIN + HOUR, "critical")
    await visit(repo, "b", B, BEGIN + HOUR, "high")
    await shares(repo, "client", "go", *IPS[:4])
    with monkeypatch.context() as patch:
        patch.setattr(ties_module, "TIED", most)
        assert [tie[0] for tie in await ties(repo)] == [A, B][:most]
    monkeypatch.setattr(ties_module, "MAX_TIES", most)
    assert len(await ties(repo)) == most
