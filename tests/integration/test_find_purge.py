"""Search and retention on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.config import load_settings
from decnet.db.repository import BaseRepository
from decnet.db.repository.lists import typed
from decnet.db.rows.ttp import TTPTag
from decnet.db.tables import table
from decnet.db.types import utcnow
from decnet.ids import attacker_id
from decnet.recorder.worker import RecorderWorker
from decnet.runtime.worker import Transaction
from tests.dbkit import KINDS, open_repo
from tests.wirekit import taken

OLD, NEW = "192.0.2.10", "203.0.113.5"
HASSH = "ec7378c1a92f5a8dde7e8b7a1ddf33d1"


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as opened:
        await fill(opened)
        yield opened


def session(name: str, ip: str, at: float, **more: Any) -> Event:
    payload = {"session_id": name, "attacker_ip": ip, "decky_id": "d", "started_at": at, "ended_at": at + 5}
    return Event("attacker.session.ended", payload | more, "", name, at + 5)


def command(name: str, text: str, at: float) -> dict[str, Any]:
    return {"id": f"{name}#cmd0", "command_text": text, "ts": at}


async def fill(repo: BaseRepository) -> None:
    first = {"commands": [command("old", "WGET http://203.0.113.9/100%_a.sh", 100.0)]}
    second = {
        "commands": [command("new", "uname -a", 9000.0)],
        "downloads": [{"url": "http://203.0.113.9/Mirai.x86", "sha256": "ab" * 32}],
        "uploads": [{"filename": "/tmp/mirai.sh", "sha256": None}],
        "forwards": [{"host": "smtp.example", "port": 25}],
    }
    events = [session("old", OLD, 100.0, **first), session("new", NEW, 9000.0, **second)]
    for ip, at, name in ((OLD, 101.0, "old"), (NEW, 9001.0, "new")):
        captured = {
            "attacker_ip": ip,
            "session_id": name,
            "username": f"pi-{name}",
            "secret_hmac": f"{name:0<64}",
        }
        events.append(
            Event("credential.captured", {**captured, "secret_kind": "password"}, "", f"c{name}", at)
        )
    events.append(
        Event(
            "attacker.fingerprinted", {"attacker_ip": NEW, "type": "hassh", "hassh": HASSH}, "", "f", 9000.0
        )
    )
    async with repo.transaction() as bound:
        await RecorderWorker(load_settings()).handle(taken(events), Transaction(bound))
    tag = {"tactic": "TA0002", "rule_id": "R1", "technique_id": "T1059", "confidence": 0.9, "rule_version": 1}
    for ip, name in ((OLD, "old"), (NEW, "new")):
        who = {"attacker_uuid": attacker_id(ip), "session_id": name}
        await repo.insert_tags([TTPTag(**tag, **who, source_kind="command", source_id=f"{name}#cmd0")])


async def found(repo: BaseRepository, text: str, **options: Any) -> list[tuple[str, str]]:
    return [(row["kind"], row["value"]) for row in await repo.find(text, **options)]


async def test_everything_can_be_found(repo: BaseRepository) -> None:
    assert await found(repo, "uname") == [("command", "uname -a")]
    assert await found(repo, "192.0.2.") == [("address", OLD)]
    assert await found(repo, "pi-") == [("user", "pi-new"), ("user", "pi-old")]
    assert await found(repo, HASSH) == [("hash", HASSH)]
    assert await found(repo, "AB" * 32) == [("hash", "ab" * 32)]
    assert await found(repo, f"{'new':0<64}") == [("hash", f"{'new':0<64}")]
    assert sorted(await found(repo, "mirai")) == [
        ("file", "/tmp/mirai.sh"),
        ("url", "http://203.0.113.9/Mirai.x86"),
    ]
    assert await found(repo, "smtp.example") == [("forward", "smtp.example")]


async def test_every_text_that_is_stored_is_searched(repo: BaseRepository) -> None:
    hostile = 'say "hi" \\ \u00e9\u4e2d'
    more = {
        "inputs": [{"realm": "cat", "text": hostile}],
        "exploits": [{"cve": "CVE-2026-1", "value": "-f rootx"}],
        "joined": [
            {"id": "full#cmd0+1", "command_text": "joined \u00e9 text", "lines": ["full#cmd0", "full#cmd1"]}
        ],
        "extras": [{"eventid": "cowrie.x", "fields": {"arch": "riscv-odd"}}],
        "forwards": [{"host": "h", "port": 25, "data": "b'MAIL'"}],
        "auth": {"fail_count": 1, "success": False, "usernames": ["only-a-name"]},
        "client": {"version": "SSH-2.0-odd", "kex": ["odd-kex"]},
        "path": "plans.docx",
        "op_text": "DROP DATABASE odd",
    }
    events = [
        session("full", NEW, 9100.0, **more),
        Event("attacker.intel.enriched", {"attacker_ip": NEW, "greynoise_name": "Odd Scanner"}, "", "i", 9100.0),
        Event("attacker.fingerprinted", {"attacker_ip": NEW, "type": "public_key", "public_key": "AAAAodd"}, "", "p", 9100.0),
    ]  # fmt: skip
    async with repo.transaction() as bound:
        await RecorderWorker(load_settings()).handle(taken(events), Transaction(bound))
    mail = {
        "tactic": "TA0001",
        "rule_id": "R1",
        "technique_id": "T1566",
        "confidence": 0.9,
        "rule_version": 1,
    }
    evidence = {"matched": "odd-kit 2.0"}
    await repo.insert_tags(
        [
            TTPTag(
                **mail, attacker_uuid=attacker_id(NEW), source_kind="email", source_id="m", evidence=evidence
            )
        ]
    )
    for text, hits in {
        hostile: [("input", hostile)], "\u4e2d": [("input", hostile)], '"hi"': [("input", hostile)],
        "CVE-2026-1": [("exploit", "CVE-2026-1")], "-f rootx": [("exploit", "-f rootx")],
        "joined \u00e9": [("command", "joined \u00e9 text")], "full#cmd1": [], "riscv-odd": [("other", "riscv-odd")],
        "b'MAIL'": [("forward", "b'MAIL'")], "only-a-name": [("user", "only-a-name")], "SSH-2.0-odd": [("client", "SSH-2.0-odd")],
        "odd-kex": [("client", "odd-kex")], "plans.docx": [("other", "plans.docx")], "DROP DATABASE odd": [("other", "DROP DATABASE odd")],
        "Odd Scanner": [("intel", "Odd Scanner")], "AAAAodd": [("hash", "AAAAodd")], "odd-kit": [("mail", "odd-kit 2.0")],
    }.items():  # fmt: skip
        assert await found(repo, text) == hits, text


@pytest.mark.parametrize("first", [0, 1])
async def test_of_two_tellings_of_one_end_the_one_that_says_more_counts(
    repo: BaseRepository, first: int
) -> None:
    for n in range(8):
        remark = {"eventid": "cowrie.virustotal.scanfile", "fields": {"permalink": f"late-{n}-remark"}}
        tellings = [session(f"told{n}", NEW, 9100.0), session(f"told{n}", NEW, 9100.0, extras=[remark])]
        for event in (tellings[first], tellings[1 - first]):
            async with repo.transaction() as bound:
                await RecorderWorker(load_settings()).handle(taken([event]), Transaction(bound))
        assert await found(repo, f"late-{n}-remark") == [("other", f"late-{n}-remark")]


async def test_text_is_text(repo: BaseRepository) -> None:
    """Wildcards and quotes of the database's language mean themselves."""
    assert await found(repo, "100%_a") == [("command", "WGET http://203.0.113.9/100%_a.sh")]
    assert await found(repo, "%") == [("command", "WGET http://203.0.113.9/100%_a.sh")]
    for nothing in ("", "';--", '"', "\\", "\x00", "no such thing", "\ud800"):
        assert await found(repo, nothing) == []


