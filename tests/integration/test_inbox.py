"""A folder that others put things into: what is read, where it goes, and that nothing comes twice or out of a secret."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.config import SensorSpec, Settings, load_settings
from decnet.engine import Engine
from decnet.errors import BusUnavailable, SensorError
from decnet.ids import attacker_id
from decnet.logs import configure_logging
from decnet.mail.facts import BOUNDS
from decnet.sensors.files.checkpoint import FileStore
from decnet.sensors.group import is_top
from decnet.sensors.inbox.folder import InboxFolder
from decnet.sensors.inbox.run import InboxRun
from decnet.sensors.inbox.source import InboxSource
from decnet.sensors.worker import SensorsWorker
from decnet_tui.cli.sensor_option import parse_sensor
from tests.dbkit import KINDS, migrated_url
from tests.mailkit import case, case_bytes, message
from tests.unit.test_inbox_parts import ABUSE, CANARY, FEODO, RECEIVED, SECRET, TOKEN

KEY = b"k" * 32
MAIL = message("hello\r\n", RECEIVED)


class Bus:
    """Takes events; refuses while it is told to."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.away = False

    async def publish_events(self, events: Sequence[Event]) -> None:
        if self.away:
            raise BusUnavailable("away")
        self.events += events

    async def publish(self, *_: Any, **__: Any) -> None:
        """Live news."""


