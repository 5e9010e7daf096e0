"""The recorder's rows: merged in any order to the same end, at the limits, the same on both databases."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import select

from decnet.db.repository import BaseRepository
from decnet.db.repository.base import greatest, least, replace
from decnet.db.repository.recorder import sessions as repo_sessions
from decnet.ids import attacker_id, identity_id
from tests.dbkit import KINDS, open_repo
from tests.rowkit import TABLES, emptied, put, rows_of

_BEHAVE = TABLES["behave_session"]

pytestmark = pytest.mark.asyncio(loop_scope="module")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
T = NOW.timestamp()
IPS = ("192.0.2.1", "192.0.2.2", "192.0.2.3")
A, B, C = map(attacker_id, IPS)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=KINDS)
async def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path_factory.mktemp("evidence")) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def repo(database: BaseRepository) -> BaseRepository:
    return await emptied(database)


async def test_the_greater_the_lesser_and_the_new_value_win_and_null_loses(repo: BaseRepository) -> None:
    """Whatever the order, and whichever of both is NULL."""
    merge = {"ip": greatest, "first_seen": least, "last_seen": greatest, "ignored_by": replace}
    early, late = NOW, NOW + timedelta(seconds=1)
    table = TABLES["attacker"]
    cases = [
        ((None, None, None, "x"), ("1", early, early, None), ("1", early, early, None)),
        (("1", early, early, None), (None, None, None, "x"), ("1", early, early, "x")),
        (("1", early, early, "x"), ("2", late, late, "y"), ("2", early, late, "y")),
        (("2", late, late, "y"), ("1", early, early, "x"), ("2", early, late, "x")),
        ((None, None, None, None), (None, None, None, None), (None, None, None, None)),
    ]
    names = ("ip", "first_seen", "last_seen", "ignored_by")
    for n, (old, new, wanted) in enumerate(cases):
        for values in (old, new):
            row = {"attacker_uuid": str(n), **dict(zip(names, values, strict=True))}
            async with repo.db.write() as session:
                await repo._upsert(session, table, [row], merge)
        stored = (await rows_of(repo, "attacker", "attacker_uuid"))[str(n)]
        assert tuple(stored[name] for name in names) == wanted, n


async def test_an_upsert_without_merge_keeps_and_with_a_condition_asks(repo: BaseRepository) -> None:
    table = _BEHAVE
    base = {
        "session_id": "s",
        "attacker_uuid": "a",
        "version": 1,
        "started_at": 1.0,
        "ended_at": 1.0,
        "hours": None,
    }
    async with repo.db.write() as session:
        await repo._upsert(session, table, [{**base, "rank": "2"}])
        await repo._upsert(session, table, [{**base, "rank": "1"}])
        await repo._upsert(session, table, [])
        kept = select(table.c.rank)
        assert (await session.execute(kept)).scalar_one() == "2"
        for rank, wanted in (("1", "2"), ("2", "2"), ("3", "3")):
            newer = lambda new: new.rank > _BEHAVE.c.rank  # noqa: E731
            await repo._upsert(session, table, [{**base, "rank": rank}], {"rank": replace}, newer)
            assert (await session.execute(kept)).scalar_one() == wanted
        other = lambda new: new.rank > table.c.rank and rank  # noqa: E731
        with pytest.raises(TypeError, match="another statement each time"):
            await repo._upsert(session, table, [{**base, "rank": "4"}], {"rank": replace}, other)


async def test_chunks_lose_nothing_at_their_border(repo: BaseRepository) -> None:
    for count in (500, 501):
        await emptied(repo)
        names = [f"{count}-{n:04d}" for n in range(count)]
        await repo.upsert_attackers([(name, None, T) for name in names])
        assert len(await repo.form_identities(names)) == count
        assert await repo.form_identities(names) == [], "told once, on both sides of the border"
        found = await repo.identities_of_attackers(names)
        assert found == {name: identity_id(name) for name in names}
        await repo.ignore_add("192.0.2.0/24")
        await repo.upsert_attackers([(name, "192.0.2.7", T) for name in names], dict.fromkeys(names, "e"))
        assert len(await repo.ignored_attackers(names)) == count


async def test_hostile_values_are_the_same_on_both_databases(repo: BaseRepository) -> None:
    hostile, text = "a\x00b\ud800c", "a\ufffdb\ufffdc"
    end = {
        "ended_at": T,
        "command_count": 2**63,
        "duration_s": float("nan"),
        "client": {hostile: [2**63, 2**63 - 1, hostile]},
    }
    await repo.upsert_session({"session_id": hostile, "attacker_uuid": hostile, "decky_id": hostile, **end})
    await repo.insert_commands(hostile, [{"id": hostile, "command_text": hostile, "ts": T}])
    row = (await rows_of(repo, "session", "session_id"))[text]
    assert (row["attacker_uuid"], row["decky_id"], row["command_count"]) == (text, text, 2**63 - 1)
    assert (row["duration_s"], row["client"]) == (None, {text: [str(2**63), 2**63 - 1, text]})
    assert row["ended_at"] == NOW
    assert row["ended_at"].tzinfo is not None
    command = (await rows_of(repo, "command", "command_id"))[text]
    assert (command["command_text"], command["session_id"], command["ts"]) == (text, text, NOW)
    await repo.upsert_session({"session_id": text, "attacker_uuid": text, "ended_at": T, "command_count": 1})
    assert len(await rows_of(repo, "session", "session_id")) == 1, "the same session, however it is spelt"


def session(key: str = "s", **more: Any) -> dict[str, Any]:
    base = {"session_id": key, "attacker_uuid": A, "attacker_ip": IPS[0], "decky_id": "d", "service": "ssh"}
    return {**base, "protocol": "ssh", **more}


async def test_a_session_is_the_same_in_every_order_of_what_is_heard_of_it(repo: BaseRepository) -> None:
    start, end = (
        session(started_at=T),
        session(started_at=T - 5, ended_at=T + 60, end_reason="eof", command_count=2),
    )
    part1 = session(ended_at=T + 90, part=1, parts=2, downloads=[{"url": "1"}], client={"v": 1})
    part2 = session(
        ended_at=T + 90, part=2, parts=2, downloads=[{"url": "2"}, {"url": "1"}], end_reason="closed"
    )
    told = [start, end, part1, part2]
    orders = {f"s{n}": order for n, order in enumerate(itertools.permutations(range(4)))}
    async with repo.transaction() as bound:
        for key, order in orders.items():
            for i in (*order, order[0]):
                await bound.upsert_session({**told[i], "session_id": key})
        together = [{**payload, "session_id": "all"} for payload in told]
        await bound.upsert_sessions([*together, *together])
    rows = await rows_of(repo, "session", "session_id")
    row = rows["all"]
    ends = [str({name: value for name, value in r.items() if name != "session_id"}) for r in rows.values()]
    assert len(ends) == 25
    assert len(set(ends)) == 1
    assert (row["started_at"], row["ended_at"]) == (NOW - timedelta(seconds=5), NOW + timedelta(seconds=90))
    assert (row["end_reason"], row["command_count"], row["client"]) == ("closed", None, {"v": 1}), (
        "of the latest ending"
    )
    assert row["downloads"] == [{"url": "1"}, {"url": "2"}]


async def test_an_ending_counts_with_its_last_part_and_a_later_one_only_when_whole(
    repo: BaseRepository,
) -> None:
    async def ended() -> tuple[Any, Any]:
        row = (await rows_of(repo, "session", "session_id"))["s"]
        return row["ended_at"] and row["ended_at"].timestamp() - T, row["end_reason"]

    await repo.upsert_session(session(ended_at=T, part=2, parts=3, end_reason="a2"))
    await repo.upsert_session(session(ended_at=T, part=3, parts=3, end_reason="a3"))
    await repo.upsert_session(session(ended_at=T, part=3, parts=3, end_reason="a3"))
    assert await ended() == (None, None), "a part told twice is one part"
    await repo.upsert_session(session(ended_at=T, part=1, parts=3, end_reason="a1"))
    assert await ended() == (0.0, "a3")
    await repo.upsert_session(session(ended_at=T + 9, part=1, parts=2, end_reason="b1"))
    assert await ended() == (0.0, "a3"), "the later one lacks a part"
    await repo.upsert_session(session(ended_at=T - 9, end_reason="early"))
    assert await ended() == (0.0, "a3")
    await repo.upsert_session(session(ended_at=T + 9, part=2, parts=2, end_reason="b2"))
    assert await ended() == (9.0, "b2")
    await repo.upsert_session(session(ended_at=T + 9, part=1, parts=1, end_reason="shorter telling"))
    assert await ended() == (9.0, "b2"), "of two tellings at one time the one of more parts"


async def test_two_tellings_of_one_part_end_the_same_in_both_orders(repo: BaseRepository) -> None:
    one, two = session(ended_at=T, end_reason="one"), session(ended_at=T, end_reason="two")
    for key, order in (("x", (one, two)), ("y", (two, one))):
        for payload in order:
            await repo.upsert_session({**payload, "session_id": key})
    rows = await rows_of(repo, "session", "session_id")
    assert rows["x"]["end_reason"] == rows["y"]["end_reason"]


async def test_the_number_of_parts_is_bounded(repo: BaseRepository) -> None:
    bounded = repo_sessions._bounded
    limit = repo_sessions.MAX_PARTS
    values = (limit - 1, limit, limit + 1, 0, -1, True, "3", None, 2.5)
    assert [bounded(v, 7) for v in values] == [limit - 1, limit, limit, 0, 0, 7, 7, 7, 7]
    await repo.upsert_session(session(ended_at=T, part=2**70, parts=True))
    assert (await rows_of(repo, "session", "session_id"))["s"]["ended_at"] == NOW


async def test_what_is_not_tagged_waits_oldest_first(repo: BaseRepository) -> None:
    for key, end in (("b", T + 1), ("a", T + 1), ("c", T), ("open", None), ("done", T)):
        await repo.upsert_session(session(key, started_at=T - 9, ended_at=end))
    await repo.upsert_session({"session_id": "nobody's", "ended_at": T})
    await repo.mark_sessions_tagged(["done", "only a mark"], T)
    assert [row["session_id"] for row in await repo.untagged_sessions(10)] == ["c", "a", "b"]
    assert [row["session_id"] for row in await repo.untagged_sessions(2)] == ["c", "a"]
    assert await repo.untagged_count() == 3
    await repo.mark_sessions_tagged(["c"], T + 5)
    await repo.mark_sessions_tagged(["c"], T + 1)
    rows = await rows_of(repo, "session", "session_id")
    assert rows["c"]["tagged_at"] == NOW + timedelta(seconds=5)
    assert rows["only a mark"]["attacker_uuid"] is None
    assert await repo.session_payload("only a mark") is None
    payload = await repo.session_payload("a")
    assert payload is not None
    assert (payload["started_at"], payload["ended_at"], payload["part"], payload["parts"]) == (
        T - 9,
        T + 1,
        1,
        1,
    )
    assert await repo.session_payload("none") is None


async def test_commands_are_kept_once_in_order_with_bad_values_left_out(repo: BaseRepository) -> None:
    lines = [
        {"command_text": "b", "ts": T},
        {"command_text": None, "ts": T, "success": "yes"},
        {"command_text": "a", "ts": T - 1},
    ]
    for _ in range(2):
        await repo.insert_commands("s", lines, first=3)
    await repo.insert_commands("s", [{"id": "s#cmd3", "command_text": "another telling", "ts": T}])
    found = await repo.commands_of("s")
    assert [(row["id"], row["command_text"]) for row in found] == [
        ("s#cmd5", "a"),
        ("s#cmd3", "b"),
        ("s#cmd4", ""),
    ]
    assert found[2]["success"] is None
    assert await repo.commands_of("t") == []
    with pytest.raises(ValueError, match="time"):
        await repo.insert_commands("s", [{"command_text": "x", "ts": []}])


async def test_an_attackers_mark_ends_with_a_sighting_outside_of_every_entry(repo: BaseRepository) -> None:
    await repo.upsert_attackers(
        [(A, IPS[0], T), (A, None, T - 5), (A, None, None), (A, "::ffff:192.0.2.1", T + 5)], {A: "e"}
    )
    row = (await rows_of(repo, "attacker", "attacker_uuid"))[A]
    seen = (row["first_seen"].timestamp() - T, row["last_seen"].timestamp() - T)
    assert (row["ip"], *seen, row["ignored_by"]) == (IPS[0], -5.0, 5.0, "e")
    await repo.upsert_attackers([(A, IPS[0], T)])
    assert (await rows_of(repo, "attacker", "attacker_uuid"))[A]["ignored_by"] is None
    await repo.upsert_attacker(B, None, None)
    row = (await rows_of(repo, "attacker", "attacker_uuid"))[B]
    assert (row["ip"], row["first_seen"], row["last_seen"]) == (None, None, None)


async def test_an_identity_is_formed_once_whoever_comes_first(repo: BaseRepository) -> None:
    assert await repo.ensure_stub_identity_for_attacker(A) is None, "unknown yet"
    assert await repo.form_identities([A, B, A]) == sorted([(identity_id(A), A), (identity_id(B), B)])
    assert await repo.form_identities([A, B]) == []
    await repo.merge_identities(identity_id(B), identity_id(C))
    assert await repo.form_identities([C, A]) == [(identity_id(C), C)], (
        "a merge named it before it was formed"
    )
    assert await repo.form_identities([C]) == []
    await repo.upsert_attacker(C, IPS[2], T)
    assert await repo.ensure_stub_identity_for_attacker(C) == identity_id(B), "forming keeps the merge"
    assert await repo.attackers_of_identity(identity_id(B)) == sorted([B, C])
    assert await repo.canonical_identity("nobody") == "nobody"


async def test_merges_are_worked_out_from_all_that_were_told(repo: BaseRepository) -> None:
    cases: list[tuple[list[tuple[str, str]], str]] = [
        ([("b", "a")], "b"),
        ([("b", "a"), ("c", "b")], "c"),
        ([("b", "a"), ("c", "a")], "b"),
        ([("b", "a"), ("a", "b")], "a"),
        ([("b", "a"), ("c", "b"), ("a", "c")], "a"),
        ([("d", "a"), ("c", "b"), ("d", "b")], "c"),
        ([("a", "a")], "a"),
    ]
    ends: list[tuple[dict[str, str | None], str]] = []
    async with repo.transaction() as bound:
        for n, (merges, wanted) in enumerate(cases):
            for k, order in enumerate(itertools.permutations(merges)):
                for winner, loser in order:
                    await bound.merge_identities(f"{n}.{k}.{winner}", f"{n}.{k}.{loser}")
                last = await bound.canonical_identity(f"{n}.{k}.{order[-1][0]}")
                assert last == f"{n}.{k}.{wanted}"
                members = {who for pair in merges for who in pair}
                into = {f"{n}.{k}.{who}": None if who == wanted else last for who in members}
                ends.append((into, f"{merges} as {order}"))
    rows = await rows_of(repo, "identity", "identity_uuid")
    for into, how in ends:
        assert {who: rows[who]["merged_into"] for who in into} == into, how
    assert "6.0.a" not in await rows_of(repo, "identity_merge", "loser_uuid"), "nobody is merged into itself"


async def test_one_credential_is_one_row_and_a_success_stays(repo: BaseRepository) -> None:
    base = {"attacker_uuid": A, "decky_id": "d", "service": "ssh", "session_id": "s", "username": "root"}
    base |= {"secret_kind": "password", "secret_hmac": "h"}
    tries = [(False, T), (True, T + 5), (False, T - 5), ("yes", T), (None, None)]
    for order in (tries, tries[::-1]):
        await emptied(repo)
        ids = await repo.upsert_credentials([{**base, "success": ok, "ts": ts} for ok, ts in order])
        assert len(set(ids)) == 1
        row = (await rows_of(repo, "credential", "credential_id"))[ids[0]]
        assert (row["success"], row["first_seen"].timestamp() - T, row["last_seen"].timestamp() - T) == (
            True,
            -5.0,
            5.0,
        )
    only = await repo.upsert_credential({**base, "username": "x", "success": 1, "ts": T})
    assert (await rows_of(repo, "credential", "credential_id"))[only]["success"] is None
    others = [await repo.upsert_credential({**base, name: "other"}) for name in base]
    assert len({ids[0], *others}) == len(base) + 1, "everything but success and time makes it another one"


async def test_fingerprints_and_recordings_are_kept_once(repo: BaseRepository) -> None:
    one = await repo.upsert_fingerprint(A, "hassh", {"b": 1, "a": 2}, T)
    assert one == await repo.upsert_fingerprint(A, "hassh", {"a": 2, "b": 1}, T + 5)
    assert one == await repo.upsert_fingerprint(A, "hassh", {"a": 2, "b": 1}, T - 5)
    seen = {"session_id": "s9", "decky_id": "d9"}
    assert one == await repo.upsert_fingerprint(A, "hassh", {"a": 2, "b": 1, **seen}, T), (
        "where is no part of it"
    )
    rest = [
        await repo.upsert_fingerprint(B, "hassh", {"a": 2, "b": 1}, T),
        await repo.upsert_fingerprint(A, "ja3", {"a": 2, "b": 1}, T),
        await repo.upsert_fingerprint(A, "hassh", {"a": 2}, T),
    ]
    rows = await rows_of(repo, "fingerprint", "fingerprint_id")
    assert set(rows) == {one, *rest}
    assert (rows[one]["session_id"], rows[one]["decky_id"], rows[one]["fields"]) == (
        "s9",
        "d9",
        {"a": 2, "b": 1},
    )
    assert (rows[one]["first_seen"].timestamp() - T, rows[one]["last_seen"].timestamp() - T) == (-5.0, 5.0)
    for n, key in enumerate("abc"):
        await repo.upsert_session(session(f"s{n}", ended_at=T + n, keystrokes_ref=key))
    assert await repo.missing_recordings(10) == [("c", "s2"), ("b", "s1"), ("a", "s0")]
    assert await repo.missing_recordings(2) == [("c", "s2"), ("b", "s1")]
    await repo.upsert_recording("c", "s2", b"\x00tty")
    await repo.upsert_recording("c", "s0", b"never another content")
    assert await repo.recording("c") == b"\x00tty"
    assert await repo.recording("a") is None
    assert (await rows_of(repo, "recording", "key"))["c"]["session_id"] == "s0"
    assert await repo.missing_recordings(10) == [("b", "s1"), ("a", "s0")]


async def test_the_queue_of_work_outside_the_outbox(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    from decnet.db.repository.runtime import work as repo_queue

    clock = SimpleNamespace(now=NOW)
    monkeypatch.setattr(repo_queue, "utcnow", lambda: clock.now)
    first = await repo.dead_letter_add("w", "t", "first", 1, b"1")
    clock.now = NOW + timedelta(seconds=1)
    assert await repo.dead_letter_add("w", "u", "second", 1, b"1") == first, (
        "one event of one worker is one letter"
    )
    others = [
        await repo.dead_letter_add("v", "t", "r", 1, b""),
        await repo.dead_letter_add("w", "t", "r", 2, b""),
    ]
    letter = await repo.dead_letter_get(first)
    assert letter is not None
    assert (letter["reason"], letter["body"], letter["ts"]) == ("first", b"1", NOW)
    everything = [others[1], others[0], first]

    async def ids(**options: Any) -> list[int]:
        return [row["id"] for row in await repo.dead_letters(**options)]

    assert await ids() == await ids(limit=0) == await ids(limit=3) == everything
    assert await ids(limit=2) == everything[:2]
    assert await ids(since=NOW) == everything
    assert await ids(since=T + 1) == everything[:2]
    assert await ids(since=T + 2) == []
    await repo.dead_letter_delete(first)
    await repo.dead_letter_delete(first)
    assert await ids() == everything[:2]
    assert await repo.dead_letter_get(first) is None
    for n in range(101):
        await repo.dead_letter_add("many", "t", "r", n, b"")
    assert len(await repo.dead_letters()) == 100
    for worker, state in (("b", "up"), ("a", "up"), ("b", "down")):
        await repo.heartbeats_write({worker: {"state": state}})
        clock.now += timedelta(seconds=1)
    beats = await repo.heartbeats()
    assert [(row["worker"], row["payload"]["state"]) for row in beats] == [("a", "up"), ("b", "down")]
    assert [row["ts"] - NOW for row in beats] == [timedelta(seconds=2), timedelta(seconds=3)]


async def test_a_checkpoint_comes_back_as_it_was_or_is_refused(repo: BaseRepository) -> None:
    state = {"offset": 2**53 + 1, "inode": 2**63 - 1, "name": "ä", "list": [1, None, True], "f": 0.1}
    assert await repo.checkpoint_load("k") is None
    await repo.checkpoint_save("k", state)
    await repo.checkpoint_save("j", {})
    for bad in (float("nan"), float("inf"), -float("inf"), [float("nan")]):
        with pytest.raises(ValueError, match="JSON"):
            await repo.checkpoint_save("k", {"offset": bad})
    with pytest.raises(TypeError):
        await repo.checkpoint_save("k", {"offset": {1, 2}})
    assert await repo.checkpoint_load("k") == state
    assert await repo.checkpoint_load("j") == {}
    await repo.checkpoint_save("k", {"offset": 1})
    assert await repo.checkpoint_load("k") == {"offset": 1}


async def test_a_bound_repository_undoes_all_of_its_rows(repo: BaseRepository) -> None:
    with pytest.raises(RuntimeError, match="boom"):  # noqa: PT012
        async with repo.transaction() as bound:
            await bound.upsert_attacker(A, IPS[0], T)
            await bound.upsert_session(session(ended_at=T))
            await bound.checkpoint_save("k", {"n": 1})
            await bound.dead_letter_add("w", "t", "r", 1, b"")
            raise RuntimeError("boom")
    for table, key in (
        ("attacker", "ip"),
        ("session", "session_id"),
        ("dead_letter", "seq"),
        ("sensor_checkpoint", "state"),
    ):
        assert await rows_of(repo, table, key if table != "sensor_checkpoint" else "sensor_key") == {}
    await put(repo, "attacker", {"attacker_uuid": A})


async def test_a_dead_letter_keeps_what_it_can_of_hostile_text_in_its_topic_and_reason(
    repo: BaseRepository,
) -> None:
    worker, topic, reason = "w\x00", "decky.a\x00b\ud800.state", "bad value '\udfff\x00' at commands[3].ts"
    letter = await repo.dead_letter_add(worker, topic, reason, 7, b"\x00\xff")
    assert await repo.dead_letter_add(worker, topic, reason, 7, b"\x00\xff") == letter, (
        "found again under its own name"
    )
    stored = await repo.dead_letter_get(letter)
    assert stored is not None
    assert stored["worker"] == "w\ufffd"
    assert stored["topic"] == "decky.a\ufffdb\ufffd.state"
    assert stored["reason"] == "bad value '\ufffd\ufffd' at commands[3].ts"
    assert stored["body"] == b"\x00\xff"
    assert [row["reason"] for row in await repo.dead_letters()] == [stored["reason"]]