async def test_newest_first_within_limits(repo: BaseRepository) -> None:
    rows = await repo.find("203.0.113", limit=2)
    assert len(rows) == 2
    assert [row["ts"] for row in rows] == sorted((row["ts"] for row in rows), reverse=True)
    assert [row["attacker_ip"] for row in await repo.find("http", since=5000.0)] == [NEW]
    await repo.ignore_add(OLD)
    assert await found(repo, "wget") == []
    assert await found(repo, "wget", ignored=True) != []


async def test_each_hit_has_its_own_time_and_a_span_goes_by_that(repo: BaseRepository) -> None:
    """A download in the middle of a session was then, not when the session began."""
    loot = [
        {"url": "http://x/loot.sh", "ts": 20_700.0},
        {"url": "http://x/loot.sh", "ts": 20_100.0},
        {"url": "http://x/loot.py"},
    ]
    told = {
        "session_id": "long",
        "attacker_ip": NEW,
        "decky_id": "d",
        "started_at": 20_000.0,
        "ended_at": 21_000.0,
    }
    taken_now = [Event("attacker.session.ended", {**told, "downloads": loot}, "", "long", 21_000.0)]
    async with repo.transaction() as bound:
        await RecorderWorker(load_settings()).handle(taken(taken_now), Transaction(bound))
    times = {row["value"]: row["ts"].timestamp() for row in await repo.find("loot")}
    assert times == {"http://x/loot.sh": 20_700.0, "http://x/loot.py": 20_000.0}, (
        "the newest; its session's where it has none"
    )
    assert [row["value"] for row in await repo.find("loot", 20_500.0)] == ["http://x/loot.sh"]
    assert await repo.find("loot", 20_700.5) == []


