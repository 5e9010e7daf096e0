"""``--notify`` at its limits: the pace, the queue, the lease, the time a run may take, what is news."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from decnet.bus.base import Event
from decnet.bus.memory import Broker, MemoryBus
from decnet.config import BusSettings, NotifySettings
from decnet.errors import ConfigError
from decnet.runtime.leases import OWNER
from decnet.runtime.notify import QUEUE, Notifier, Pace, split_command
from tests.clockkit import in_skipped_time, now

ALERT = "attribution.profile.multi_actor_suspected"


class FakeRepo:
    """Techniques that are stored already, and a lease."""

    def __init__(self) -> None:
        self.mine = True
        self.asked: list[tuple[str, str, float]] = []
        self.into: dict[str, str] = {}

    async def identities_of(self, attackers: list[str]) -> dict[str, str]:
        return {attacker: await self.canonical_identity(f"i-{attacker}") for attacker in attackers}

    async def canonical_identity(self, identity: str) -> str:
        return self.into.get(identity, identity)

    async def technique_counts(self) -> list[dict[str, Any]]:
        return [
            {"technique_id": "T1105", "sub_technique_id": None},
            {"technique_id": "T1059", "sub_technique_id": "T1059.004"},
        ]

    async def lease_acquire(self, name: str, owner: str, ttl_s: float) -> bool:
        self.asked.append((name, owner, ttl_s))
        return self.mine


def make(**settings: Any) -> tuple[Notifier, FakeRepo, MemoryBus]:
    """A notifier on the clock of the running loop, or on one that stands."""
    try:
        clock = asyncio.get_running_loop().time
    except RuntimeError:
        clock = lambda: 0.0  # noqa: E731
    repo = FakeRepo()
    bus = MemoryBus(settings=BusSettings(type="memory"), broker=Broker(BusSettings(type="memory")))
    given = NotifySettings(**{"command": "tell --fixed", **settings})
    return Notifier(given, repo, bus, clock), repo, bus  # type: ignore[arg-type]


def tagged(*techniques: Any, **more: Any) -> Event:
    return Event("ttp.tagged", {"techniques_added": list(techniques), **more}, ts=5.0)


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    with capture_logs() as entries:
        yield entries


def test_so_many_runs_a_minute_and_not_one_more() -> None:
    pace = Pace(3)
    for at in (100.0, 101.0, 102.0):
        assert pace.wait(at) == 0
        pace.ran(at)
    assert pace.wait(102.0) == 58.0
    assert pace.wait(159.0) == 1.0
    assert pace.wait(160.0) == 0
    assert pace.wait(500.0) == 0
    pace.ran(160.0)
    assert pace.wait(160.0) == 1.0, "the second run of the last minute counts next"


@in_skipped_time
async def test_messages_are_told_in_order_one_at_a_time_within_the_pace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, *_ = make(per_minute=2)
    told: list[tuple[float, Any]] = []
    at_once: list[int] = [0]

    async def run(message: dict[str, Any]) -> None:
        at_once[0] += 1
        assert at_once[0] == 1
        told.append((now() - 1000, message["n"]))
        await asyncio.sleep(5)
        at_once[0] -= 1

    monkeypatch.setattr(made, "_run", run)
    task = asyncio.create_task(made.deliver())
    await asyncio.sleep(1)
    for n in range(5):
        made._put({"kind": "test", "n": n})
    await asyncio.sleep(200)
    assert told == [(1, 0), (6, 1), (61, 2), (66, 3), (121, 4)]
    made._put({"kind": "test", "n": 5})
    await asyncio.sleep(1)
    assert told[-1] == (201, 5), "it waits for news and wakes up for them"
    task.cancel()


async def test_a_message_names_the_identity_as_it_is_called_now() -> None:
    made, repo, _ = make()
    repo.into = {"i-a": "w", "old": "new"}
    assert await made._named({"attacker_uuid": "a", "identity_uuid": "old"}) == {
        "attacker_uuid": "a",
        "identity_uuid": "w",
    }
    assert await made._named({"identity_uuid": "old"}) == {"identity_uuid": "new"}
    assert await made._named({"identity_uuid": None, "n": 1}) == {"identity_uuid": None, "n": 1}


def test_the_queue_is_bounded_and_what_is_dropped_counts(logged: list[Any]) -> None:
    made, *_ = make()
    for n in range(QUEUE):
        made._put({"kind": "test", "n": n})
    assert made.dropped == 0
    for n in range(2):
        made._put({"kind": "late", "n": n})
    assert made.dropped == 2
    assert [entry["dropped"] for entry in logged] == [1, 2]
    assert [m["n"] for m in made._waiting] == list(range(QUEUE)), "the oldest are told"


@in_skipped_time
async def test_of_several_engines_the_one_with_the_lease_tells() -> None:
    made, repo, bus = make()
    await bus.connect()
    tasks = [asyncio.create_task(made.follow_tags()), asyncio.create_task(made.follow_alerts())]
    await asyncio.sleep(1)

    async def publish(event: Event) -> int:
        await bus.publish_events([event])
        await asyncio.sleep(1)
        return len(made._waiting)

    assert await publish(tagged("T1105")) == 0
    assert repo.asked == [], "what is no news needs no lease"
    repo.mine = False
    assert await publish(tagged("T1082")) == 0
    assert await publish(Event(ALERT, {"identity_uuid": "i"})) == 0
    assert repo.asked == [("notify", OWNER, 30.0)] * 2
    repo.mine = True
    assert await publish(tagged("T1082")) == 0, "the other engine has told it"
    assert await publish(tagged("T1070", "T1016")) == 2
    assert await publish(Event(ALERT, {"identity_uuid": "i"})) == 3
    assert [m["kind"] for m in made._waiting][-1] == "multi_actor_suspected"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await bus.close()


@in_skipped_time
async def test_only_techniques_that_nobody_stored_or_saw_are_news() -> None:
    made, *_ = make()
    follow = asyncio.create_task(made.follow_tags())
    await asyncio.sleep(1)
    follow.cancel()
    who = {"attacker_uuid": "a", "identity_uuid": "i", "session_id": "s", "secret": "x"}
    found = made.messages(tagged("T1059.004", "T1105", "T1059", 7, None, **who))
    assert found == [
        {"kind": "technique_first_seen", "ts": 5.0, "technique_id": "T1059",
         "technique_name": "Command and Scripting Interpreter", "attacker_uuid": "a", "identity_uuid": "i",
         "session_id": "s"}
    ]  # fmt: skip
    assert made.messages(tagged("T1059")) == []
    assert made.messages(Event("ttp.tagged", {"techniques_added": "T1082"})) == []
    assert made.messages(Event("ttp.tagged", {})) == []


class FakeProcess:
    """A program that takes so long or fails."""

    def __init__(self, takes_s: float, code: int) -> None:
        self.takes_s, self.code = takes_s, code
        self.returncode: int | None = None
        self.said = b""
        self.calls: list[str] = []

    async def communicate(self, body: bytes) -> None:
        self.said = body
        await asyncio.sleep(self.takes_s)
        self.returncode = self.code

    def kill(self) -> None:
        self.calls.append("kill")
        self.returncode = -9

    async def wait(self) -> None:
        self.calls.append("wait")


@pytest.mark.parametrize(
    ("takes_s", "code", "took", "calls", "said"),
    [
        (9.0, 0, 9.0, [], []),
        (9.0, 3, 9.0, [], ["notify command failed"]),
        (11.0, 0, 10.0, ["kill", "wait"], ["notify command took too long and was ended", "notify command failed"]),
    ],
)  # fmt: skip
@in_skipped_time
async def test_a_run_gets_its_message_on_stdin_and_ends_in_time(
    takes_s: float, code: int, took: float, calls: list[str], said: list[str]
) -> None:
    made, *_ = make(timeout_s=10.0)
    process = FakeProcess(takes_s, code)
    started: list[Any] = []

    async def start(*argv: str, **streams: int) -> FakeProcess:
        started.append((argv, streams))
        return process

    with pytest.MonkeyPatch.context() as patch, capture_logs() as logged:
        patch.setattr(asyncio, "create_subprocess_exec", start)
        await made._run({"kind": "test", "text": "$(reboot)\x00\udc80é\n"})
    null, pipe = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
    assert started == [(("tell", "--fixed"), {"stdin": pipe, "stdout": null, "stderr": null})]
    assert now() - 1000 == took
    assert process.calls == calls
    assert [entry["event"] for entry in logged] == said
    assert process.said.endswith(b"\n")
    assert process.said.count(b"\n") == 1
    assert process.said.isascii()
    assert json.loads(process.said) == {"kind": "test", "text": "$(reboot)\ufffd\ufffdé\n"}


@in_skipped_time
async def test_a_run_that_is_cut_leaves_no_program_behind() -> None:
    made, *_ = make()
    process = FakeProcess(1000.0, 0)

    async def start(*_argv: str, **_streams: int) -> FakeProcess:
        return process

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "create_subprocess_exec", start)
        running = asyncio.create_task(made._run({"kind": "test"}))
        await asyncio.sleep(1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert process.calls == ["kill", "wait"]


async def test_a_program_that_is_not_there_is_said_and_survived(tmp_path: Path, logged: list[Any]) -> None:
    made, *_ = make(command=str(tmp_path / "none"))
    await made._run({"kind": "test"})
    assert [(entry["log_level"], entry["event"]) for entry in logged] == [
        ("error", "notify command cannot be run")
    ]


def test_a_command_is_split_as_a_shell_would_and_run_by_none() -> None:
    assert split_command("'a b' --x \"$(c)\"") == ["a b", "--x", "$(c)"]
    for wrong in (None, "", "'open"):
        with pytest.raises(ConfigError):
            split_command(wrong)
