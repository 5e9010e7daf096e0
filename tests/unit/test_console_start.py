"""How the console starts and ends, what it attaches to, and the files that it writes."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from decnet.bus.connection import Connection, write_connection
from decnet.config import Settings
from decnet.errors import DatabaseError, DecnetError, EngineError
from decnet_tui.launch import attach, console, plain
from decnet_tui.launch.console import How
from decnet_tui.launch.plain import PlainReader
from decnet_tui.model import export, last_look
from decnet_tui.model.access import operator
from decnet_tui.model.feed import Feed
from decnet_tui.widgets import clipboard
from tests.consolekit import Clock, FakeBus, FakeSession

NOW = 1_700_000_000.0


# --- plain mode


class Gone(io.StringIO):
    """An output whose reader went away."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


async def test_plain_mode_ends_when_the_reader_of_its_output_is_gone() -> None:
    session = FakeSession()
    with pytest.raises(BrokenPipeError):
        await plain.run_plain(Settings(), session, Gone())


class Broken:
    """A database that cannot be read."""

    async def heartbeats(self) -> list[Any]:
        raise DatabaseError("gone")


async def test_plain_mode_lives_without_a_database_and_stops_when_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = FakeSession()
    session.repo = Broken()
    asked = asyncio.Event()
    asked.set()
    monkeypatch.setattr(plain, "_stop", lambda: asked)
    out = io.StringIO()
    await asyncio.wait_for(plain.run_plain(Settings(), session, out), 5)
    assert out.getvalue() == ""


def test_plain_mode_says_that_the_bus_is_gone_and_is_back() -> None:
    feed, state = Feed(), SimpleNamespace(live=False, retries=0)
    reader = PlainReader(feed, state, "host")  # type: ignore[arg-type]
    said = []
    for live, retries in ((False, 0), (True, 0), (True, 0), (False, 1), (False, 2), (True, 0)):
        state.live, state.retries = live, retries
        said += [line.split(maxsplit=1)[1] for line in reader.lines(NOW)]
    assert said == ["host LIVE", "host DISCONNECTED", "host LIVE"]


# --- files


async def test_an_export_never_writes_over_another_and_never_outside_its_folder(tmp_path: Path) -> None:
    nothing = export.Shown(["traffic"], [], export.sheet_of([]))
    first, _ = await export.write(tmp_path, nothing, "json")
    stamp = first.stem
    outside = tmp_path / "outside"
    outside.write_text("kept")
    for number in range(1, 4):
        (first.parent / f"{stamp}-{number}.jsonl").symlink_to(outside)
    for number in (0, 4):
        descriptor, path = export._fresh(first.parent, stamp if number else f"new-{stamp}", "jsonl")
        os.close(descriptor)
        assert path.name == (f"{stamp}-4.jsonl" if number else f"new-{stamp}.jsonl")
    assert outside.read_text() == "kept"
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert stat.S_IMODE(first.parent.stat().st_mode) == 0o700


async def test_a_folder_that_is_full_of_exports_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(*_: Any) -> int:
        raise FileExistsError

    monkeypatch.setattr(export.os, "open", taken)
    with pytest.raises(FileExistsError, match="too many exports"):
        export._fresh(tmp_path, "x", "csv")


async def test_an_export_holds_one_record_a_line_and_nothing_that_is_obeyed(tmp_path: Path) -> None:
    records = [{"a": "\u202e\n\x1b"}, b'{"b":1}']
    path, count = await export.write(tmp_path, export.Shown(["x"], records, export.sheet_of(records)), "json")
    assert count == 2
    assert path.read_bytes() == b'{"a": "\\u202e\\n\\u001b"}\n{"b":1}\n'


@pytest.mark.parametrize("size", [clipboard.MAX_BYTES - 1, clipboard.MAX_BYTES, clipboard.MAX_BYTES + 1])
def test_a_copy_ends_at_its_limit(size: int) -> None:
    sequence = clipboard.osc52("x" * size, tmux=False)
    assert sequence.startswith("\x1b]52;c;")
    assert sequence.endswith("\a")
    assert len(base64.b64decode(sequence[7:-1])) == min(size, clipboard.MAX_BYTES)


def test_a_copy_is_visible_text_line_by_line_and_bounded_after_that_too() -> None:
    sequence = clipboard.osc52("a\x1b[2J\n\u202eb", tmux=False)
    assert base64.b64decode(sequence[7:-1]) == b"a\\e[2J\n\\u202eb"
    long = clipboard.osc52("\u202e" * clipboard.MAX_BYTES, tmux=False)
    assert len(base64.b64decode(long[7:-1])) == clipboard.MAX_BYTES
    inside = clipboard.osc52("x", tmux=True)
    assert inside == "\x1bPtmux;\x1b\x1b]52;c;eA==\a\x1b\\"