async def counts(repo: BaseRepository) -> dict[str, int]:
    names = (
        "session",
        "command",
        "credential",
        "ttp_tag",
        "attacker",
        "identity",
        "session_part",
        "fingerprint",
    )
    async with repo.db.read() as reader:
        return {name: len((await reader.execute(table(name).select())).all()) for name in names}


async def test_the_old_leaves_whole_and_the_new_stays_whole(repo: BaseRepository) -> None:
    seen: list[tuple[str, int]] = []
    done = await repo.purge_older(5000.0, lambda table, rows: seen.append((table, rows)))
    assert {name: count for name, count in done.items() if count} == {
        "session": 1, "command": 1, "credential": 1, "ttp_tag": 1, "session_part": 1, "attacker": 1,
        "link_due": 1,
    }  # fmt: skip
    assert seen[0] == ("session", 1)
    assert set((await counts(repo)).values()) == {1}
    assert [row["session_id"] for row in await repo.list_sessions()] == ["new"]
    assert not any((await repo.purge_older(5000.0)).values())


async def test_more_than_one_page_leaves(repo: BaseRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    from decnet.db.repository.runtime import retention as repo_retention

    monkeypatch.setattr(repo_retention, "AT_ONCE", 3)
    async with repo.transaction() as bound:
        many = [session(f"m{n}", f"198.51.100.{n}", 200.0 + n) for n in range(10)]
        await RecorderWorker(load_settings()).handle(taken(many), Transaction(bound))
    done = await repo.purge_older(5000.0)
    assert done["session"] == 11
    assert done["attacker"] == 11


async def test_tags_of_senders_that_never_logged_in_live_as_long_as_all_others(tmp_path: Path) -> None:
    """No row of the recorder's knows an attacker who was only seen in a mail; its tags left after an hour."""
    async with open_repo("sqlite", tmp_path) as repo:
        for name, age_h in (("young", 2), ("old", 48)):
            tag = TTPTag(
                source_kind="email", source_id=name, attacker_uuid="only-in-a-mail", tactic="TA0001", technique_id="T1566",
                confidence=0.8, rule_id="L0301", rule_version=1, created_at=utcnow() - timedelta(hours=age_h),
            )  # fmt: skip
            await repo.insert_tags([tag])
        await repo.purge_older(utcnow() - timedelta(hours=24))
        assert [row["source_id"] for row in await repo.list_tags()] == ["young"]


async def test_who_typed_a_word_is_told_by_attacker_whatever_its_case(repo: BaseRepository) -> None:
    found = await repo.typed_by(["wget", "100%_a", "100%xa", "uname", "nothing"])
    assert found.by == {attacker_id(OLD): {"wget", "100%_a"}, attacker_id(NEW): {"uname"}}
    assert found.looked_at is None, "all of them"
    assert await repo.typed_by([]) == ({}, None)
    assert await repo.typed_by([""]) == ({}, None), "every command has that"


async def test_the_newest_commands_alone_are_looked_through_and_that_is_said(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(typed, "LOOKED_AT", 2)
    assert (await repo.typed_by(["wget"])).looked_at is None, "there are two"
    monkeypatch.setattr(typed, "LOOKED_AT", 1)
    found = await repo.typed_by(["wget", "uname"])
    assert found.by == {attacker_id(NEW): {"uname"}}
    assert found.looked_at == 1
    monkeypatch.setattr(typed, "LOOKED_AT", 9)
    monkeypatch.setattr(typed, "WORDS", 1)
    assert set((await repo.typed_by(["wget", "uname"])).by) == {attacker_id(OLD)}
