"""--notify: one run for each news, JSON on stdin, nothing of an attacker's on a command line, bounded runs."""

from __future__ import annotations

import asyncio
import json
import stat
import sys
from pathlib import Path

import pytest

from decnet.bus.base import Event
from decnet.bus.memory import MemoryBus
from decnet.config import NotifySettings
from decnet.db.repository import BaseRepository
from decnet.errors import ConfigError
from decnet.runtime.notify import Notifier, Pace, split_command
from tests.cowriegen import append_session
from tests.dbkit import open_repo
from tests.programkit import daemon, until

PROGRAM = """\
#!{python}
import json, sys
with open({out!r}, "a") as file:
    file.write(json.dumps({{"argv": sys.argv[1:], "told": json.load(sys.stdin)}}) + "\\n")
"""


def program(folder: Path) -> tuple[str, Path]:
    """A command that appends what it was told to a file."""
    path, out = folder / "tell me.py", folder / "told.jsonl"
    path.write_text(PROGRAM.format(python=sys.executable, out=str(out)), "utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return f"'{path}' --fixed", out


def told(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.read_text("utf-8").splitlines()] if out.exists() else []


def tagged(*techniques: str) -> Event:
    return Event("ttp.tagged", {"techniques_added": list(techniques), "attacker_uuid": "$(reboot)"})


async def notifier(repo: BaseRepository, command: str, **more: float) -> Notifier:
    return Notifier(NotifySettings(command=command, **more), repo, MemoryBus("test"))


async def test_a_technique_is_told_once_and_only_on_stdin(tmp_path: Path) -> None:
    command, out = program(tmp_path)
    async with open_repo("sqlite", tmp_path) as repo:
        made = await notifier(repo, command)
        await made.bus.connect()
        services = [
            asyncio.create_task(s())
            for s in (made.follow_tags, made.follow_alerts, made.follow_canaries, made.deliver)
        ]
        async with asyncio.timeout(30):
            while made._known is None:
                await asyncio.sleep(0.01)
            for event in (tagged("T1105", "T1082"), tagged("T1105")):
                await made.bus.publish(event.topic, event.payload)
            await made.bus.publish("attribution.profile.multi_actor_suspected", {"identity_uuid": "i"})
            await made.bus.publish("canary.t.triggered", {"token_id": "t", "first_trip": True})
            while len(told(out)) < 4:
                await asyncio.sleep(0.02)
        for service in services:
            service.cancel()
        await asyncio.gather(*services, return_exceptions=True)
        await made.bus.close()
    rows = told(out)
    assert all(row["argv"] == ["--fixed"] for row in rows)
    kinds = sorted((row["told"]["kind"], row["told"].get("technique_id")) for row in rows)  # type: ignore[index, attr-defined]
    assert kinds == [
        ("canary_first_trip", None),
        ("multi_actor_suspected", None),
        ("technique_first_seen", "T1082"),
        ("technique_first_seen", "T1105"),
    ]


def test_the_first_trip_of_a_canary_token_is_told_and_no_later_one() -> None:
    made = Notifier(NotifySettings(command="x"), None, MemoryBus("test"))  # type: ignore[arg-type]
    trip = {"token_id": "page-1", "trigger_id": "t", "decky_id": "web-01", "attacker_ip": "203.0.113.9"}
    agent = {"user_agent": "$(reboot)", "request_path": "/i/x"}

    def said(**more: object) -> list[dict[str, object]]:
        return made.messages(Event("canary.page-1.triggered", {**trip, **agent, **more}, ts=7.0))

    (message,) = said(first_trip=True)
    assert message.items() >= {"kind": "canary_first_trip", "ts": 7.0, **trip}.items()
    assert not message.keys() & agent.keys(), "nothing that a stranger wrote"
    assert [said(), said(first_trip=False), said(first_trip="yes")] == [[], [], []]


async def test_a_program_that_hangs_or_fails_stops_nothing(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        made = await notifier(repo, "sleep 60", timeout_s=0.2)
        async with asyncio.timeout(20):
            await made._run({"kind": "test"})
        for command in ("false", "/no/such/program"):
            await (await notifier(repo, command))._run({"kind": "test"})


async def test_what_waits_too_long_is_dropped_and_counted(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        made = await notifier(repo, "true")
        for _ in range(150):
            made._put({"kind": "test"})
        assert made.dropped == 50


def test_the_pace_is_kept() -> None:
    pace = Pace(2)
    assert pace.wait(100.0) == 0
    pace.ran(100.0)
    pace.ran(110.0)
    assert pace.wait(120.0) == 40.0
    assert pace.wait(160.0) == 0


@pytest.mark.parametrize("command", ["", "   ", "'open"])
def test_a_command_that_cannot_be_is_refused_at_the_start(command: str) -> None:
    with pytest.raises(ConfigError, match=r"notify\.command"):
        split_command(command)


@pytest.mark.slow
def test_the_daemon_notifies(tmp_path: Path) -> None:
    command, out = program(tmp_path)
    log = tmp_path / "cowrie.json"
    log.touch()
    with daemon(tmp_path / "data", tmp_path / "log", "--sensor", f"cowrie={log}", "--notify", command):
        append_session(log, "s1", ["crontab -l"])
        until(lambda: told(out), 60, "the program was run")
    assert {row["told"]["kind"] for row in told(out)} == {"technique_first_seen"}  # type: ignore[index]