def test_only_a_terminal_is_asked_where_its_cursor_is() -> None:
    written: list[str] = []
    driver = SimpleNamespace(write=written.append, flush=lambda: written.append("flush"))
    for headless in (True, False):
        clipboard.ask_position(SimpleNamespace(is_headless=headless, _driver=driver))  # type: ignore[arg-type]
    assert written == ["\x1b[6n", "flush"]
    assert clipboard.copy(SimpleNamespace(_driver=None), "abc").says.startswith("copied 3 ")  # type: ignore[arg-type]
    long = clipboard.copy(SimpleNamespace(_driver=driver), "a" * 70_000)  # type: ignore[arg-type]
    assert long.says.startswith(f"copied {clipboard.MAX_BYTES} ")


def test_the_last_look_is_private_and_each_operators_own(tmp_path: Path) -> None:
    last_look.write(tmp_path, "eve", NOW)
    path = tmp_path / last_look.FILE_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    last_look.write(tmp_path, "bob", NOW + 5)
    assert (last_look.read(tmp_path, "eve"), last_look.read(tmp_path, "bob")) == (NOW, NOW + 5)
    for text in ("[1]", '{"eve": "x"}', "", "\udcff".encode("utf-8", "surrogateescape").decode("latin-1")):
        path.write_text(text)
        assert last_look.read(tmp_path, "eve") is None
    last_look.write(tmp_path, "eve")
    assert json.loads(path.read_text()).keys() == {"eve"}


# --- starting and leaving


class FakeApp:
    """The app as it ends: ``result`` and ``return_code`` are what it leaves."""

    result: str | None = "quit"
    code = 0

    def __init__(self, settings: Settings, *, session: Any, read_only: bool) -> None:
        self.return_code = self.code

    async def run_async(self) -> str | None:
        return self.result


@pytest.mark.parametrize(
    ("result", "read_only", "looked", "headless"),
    [("quit", False, True, False), ("headless", False, True, True), ("quit", True, False, False), (None, False, False, False)],
)  # fmt: skip
async def test_the_last_look_moves_when_an_operator_left_who_could_have_seen(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    result: Any,
    read_only: bool,
    looked: bool,
    headless: bool,
) -> None:
    await left(monkeypatch)
    monkeypatch.setattr(FakeApp, "result", result)
    settings = Settings(data_dir=tmp_path)
    assert await console._full_screen(settings, How(read_only=read_only)) is headless
    assert (last_look.read(tmp_path, "eve@console") is not None) is looked