class Scene:
    """An inbox, its bus and its checkpoints; each run is one life."""

    def __init__(self, folder: Path) -> None:
        self.inbox, self.bus, self.store = folder / "inbox", Bus(), FileStore(folder / "state")
        self.inbox.mkdir()
        self.known: set[str] | None = None
        self.run = self.new()

    def new(self, **limits: Any) -> InboxRun:
        settings = Settings(inbox=limits) if limits else Settings()
        spec = SensorSpec(kind="inbox", path=self.inbox)
        known = (lambda ids: self.known & set(ids)) if self.known is not None else None  # type: ignore[operator]
        self.run = InboxRun(spec, settings, KEY, self.bus, self.store, None, known)  # type: ignore[arg-type]
        return self.run

    def put(self, name: str, data: bytes | str | Any) -> Path:
        text = data if isinstance(data, (bytes, str)) else json.dumps(data)
        path = self.inbox / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    async def work(self) -> None:
        """Rounds until everything is read, stored and moved."""
        for _ in range(50):
            if not await self.run.turn() and self.run.at_end():
                return
        raise AssertionError("it does not come to an end")

    def names(self, place: str = "") -> list[str]:
        folder = self.inbox / place
        return sorted(path.name for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []

    def topics(self) -> list[str]:
        return [event.topic for event in self.bus.events]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def test_each_kind_of_file_becomes_what_it_is_and_goes_where_it_belongs(scene: Scene) -> None:
    scene.put("1.eml", MAIL)
    scene.put("2.mbox", b"From a\n" + MAIL + b"\nFrom b\n" + MAIL.replace(b"hello", b"other"))
    scene.put("3.json", TOKEN)
    scene.put("4.json", {"message": json.dumps(CANARY)})
    scene.put("5.json", FEODO)
    scene.put("6.bin", b"\x89PNG")
    await scene.work()
    topics = scene.topics()
    assert topics[:4] == ["email.received"] * 3 + ["canary.abc123.triggered"]
    assert set(topics[4:]) == {
        "attacker.observed", "attacker.session.started", "credential.captured", "attacker.intel.enriched",
        "attacker.session.ended",
    }  # fmt: skip
    assert len({event.id for event in scene.bus.events}) == len(topics) - 1, (
        "one mail came by itself and in the mbox"
    )
    assert scene.names() == []
    assert scene.names("done") == ["1.eml", "2.mbox", "3.json", "4.json"]
    assert scene.names("lists") == ["5.json"]
    assert scene.names("rejected") == ["6.bin", "6.bin.reason"]
    assert (scene.inbox / "rejected" / "6.bin.reason").read_text() == "not_known 1\n"
    row = scene.run.status()
    assert (row["kind"], row["state"], row["files"], row["bytes_behind"]) == ("inbox", "ok", 0, 0)
    assert (row["lines"], row["refused"], row["reasons"]) == (8, 1, {"not_known": 1})
    assert await scene.run.end_open_sessions() == 0


async def test_what_is_given_twice_makes_nothing_twice(scene: Scene) -> None:
    files = {"a.eml": MAIL, "b.json": TOKEN, "c.json": CANARY, "d.json": FEODO}
    for name, data in files.items():
        scene.put(name, data)
    await scene.work()
    first = {event.id: (event.topic, event.payload) for event in scene.bus.events}
    count = len(scene.bus.events)
    for name, data in files.items():
        scene.put(f"again-{name}", data)
    await scene.work()
    assert {event.id: (event.topic, event.payload) for event in scene.bus.events} == first
    assert scene.names("done") == ["a.eml", "again-a.eml", "again-b.json", "again-c.json", "b.json", "c.json"]
    assert len(scene.bus.events) <= count + 2, (
        "only the mail and the trigger are told again, under the same ids"
    )
    scene.put("a.eml", MAIL)
    await scene.work()
    assert "2-a.eml" in scene.names("done")


async def test_what_is_not_finished_is_left_alone(scene: Scene, tmp_path: Path) -> None:
    outside = tmp_path / "outside.eml"
    outside.write_bytes(MAIL)
    scene.put("a.eml.part", MAIL)
    scene.put(".hidden.eml", MAIL)
    (scene.inbox / "link.eml").symlink_to(outside)
    (scene.inbox / "folder.eml").mkdir()
    os.mkfifo(scene.inbox / "pipe.eml")
    await asyncio.wait_for(scene.work(), 10)
    assert scene.bus.events == []
    assert scene.names() == [".hidden.eml", "a.eml.part", "link.eml"]
    assert outside.read_bytes() == MAIL
    passed = scene.run.status()["passed_over"]
    assert {Path(path).name: why for path, why in passed.items()} == dict.fromkeys(
        ("folder.eml", "link.eml", "pipe.eml"), "no plain file"
    )
    (scene.inbox / "a.eml.part").rename(scene.inbox / "a.eml")
    await scene.work()
    assert scene.names("done") == ["a.eml"]


async def test_a_bad_file_costs_itself_only(scene: Scene) -> None:
    scene.put("a.eml", message("nobody"))
    scene.put("b.json", '{"manage_url": "https://x/?auth=' + SECRET)
    scene.put("c.json", "")
    scene.put("d.eml", MAIL)
    scene.put("e.json", "[]")
    scene.put("f.mbox", b"From a\n" + MAIL + b"\nFrom b\n" + message("nobody"))
    await scene.work()
    assert scene.topics() == ["email.received"] * 2
    assert scene.names("done") == ["d.eml", "f.mbox"]
    reasons = {path.name: path.read_text() for path in (scene.inbox / "rejected").glob("*.reason")}
    assert reasons == {
        "a.eml.reason": "no_peer 1\n", "b.json.reason": "not_known 1\n", "c.json.reason": "empty 1\n",
        "e.json.reason": "not_known 1\n",
    }  # fmt: skip
    assert scene.run.status()["refused"] == 5


async def test_a_secret_is_neither_stored_nor_logged_nor_told(scene: Scene) -> None:
    told = io.StringIO()
    configure_logging("json", "DEBUG", told)
    scene.put("a.json", TOKEN)
    scene.put("b.json", json.dumps(TOKEN)[:78])
    scene.put("c.txt", {"message": json.dumps(TOKEN), "manage_url": TOKEN["manage_url"], "src_ip": None})
    await scene.work()
    assert scene.names() == []
    everything = [path for path in scene.inbox.parent.rglob("*") if path.is_file()]
    assert len(everything) > 5
    assert not [path for path in everything if SECRET in path.read_text("utf-8", "replace")]
    assert SECRET not in "".join(event.to_bytes().decode() for event in scene.bus.events)
    assert "lines refused" in told.getvalue()
    assert SECRET not in told.getvalue()
    assert SECRET not in json.dumps(scene.run.status(), default=str)
    assert json.loads((scene.inbox / "done" / "a.json").read_text())["memo"] == "on web-01"


async def test_files_are_moved_only_after_the_bus_and_the_checkpoint_have_them(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.put("a.eml", MAIL)
    scene.bus.away = True
    task = asyncio.create_task(scene.run.turn())
    await asyncio.sleep(0.3)
    assert scene.names() == ["a.eml"]
    scene.bus.away = False

    async def refuse(*_: Any) -> None:
        raise SensorError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(scene.store, "save", refuse)
        await task
        await scene.run.turn()
        assert scene.topics() == ["email.received"]
        assert scene.names() == ["a.eml"]
        assert "disk full" in scene.run.status()["waiting"]
    await scene.work()
    assert scene.names("done") == ["a.eml"]


async def test_a_life_that_ends_before_the_move_leaves_it_to_the_next(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.put("a.eml", MAIL)
    scene.put("b.eml", message("nobody"))
    with monkeypatch.context() as patched:
        patched.setattr(InboxFolder, "settle", lambda *_: None)
        for _ in range(3):
            await scene.run.turn()
    assert scene.names() == ["a.eml", "b.eml"]
    scene.new()
    await scene.work()
    assert (scene.names("done"), scene.names("rejected")) == (["a.eml"], ["b.eml", "b.eml.reason"])
    assert scene.topics() == ["email.received"], "it was read in the life before"


async def test_a_great_mbox_goes_on_where_it_was_left(scene: Scene) -> None:
    mails = [message(f"number {i} " + "x" * 3000 + "\r\n", RECEIVED) for i in range(100)]
    scene.put("a.mbox", b"\n".join(b"From x\n" + one for one in mails))
    scene.new(batch_bytes=65_536, max_message_bytes=1024 * 1024)
    for _ in range(2):
        assert await scene.run.turn()
    await scene.run._save()
    early = len(scene.bus.events)
    assert 0 < early < 100
    assert scene.run.status()["bytes_behind"] > 0
    scene.new(batch_bytes=65_536)
    await scene.work()
    assert len(scene.bus.events) == 100
    assert len({event.id for event in scene.bus.events}) == 100
    assert scene.names("done") == ["a.mbox"]


async def test_a_file_that_changes_while_it_is_read_is_read_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.put("a.json", json.dumps(TOKEN)[:100])
    real = InboxSource._of

    def changed(source: InboxSource, line: Any) -> Any:
        scene.put("a.json", TOKEN)
        monkeypatch.undo()
        return real(source, line)

    monkeypatch.setattr(InboxSource, "_of", changed)
    await scene.work()
    assert scene.topics() == ["canary.abc123.triggered"]
    assert (scene.names("done"), scene.names("rejected")) == (["a.json"], [])


async def test_bounds_of_sizes(scene: Scene) -> None:
    body = json.dumps(TOKEN)
    scene.new(max_body_bytes=1024, max_message_bytes=1024, max_list_bytes=2048)
    scene.put("fits.eml", MAIL.ljust(1024, b"x"))
    scene.put("long.eml", MAIL.ljust(1025, b"x"))
    scene.put("fits.json", body.ljust(1024))
    scene.put("long.json", body.ljust(1025))
    scene.put("list.json", json.dumps(FEODO).ljust(2048))
    scene.put("longlist.json", json.dumps(FEODO).ljust(2049))
    await scene.work()
    assert sorted(scene.topics()) == ["attacker.intel.enriched", "canary.abc123.triggered", "email.received"]
    reasons = {path.name: path.read_text() for path in (scene.inbox / "rejected").glob("*.reason")}
    assert reasons == {
        "long.eml.reason": "too_large 1\n", "long.json.reason": "not_known 1\n", "longlist.json.reason": "too_large 1\n",
    }  # fmt: skip


async def test_so_many_files_are_looked_at_and_the_others_wait(scene: Scene) -> None:
    scene.new(max_files=2)
    for i in range(3):
        scene.put(f"{i}.eml", MAIL)
    await scene.run.turn()
    assert scene.run.folder.over == 1
    assert scene.run.status()["passed_over_count"] == 0
    await scene.work()
    assert (scene.run.folder.over, scene.names("done")) == (0, ["0.eml", "1.eml", "2.eml"])


async def test_lists_speak_of_known_attackers_only_and_of_new_ones_later(scene: Scene) -> None:
    scene.known = {attacker_id("203.0.113.53")}
    scene.new(lists_every_s=10_000)
    scene.put("feodo.json", FEODO)
    scene.put("abuse.json", ABUSE)
    await scene.work()
    (event,) = scene.bus.events
    assert (event.topic, event.payload["attacker_ip"]) == ("attacker.intel.enriched", "203.0.113.53")
    assert event.ts == 1_772_600_400.0
    scene.known.add(attacker_id("203.0.113.50"))
    await scene.work()
    assert len(scene.bus.events) == 1, "not before it is time"
    await scene.run.end_open_sessions()
    assert [one.payload["attacker_ip"] for one in scene.bus.events] == ["203.0.113.53", "203.0.113.50"]
    await scene.run.end_open_sessions()
    assert len(scene.bus.events) == 2
    scene.new(max_lists=1)
    await scene.work()
    assert len({one.id for one in scene.bus.events}) == 2, (
        "a new life tells the same again under the same ids"
    )


async def test_lists_are_looked_at_again_when_it_is_time(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.known = set()
    scene.new(lists_every_s=0.2)
    scene.put("feodo.json", FEODO)
    await scene.work()
    assert scene.bus.events == []
    scene.known.add(attacker_id("203.0.113.50"))
    await asyncio.sleep(0.25)
    await scene.run.turn()
    assert scene.topics() == ["attacker.intel.enriched"]


async def test_entries_of_lists_are_counted_once(scene: Scene) -> None:
    scene.new(max_list_entries=2)
    scene.put(
        "a.json", [*FEODO, {"ip_address": "x", "malware": "y"}, {"ip_address": "203.0.113.9", "malware": "z"}]
    )
    await scene.work()
    await scene.run.end_open_sessions()
    row = scene.run.status()
    assert (row["entries_refused"], row["entries_beyond"]) == (1, 1)
    scene.new()
    await scene.work()
    assert scene.run.status()["entries_refused"] == 1


async def test_a_folder_that_is_missing_is_told_and_read_when_it_comes(scene: Scene) -> None:
    scene.inbox.rmdir()
    await scene.run.turn()
    assert scene.run.status()["state"] == "missing"
    scene.inbox.mkdir()
    scene.put("a.eml", MAIL)
    await scene.work()
    assert scene.run.status()["state"] == "ok"


async def test_a_file_that_cannot_be_moved_is_a_problem_and_is_not_read_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(30, "Read-only file system")

    scene.put("a.eml", MAIL)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", refuse)
        await scene.work()
        await scene.work()
        assert scene.topics() == ["email.received"]
        (why,) = scene.run.status()["problems"].values()
        assert why.startswith("cannot be moved")
    scene.put("b.eml", MAIL.replace(b"hello", b"other"))
    await scene.work()
    assert scene.names("done") == ["a.eml", "b.eml"]
    assert scene.run.status()["problems"] == {}


async def test_a_list_of_bad_files_that_cannot_be_read_is_told(scene: Scene, tmp_path: Path) -> None:
    settings = Settings(decoys={"mail": {"known_bad": tmp_path / "none.txt"}})
    with pytest.raises(SensorError, match=r"none\.txt"):
        InboxRun(SensorSpec(kind="inbox", path=scene.inbox), settings, KEY, scene.bus, scene.store)  # type: ignore[arg-type]


def test_an_inbox_is_a_kind_of_sensor(tmp_path: Path) -> None:
    spec = parse_sensor(f"inbox={tmp_path}")
    assert (spec.kind, spec.path) == ("inbox", tmp_path)
    assert not is_top(spec)
    assert set(BOUNDS) <= SensorsWorker(Settings()).health().keys()


@pytest.mark.parametrize("kind", KINDS)
async def test_an_engine_reads_its_inbox(tmp_path: Path, kind: str) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    head = (
        b"Received: from x ([IPv6:fe80::1]) (relay [203.0.113.53]) by mx; Wed, 04 Mar 2026 05:00:00 +0000\r\n"
    )
    (inbox / "a.eml").write_bytes(head + case_bytes(case("A2")))
    (inbox / "b.json").write_text(json.dumps(TOKEN))
    (inbox / "c.json").write_text(json.dumps(CANARY))
    (inbox / "d.json").write_text(json.dumps(ABUSE))
    (inbox / "e.json").write_text(json.dumps(FEODO))
    async with migrated_url(kind, tmp_path) as url:
        for _ in range(2):
            found = await _read(tmp_path, url, inbox)
        rules, attackers, sessions, intel = found
    assert {"L0306", "L0307", "L0308", "L0801"} <= rules
    assert attackers == {"203.0.113.53", "203.0.113.60", "203.0.113.61"}, "lists make no attackers"
    assert sessions == 1
    assert intel["abuseipdb_score"] == 75
    assert sorted(path.name for path in (inbox / "lists").iterdir()) == ["d.json", "e.json"]


async def _read(folder: Path, url: str, inbox: Path) -> tuple[set[str], Collection[str], int, dict[str, Any]]:
    """One life of an engine over an inbox: rules, attackers, sessions, and what is known of the mail's sender."""
    settings = load_settings(
        data_dir=folder / "data",
        db=url,
        bus={"type": "memory"},
        workers=("sensors", "recorder", "ttp"),
        ttp_rule_store_type="filesystem",
        sensors=[{"kind": "inbox", "path": str(inbox)}],
    )
    engine = Engine(settings)
    await engine.start()
    try:
        assert await engine.until_idle(0.4) is None
        sender = attacker_id("203.0.113.53")
        tags = await engine.repo.list_tags(attacker=sender, limit=0)
        attackers = {str(row["attacker_ip"]) for row in await engine.repo.list_attackers(limit=0)}
        sessions = len(await engine.repo.list_sessions(limit=0))
        ((_, intel),) = await engine.repo.intel_of([sender])
        return {tag["rule_id"] for tag in tags}, attackers, sessions, dict(intel)
    finally:
        await engine.stop(1.0)
