"""Lists, search, summary, coverage, ignored sources and journal: limits, borders in time, marks, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from decnet.db.repository import BaseRepository
from decnet.db.repository import ignored as repo_ignore
from decnet.db.repository import journal as repo_journal
from decnet.db.repository.ignored import parse_source
from decnet.ids import attacker_id, identity_id
from tests.dbkit import KINDS, open_repo
from tests.rowkit import TABLES, emptied, put, rows_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
T = NOW.timestamp()
IPS = ("192.0.2.1", "192.0.2.2", "203.0.113.3")
A, B, C = map(attacker_id, IPS)
IA, IB, IC = map(identity_id, (A, B, C))


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=KINDS)
async def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path_factory.mktemp("lists")) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def repo(database: BaseRepository, monkeypatch: pytest.MonkeyPatch) -> BaseRepository:
    """Three attackers, two of one identity; one session each, one second apart."""
    monkeypatch.setattr(repo_ignore, "utcnow", lambda: NOW)
    monkeypatch.setattr(repo_journal, "utcnow", lambda: NOW)
    await emptied(database)
    for n, (uuid, ip) in enumerate(zip((A, B, C), IPS, strict=True)):
        seen = {"first_seen": T + n, "last_seen": T + n}
        await put(database, "attacker", {"attacker_uuid": uuid, "ip": ip, **seen})
        row = {
            "identity_uuid": identity_id(uuid),
            "attacker_uuid": uuid,
            "merged_into": IA if uuid == B else None,
        }
        await put(database, "identity", row)
        session = {
            "session_id": f"s{n}",
            "attacker_uuid": uuid,
            "attacker_ip": ip,
            "decky_id": f"d{n % 2}",
            "service": "ssh",
        }
        await put(
            database, "session", {**session, "started_at": T + n - 9, "ended_at": T + n, "command_count": n}
        )
    return database


def tag(key: str, uuid: str | None = A, ts: float = T, **more: Any) -> dict[str, Any]:
    base = {
        "uuid": key,
        "attacker_uuid": uuid,
        "seen_at": ts,
        "created_at": ts + 1e6,
        "session_id": {A: "s0", B: "s1", C: "s2"}.get(uuid or ""),
    }
    return {**base, "technique_id": "T1059", "tactic": "TA0002", **more}


def names(rows: list[dict[str, Any]], key: str) -> list[Any]:
    return [row[key] for row in rows]


async def test_tags_are_filtered_at_their_borders(repo: BaseRepository) -> None:
    await put(
        repo, "ttp_tag",
        tag("a"), tag("b", B, T + 1, sub_technique_id="T1059.004", rule_id="R2"), tag("c", C, T + 2, technique_id="T1105"),
        tag("gone", superseded_by="a"), tag("better", replaced_by="a"), tag("i", None, T + 3, identity_uuid="outer"), tag("x", "unknown", T - 1),
        {**tag("n", C), "seen_at": None}, {**tag("m", B), "seen_at": None},
    )  # fmt: skip

    async def found(**options: Any) -> list[Any]:
        return names(await repo.list_tags(**options), "uuid")

    everything = ["i", "c", "b", "a", "x", "m", "n"]
    assert await found() == await found(limit=0) == await found(limit=7) == everything, "without a time: last"
    assert await found(limit=1) == ["i"]
    assert await found(limit=5) == everything[:5]
    assert await found(limit=6) == everything[:6]
    assert await found(since=T + 1) == await found(since=NOW + timedelta(seconds=1)) == everything[:3]
    assert await found(since=T + 3.001) == []
    assert await found(technique="T1059") == ["i", "b", "a", "x", "m", "n"]
    assert await found(technique="T1059.004") == await found(rule="R2") == ["b"]
    assert await found(rule="R2", technique="T1105") == await found(rule="R") == []
    assert await found(session="s1") == await found(attacker=B) == await found(attacker=IPS[1]) == ["b", "m"]
    assert await found(attacker="::ffff:192.0.2.2") == ["b", "m"]
    rows = {row["uuid"]: row for row in await repo.list_tags()}
    assert [rows[k]["identity_uuid"] for k in "abcix"] == [IA, IA, IC, "outer", None]
    assert [rows[k]["attacker_ip"] for k in "abcix"] == [*IPS, None, None]
    await put(repo, "ttp_tag", *(tag(f"many{n:03}", C, T - 9) for n in range(100)))
    assert len(await found()) == 100, "a limit of its own"
    assert len(await found(limit=0)) == 107


async def test_sessions_are_those_alive_at_a_moment_or_later(repo: BaseRepository) -> None:
    await put(
        repo,
        "session",
        {"session_id": "open", "attacker_uuid": A, "started_at": T + 1},
        {"session_id": "mark", "tagged_at": T},
    )
    await put(
        repo,
        "ttp_tag",
        tag("a"),
        tag("old", superseded_by="a"),
        tag("lost", replaced_by="a"),
        tag("b", B, technique_id="T1105"),
    )

    async def found(**options: Any) -> list[Any]:
        return names(await repo.list_sessions(**options), "session_id")

    everything = ["open", "s2", "s1", "s0"]
    assert await found() == await found(limit=0) == everything
    assert await found(limit=2) == everything[:2]
    assert await found(since=T) == everything
    assert await found(since=T + 1) == ["open", "s2", "s1"]
    assert await found(since=T + 1.001) == ["s2"]
    assert await found(technique="T1059") == ["s0"]
    assert await found(session="s1") == await found(attacker=B) == ["s1"]
    assert await found(attacker=IPS[0]) == ["open", "s0"]
    rows = {row["session_id"]: row for row in await repo.list_sessions()}
    assert [rows[k]["tag_count"] for k in everything] == [0, 0, 1, 1]
    assert [rows[k]["command_count"] for k in everything] == [0, 2, 1, 0]
    assert [rows[k]["identity_uuid"] for k in everything] == [IA, IC, IA, IA]


async def test_attackers_and_identities_by_their_last_sight(repo: BaseRepository) -> None:
    await put(repo, "attacker", {"attacker_uuid": "never seen"})
    await put(
        repo,
        "session",
        {"session_id": "s3", "attacker_uuid": A, "decky_id": "d0"},
        {"session_id": "s4", "attacker_uuid": A, "decky_id": "d1"},
    )
    await put(
        repo,
        "ttp_tag",
        tag("a"),
        tag("b", technique_id="T1105"),
        tag("c", technique_id="T9999", superseded_by="a"),
        tag("lost", technique_id="T9998", replaced_by="a"),
    )

    async def found(**options: Any) -> list[Any]:
        return names(await repo.list_attackers(**options), "attacker_uuid")

    assert await found() == await found(limit=0) == [C, B, A, "never seen"]
    assert await found(limit=3) == [C, B, A]
    assert await found(since=T + 1) == [C, B]
    assert await found(since=T + 2.001) == []
    assert await found(technique="T1105") == await found(attacker=IPS[0]) == [A]
    assert await found(technique="T9999") == []
    rows = {row["attacker_uuid"]: row for row in await repo.list_attackers()}
    assert (rows[A]["session_count"], rows[A]["decky_count"], rows[A]["techniques"]) == (
        3,
        2,
        ["T1059", "T1105"],
    )
    assert (rows["never seen"]["session_count"], rows["never seen"]["identity_uuid"]) == (0, None)
    first, *two = names(await repo.list_identities(), "identity_uuid")
    assert (first, two) == (IC, sorted([IA, IB])), "both were last seen with the address of B"
    assert names(await repo.list_identities(since=T + 1), "identity_uuid") == [IC, *two]
    assert names(await repo.list_identities(since=T + 2), "identity_uuid") == [IC]
    assert names(await repo.list_identities(limit=1), "identity_uuid") == [IC]
    rows = {row["identity_uuid"]: row for row in await repo.list_identities(limit=0)}
    assert (rows[IA]["attacker_uuids"], rows[IA]["merged_into"]) == ([A, B], None)
    assert (rows[IB]["attacker_uuids"], rows[IB]["merged_into"]) == ([B], IA)


async def test_what_is_marked_is_left_out_of_every_list_unless_asked_for(repo: BaseRepository) -> None:
    await put(
        repo,
        "ttp_tag",
        tag("a"),
        tag("b", B),
        tag("c", C),
        tag("loose", A, session_id=None),
        tag("ahead", A, session_id="later"),
    )
    await put(repo, "command", {"command_id": "k", "session_id": "s0", "command_text": "uname", "ts": T})
    everything = {
        "tags": 5,
        "sessions": 3,
        "attackers": 3,
        "identities": 3,
        "since": 3,
        "counts": 5,
        "behind": 5,
        "find": 1,
        "deckies": 3,
    }

    async def shown(ignored: bool = False) -> dict[str, int]:
        lists = {
            "tags": await repo.list_tags(ignored=ignored), "sessions": await repo.list_sessions(ignored=ignored),
            "attackers": await repo.list_attackers(ignored=ignored), "identities": await repo.list_identities(ignored=ignored),
            "find": await repo.find("uname", ignored=ignored),
        }  # fmt: skip
        counts = {name: len(rows) for name, rows in lists.items()}
        counts["since"] = (await repo.since(T - 9, T + 99)).totals["sources"]
        counts["counts"] = sum(row["tags"] for row in await repo.technique_counts())
        counts["behind"] = len(await repo.tags_behind("T1059"))
        return counts | {"deckies": sum((await repo.sessions_by_decky()).values())}

    assert await shown() == everything
    entry = await repo.ignore_add(IPS[0])
    assert entry["marked"] == 1
    hidden = {
        "tags": 2,
        "sessions": 2,
        "attackers": 2,
        "identities": 3,
        "since": 2,
        "counts": 2,
        "behind": 2,
        "find": 0,
        "deckies": 2,
    }
    assert await shown() == hidden
    asked = await shown(ignored=True)
    assert {name: asked[name] for name in ("tags", "sessions", "attackers", "identities", "find")} == {
        "tags": 5, "sessions": 3, "attackers": 3, "identities": 3, "find": 1,
    }  # fmt: skip
    (row,) = await repo.list_attackers(attacker=IPS[0], ignored=True)
    assert row["session_count"] == 1
    async with repo.db.write() as db:
        table = TABLES["session"]
        await db.execute(table.update().where(table.c.session_id == "s0").values(ignored_by=None))
    assert names(await repo.list_tags(), "uuid") == ["a", "b", "c"], (
        "where there is a session, its mark decides"
    )
    assert IA in names(await repo.list_identities(), "identity_uuid"), "one of its addresses is not ignored"
    await repo.ignore_add(IPS[1])
    assert names(await repo.list_identities(), "identity_uuid") == [IC]


async def test_sources_are_told_apart() -> None:
    assert parse_source(" 192.0.2.7/24 ") == ("cidr", "192.0.2.0/24")
    assert parse_source("::ffff:192.0.2.7") == ("cidr", "192.0.2.7/32")
    assert parse_source("0.0.0.0/0") == ("cidr", "0.0.0.0/0")
    for user in ("root", "1.2.3", "fe80", "admin/x", "a\x00b", "10"):
        assert parse_source(user)[0] == "user", user
    for wrong in ("192.0.2.0/33", "256.0.0.1", "192.0.2.0/", "1::2::3", "2001:db8::/129"):
        with pytest.raises(ValueError, match="no address and no network"):
            parse_source(wrong)
    for empty in ("", "  ", "\t"):
        with pytest.raises(ValueError, match="login name"):
            parse_source(empty)


async def test_entries_mark_what_is_stored_and_take_their_own_marks_away(repo: BaseRepository) -> None:
    await put(
        repo, "session", {"session_id": "u1", "attacker_uuid": C, "auth": {"usernames": ["nagios", "x"]}}
    )
    await put(
        repo,
        "session",
        {"session_id": "u2", "attacker_uuid": C, "auth": {"usernames": ["nagiosx"]}},
        {"session_id": "u3", "attacker_uuid": C},
    )
    await put(
        repo,
        "credential",
        {"credential_id": "c", "session_id": "u3", "username": "nagios"},
        {"credential_id": "d", "username": "nagios"},
    )
    net = await repo.ignore_add("192.0.2.0/30", reason="first", set_by="ann")
    assert net["marked"] == 2
    again = await repo.ignore_add(
        "192.0.2.2/30", reason="second", set_by="bob", expires_at=NOW + timedelta(hours=1)
    )
    assert (again["ignore_id"], again["marked"]) == (net["ignore_id"], 0), (
        "the same source: nothing new to mark"
    )
    user = await repo.ignore_add("nagios")
    assert user["marked"] == 2
    single = await repo.ignore_add("192.0.2.1")
    assert single["marked"] == 0, "marked already"
    (one, two, three) = sorted(await repo.ignored_sources(), key=lambda row: row["value"])
    assert [row["value"] for row in (one, two, three)] == ["192.0.2.0/30", "192.0.2.1/32", "nagios"]
    assert (one["reason"], one["set_by"], one["expires_at"]) == ("second", "bob", NOW + timedelta(hours=1))

    async def marks() -> dict[str, str]:
        rows = await rows_of(repo, "session", "session_id")
        return {key: row["ignored_by"] for key, row in rows.items() if row["ignored_by"]}

    assert await marks() == {
        "s0": net["ignore_id"],
        "s1": net["ignore_id"],
        "u1": user["ignore_id"],
        "u3": user["ignore_id"],
    }
    assert await repo.ignore_remove(net["ignore_id"])
    assert await marks() == {"s0": single["ignore_id"], "u1": user["ignore_id"], "u3": user["ignore_id"]}
    assert not await repo.ignore_remove(net["ignore_id"])
    assert await repo.ignored_attackers([A, B, C, "unknown"]) == {A}
    rules = await repo.ignore_set()
    assert rules.by_address("192.0.2.1") == single["ignore_id"]
    assert rules.by_address("192.0.2.2") is None


async def test_an_entry_that_has_expired_marks_nothing_and_is_not_revived(repo: BaseRepository) -> None:
    wide = await repo.ignore_add("192.0.0.0/16")
    for delta, marks in ((timedelta(0), {}), (timedelta(seconds=1), {A})):
        entry = await repo.ignore_add(IPS[0], expires_at=NOW + delta)
        await repo.ignore_remove(wide["ignore_id"])
        assert await repo.ignored_attackers([A, B]) == set(marks), delta
        await repo.ignore_remove(entry["ignore_id"])
        wide = await repo.ignore_add("192.0.0.0/16")


async def test_an_expired_login_name_marks_nothing_and_keeps_what_it_marked(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def marked() -> set[str]:
        rows = await rows_of(repo, "session", "session_id")
        return {key for key, row in rows.items() if row["ignored_by"]}

    await put(repo, "session", {"session_id": "u", "attacker_uuid": C, "auth": {"usernames": ["nagios"]}})
    assert (await repo.ignore_add("nagios", expires_at=NOW))["marked"] == 0
    other = await repo.ignore_add(IPS[0])
    await repo.ignore_remove(other["ignore_id"])
    assert await marked() == set(), "taking another entry away revives none"
    assert (await repo.ignore_add("nagios", expires_at=NOW + timedelta(seconds=1)))["marked"] == 1
    other = await repo.ignore_add(IPS[0])
    monkeypatch.setattr(repo_ignore, "utcnow", lambda: NOW + timedelta(hours=1))
    await put(repo, "session", {"session_id": "later", "attacker_uuid": C, "auth": {"usernames": ["nagios"]}})
    assert await marked() == {"u", "s0"}
    await repo.ignore_remove(other["ignore_id"])
    assert await marked() == {"u"}, "what happened while it was in force stays marked"


async def test_marking_goes_through_every_page(repo: BaseRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repo_ignore, "_PAGE", 3)
    for count in (3, 4, 7):
        await emptied(repo)
        await put(repo, "attacker", *({"attacker_uuid": f"a{n}", "ip": f"192.0.2.{n}"} for n in range(count)))
        await put(repo, "session", *({"session_id": f"s{n}", "attacker_uuid": f"a{n}"} for n in range(count)))
        assert (await repo.ignore_add("192.0.2.0/24"))["marked"] == count


async def test_find_keeps_to_its_limit_and_moment(repo: BaseRepository) -> None:
    await put(
        repo,
        "command",
        *(
            {"command_id": f"k{n}", "session_id": "s0", "command_text": f"wget {n}", "ts": T + n}
            for n in range(4)
        ),
    )
    await put(
        repo,
        "credential",
        {
            "credential_id": "c",
            "attacker_uuid": B,
            "username": "wget",
            "secret_hmac": "ab",
            "last_seen": T + 9,
        },
    )

    async def found(text: str, **options: Any) -> list[Any]:
        return names(await repo.find(text, **options), "value")

    newest = ["wget", "wget 3", "wget 2", "wget 1", "wget 0"]
    assert await found("WGET") == await found("wget", limit=0) == newest
    assert await found("wget", limit=2) == newest[:2]
    assert await found("wget", since=T + 2) == newest[:3]
    assert await found("") == await found("\x00") == []
    assert await repo.find("AB") == [
        {
            "ts": NOW + timedelta(seconds=9),
            "kind": "hash",
            "value": "ab",
            "attacker_ip": IPS[1],
            "attacker_uuid": B,
            "session_id": None,
        }
    ]
    assert await found("b") == [], "part of a hash is no hash"
    await repo.ignore_add(IPS[1])
    assert await found("wget") == newest[1:]


async def test_what_is_new_since_a_moment(repo: BaseRepository) -> None:
    await put(
        repo, "ttp_tag",
        tag("a", ts=T - 1), tag("b", B, T + 5), tag("c", C, T, technique_id="T1105"), tag("d", C, T + 1, technique_id="T1105"),
        tag("e", C, T - 5, technique_id="T1105", superseded_by="c"), tag("lost", C, T - 5, technique_id="T1105", replaced_by="c"),
        tag("f", A, T, sub_technique_id="T1059.004"),
    )  # fmt: skip
    rows = [(r["technique"], r["tags"], r["attackers"]) for r in await repo.new_techniques(T)]
    assert rows == [("T1105", 2, 1), ("T1059.004", 1, 1)], "one that was seen before is not new"
    assert names(await repo.new_techniques(T + 0.001), "technique") == []
    await put(repo, "session", {"session_id": "hidden", "attacker_uuid": A, "ignored_by": "x"})
    await put(
        repo, "ttp_tag",
        *(tag(f"sub{n}", B, T + n, technique_id="T1070", sub_technique_id=f"T1070.00{n}") for n in range(4)),
        tag("old", A, T - 9, technique_id="T1070", sub_technique_id="T1070.002"),
        tag("whole", A, T - 9, technique_id="T1070"),
        {**tag("marked", A, T - 9, technique_id="T1070", sub_technique_id="T1070.003"), "session_id": "hidden"},
        {**tag("timeless", A, T, technique_id="T1070", sub_technique_id="T1070.001"), "seen_at": None},
        tag("other", B, T + 7, technique_id="T1098"),
    )  # fmt: skip
    new = {r["technique"]: (r["first_seen"], r["tags"]) for r in await repo.new_techniques(T + 1)}
    assert new == {
        "T1070.001": (NOW + timedelta(seconds=1), 2),
        "T1070.003": (NOW + timedelta(seconds=3), 1),
        "T1098": (NOW + timedelta(seconds=7), 1),
    }, "what is marked was not seen"
    assert names(await repo.new_techniques(T + 1, T + 3), "technique") == ["T1070.001"]


async def test_coverage_counts_by_the_time_of_the_deed(repo: BaseRepository) -> None:
    await put(
        repo, "ttp_tag",
        tag("a", A, T - 9), tag("b", B, T - 8), tag("c", C, T - 7), tag("d", C, T + 1, session_id=None), tag("e", C, superseded_by="a"),
        tag("lost", C, replaced_by="s2"),
        tag("f", None, T + 2, identity_uuid="outer", rule_id="R9"),
    )  # fmt: skip
    (row,) = await repo.technique_counts()
    assert (row["tags"], row["actors"], row["last"]) == (5, 3, NOW + timedelta(seconds=2))
    (row,) = await repo.technique_counts(since=T - 7)
    assert row["tags"] == 3, "from the third on"
    (row,) = await repo.technique_counts(names={IA})
    assert (row["tags"], row["actors"]) == (2, 1)
    for who, count in ((IPS[1], 1), (B, 1), ("outer", 1), (IC, 2), ("nobody", 0)):
        assert len(await repo.tags_behind("T1059", names={who})) == count, who
    assert names(await repo.tags_behind("T1059", limit=2), "uuid") == ["f", "d"]
    assert await repo.tags_behind("T1059", names=set()) == []
    assert await repo.tags_behind("T1059", tactic="TA0003") == []
    assert names(await repo.tags_of_rule("R9"), "uuid") == ["f"]
    assert names(await repo.tags_of_rule("R1", limit=1), "uuid") == ["d"]
    assert await repo.sessions_by_decky() == {"d0": 2, "d1": 1}


async def test_the_journal_is_written_before_and_completed_after(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    base: dict[str, Any] = {"operator": "ann", "kind": "rule", "target": "R1", "what": "disable"}
    first = await repo.journal_add(**base, before={"state": "enabled"}, after=None, reason="noise")
    row = await repo.journal_get(first)
    assert row is not None
    assert (row["outcome"], row["detail"], row["ts"], row["undoes"]) == ("sent", None, NOW, None)
    assert (row["operator"], row["before"], row["after"], row["reason"]) == (
        "ann",
        {"state": "enabled"},
        None,
        "noise",
    )
    monkeypatch.setattr(repo_journal, "utcnow", lambda: NOW + timedelta(seconds=1))
    second = await repo.journal_add(**base, before=None, after={"x": 1}, undoes=first)
    await repo.journal_end(first, "done", "seen")
    await repo.journal_end(999, "done")
    rows = await repo.journal()
    assert [(r["id"], r["outcome"], r["detail"], r["undoes"]) for r in rows] == [
        (second, "sent", None, first),
        (first, "done", "seen", None),
    ]
    assert names(await repo.journal(limit=1), "id") == [second]
    assert names(await repo.journal(limit=0), "id") == [second, first]
    assert names(await repo.journal(since=T), "id") == [second, first]
    assert names(await repo.journal(since=T + 1), "id") == [second]
    assert await repo.journal(since=T + 2) == []
    assert await repo.journal_get(999) is None
    async with repo.db.write() as db:
        table = TABLES["journal"]
        await db.execute(table.delete().where(table.c.id == second))
    assert await repo.journal_add(**base, before=None, after=None) > second, (
        "a number is never given out twice"
    )