async def left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The full screen without a screen."""

    @asynccontextmanager
    async def session(*_: Any) -> AsyncIterator[FakeSession]:
        yield FakeSession()

    monkeypatch.setattr("decnet_tui.app.DecnetApp", FakeApp)
    monkeypatch.setattr(console, "_session", session)
    monkeypatch.setattr(console, "gc", SimpleNamespace(disable=lambda: None))
    monkeypatch.setattr(console, "_starting", lambda text: None)


async def test_a_console_that_failed_has_seen_nothing_and_says_so_by_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await left(monkeypatch)
    monkeypatch.setattr(FakeApp, "code", 1)
    monkeypatch.setattr(FakeApp, "result", None)
    with pytest.raises(EngineError, match="a fault of its own"):
        await console._full_screen(Settings(data_dir=tmp_path), How())
    assert last_look.read(tmp_path, "eve@console") is None


@pytest.mark.parametrize(
    ("stdin", "stdout", "term", "screen"),
    [(True, True, "xterm", True), (False, True, "xterm", False), (True, False, "xterm", False), (True, True, "dumb", False),
     (True, True, None, False)],
)  # fmt: skip
def test_a_full_screen_needs_a_terminal_at_both_ends(
    monkeypatch: pytest.MonkeyPatch, stdin: bool, stdout: bool, term: str | None, screen: bool
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: stdin))
    monkeypatch.setattr("sys.stdout", SimpleNamespace(isatty=lambda: stdout))
    monkeypatch.delenv("TERM", raising=False)
    if term:
        monkeypatch.setenv("TERM", term)
    assert console.has_terminal() is screen


def test_a_log_file_is_private_and_two_at_most_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_MAX_LOG_BYTES", 10)
    path = console._log_file(tmp_path / "console.log")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for size, moved in ((10, False), (11, True)):
        path.write_text("x" * size)
        console._log_file(path)
        assert (tmp_path / "console.log.1").exists() is moved
    assert path.read_text() == ""
    path.write_text("y" * 11)
    console._log_file(path)
    assert (tmp_path / "console.log.1").read_text() == "y" * 11
    assert {p.name for p in tmp_path.iterdir()} == {"console.log", "console.log.1"}


class Process:
    """An engine that was started; ``code`` is how it ended."""

    pid = 4242

    def __init__(self, code: int | None) -> None:
        self.code = code

    def poll(self) -> int | None:
        return self.code


URL = "postgresql://me:secret@db.example/decnet"


def start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, process: Process, found: list[Any], clock: Clock
) -> list[str]:
    """Starts it behind; the command that was run."""
    commands: list[list[str]] = []

    def popen(command: list[str], **how: Any) -> Process:
        assert how["start_new_session"]
        assert how["env"]["DECNET_DB"] == URL
        assert not any("secret" in part for part in command)
        commands.append(command)
        return process

    def sleep(seconds: float) -> None:
        clock.at += seconds

    monkeypatch.setattr(console.subprocess, "Popen", popen)
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=clock, sleep=sleep))
    monkeypatch.setattr(console, "read_connection", lambda _: found.pop(0) if len(found) > 1 else found[0])
    argv = ["decnet-tui", "--read-only", "--db", URL, "--sensor", "cowrie=/x", f"--db={URL}"]
    assert console.start_behind(Settings(data_dir=tmp_path, db=URL), argv) == 4242
    return commands[0][3:]


def test_an_engine_left_behind_is_waited_for_by_its_own_pid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    found = [None, SimpleNamespace(pid=1), SimpleNamespace(pid=4242)]
    command = start(tmp_path, monkeypatch, Process(None), found, clock)
    assert command == ["--sensor", "cowrie=/x", "--headless"]
    assert clock.at == pytest.approx(1000.2)
    with pytest.raises(EngineError, match="did not start again"):
        start(tmp_path, monkeypatch, Process(1), [None], Clock())
    late = Clock()
    with pytest.raises(EngineError, match=r"engine\.log"):
        start(tmp_path, monkeypatch, Process(None), [SimpleNamespace(pid=1)], late)
    assert late.at == pytest.approx(1000 + console.START_S, abs=0.2)


# --- attaching


class Opened:
    """A repository that can be opened and closed, or not."""

    opened = 0
    closed = 0
    fails = False

    @classmethod
    async def open(cls, url: str) -> Opened:
        if cls.fails:
            raise DatabaseError("no such host")
        cls.opened += 1
        return cls()

    async def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> type[Opened]:
    monkeypatch.setattr("decnet.db.repository.BaseRepository", Opened)
    Opened.opened, Opened.closed, Opened.fails = 0, 0, False
    return Opened


async def test_a_store_is_opened_once_and_closed_with_the_session(opened: type[Opened]) -> None:
    session = attach.ConsoleSession(FakeBus(), Settings(), db_url="sqlite:///x")  # type: ignore[arg-type]
    assert session.opening
    with pytest.raises(DecnetError, match="without a database"):
        await session.list_rules()
    await session.open_store()
    await session.open_store()
    assert (opened.opened, session.opening, session.repo is not None) == (1, False, True)
    await session.close()
    assert opened.closed == 1


async def test_a_store_that_cannot_be_opened_leaves_an_attachment_without_one(opened: type[Opened]) -> None:
    opened.fails = True
    session = attach.ConsoleSession(FakeBus(), Settings(), db_url="sqlite:///x")  # type: ignore[arg-type]
    with pytest.raises(DatabaseError):
        await session.open_store()
    assert (session.opening, session.repo) == (False, None)
    await session.open_store()
    await session.close()
    assert opened.closed == 0
    assert not attach.ConsoleSession(FakeBus(), Settings()).opening  # type: ignore[arg-type]


def connection(**over: Any) -> Connection:
    return Connection(**{"bus_url": "nats://127.0.0.1:1", "db_url": "sqlite:///own", "token": "t", **over})


async def test_an_attachment_takes_the_engine_that_runs_or_says_that_none_does(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with pytest.raises(DecnetError, match="no engine runs on"):
        attach.attach(settings)
    path = write_connection(tmp_path, connection())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    session = attach.attach(settings)
    assert (session._db_url, session.engine_inside, session.opening) == ("sqlite:///own", False, True)
    await session.close()
    other = attach.attach(settings, url="nats://127.0.0.1:2")
    assert other._db_url is None, "the database of another engine is not this one's"
    await other.close()
    named = attach.attach(Settings(data_dir=tmp_path, db="sqlite:///named"), url="nats://127.0.0.1:2")
    assert named._db_url == "sqlite:///named"
    await named.close()


def test_the_file_of_an_engine_that_is_gone_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(error: type[Exception]) -> None:
        def kill(pid: int, number: int) -> None:
            raise error

        monkeypatch.setattr("decnet.bus.connection.os.kill", kill)

    write_connection(tmp_path, connection(mark=""))
    answer(ProcessLookupError)
    with pytest.raises(DecnetError, match="no engine runs"):
        attach.attach(Settings(data_dir=tmp_path))
    answer(PermissionError)
    assert attach.attach(Settings(data_dir=tmp_path)) is not None, "another user's process is one that lives"


async def test_an_engine_inside_that_is_stuck_says_so() -> None:
    session = attach.ConsoleSession(FakeBus(), Settings())  # type: ignore[arg-type]
    await session.played(1.0)

    async def stuck(seconds: float) -> str:
        return "ttp has 3 events"

    session._engine = SimpleNamespace(until_idle=stuck)  # type: ignore[assignment]
    with pytest.raises(EngineError, match="stuck: ttp has 3 events"):
        await session.played(1.0)


def test_an_operator_without_a_name_is_still_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("uid")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert operator("console") == "console"
