"""The embedded server: loopback and a token, one engine a directory, started again when it ends or wedges."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from decnet.bus.nats import server as subject
from decnet.bus.nats.server import (
    BACKOFF_S,
    LOG_BYTES,
    MIN_FREE_BYTES,
    STORE_SLACK,
    EmbeddedServer,
    free_port,
)
from decnet.config import BusSettings
from decnet.errors import EngineError

SETTINGS = BusSettings(max_stream_bytes=2**21, max_blob_store_bytes=2**25, server_start_timeout_s=5.0)


class Process:
    """A server process that ends when a test or a signal says so."""

    def __init__(self, pid: int = 4_000_000, *, stubborn: bool = False) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.asked: list[str] = []
        self.stubborn = stubborn
        self._ended = asyncio.Event()

    def end(self, code: int = 0) -> None:
        self.returncode = code
        self._ended.set()

    def terminate(self) -> None:
        self.asked.append("terminate")
        if not self.stubborn:
            self.end(-15)

    def kill(self) -> None:
        self.asked.append("kill")
        self.end(-9)

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode


class World:
    """An embedded server without a server: launches, answers and pauses by hand."""

    def __init__(self, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = EmbeddedServer(data_dir, SETTINGS)
        self.server.dir.mkdir(parents=True, exist_ok=True)
        self.launched: list[tuple[tuple[str, ...], dict[str, Any]]] = []
        self.processes: list[Process] = []
        self.slept: list[float] = []
        self.ports = iter(range(40_001, 40_100))
        self.ready = True
        self.made: Callable[[Process], None] = lambda process: None
        self.free = MIN_FREE_BYTES
        self.patched = monkeypatch
        monkeypatch.setattr(subject, "server_binary", lambda: "/bin/nats-server")
        monkeypatch.setattr(subject, "free_port", lambda: next(self.ports))
        monkeypatch.setattr(subject.asyncio, "create_subprocess_exec", self.launch)
        monkeypatch.setattr(self.server, "_answers", self.answers)
        monkeypatch.setattr(subject.shutil, "disk_usage", lambda path: SimpleNamespace(free=self.free))

    async def launch(self, *command: str, **options: Any) -> Process:
        self.launched.append((command, options))
        self.processes.append(Process(4_000_000 + len(self.processes)))
        self.made(self.processes[-1])
        return self.processes[-1]

    async def answers(self) -> bool:
        return self.ready

    def without_pauses(self) -> None:
        """Pauses are kept and not made."""

        async def pause(seconds: float) -> None:
            self.slept.append(seconds)

        self.patched.setattr(subject.asyncio, "sleep", pause)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def settings_of(server: EmbeddedServer) -> dict[str, str]:
    """The settings file, one entry a line."""
    lines = (line.strip() for line in server.config_path.read_text("utf-8").splitlines())
    pairs = (line.partition(": ") for line in lines if ": " in line and "{" not in line)
    return {key: value for key, _, value in pairs}


async def test_it_listens_on_the_loopback_behind_a_token_and_within_its_room(world: World) -> None:
    await world.server.start()
    try:
        found = settings_of(world.server)
        text = world.server.config_path.read_text("utf-8")
    finally:
        await world.server.stop()
    assert found["listen"] == '"127.0.0.1:40001"'
    assert f"authorization {{ token: {json.dumps(world.server.token)} }}" in text
    assert found["store_dir"] == json.dumps(str(world.server.dir / "store"))
    assert int(found["max_file_store"]) == 2**21 + 2**25 + STORE_SLACK
    assert (int(found["max_memory_store"]), STORE_SLACK) == (STORE_SLACK, 64 * 2**20)
    assert int(found["max_payload"]) == 2**20
    assert found["sync_interval"] == '"1s"'
    assert (int(found["logfile_size_limit"]), found["logfile_max_num"], LOG_BYTES) == (
        LOG_BYTES,
        "2",
        4 * 2**20,
    )
    assert world.server.url == "nats://127.0.0.1:40001"


def test_an_event_of_the_greatest_size_fits_the_server(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path, BusSettings(max_event_bytes=2**20))
    server.dir.mkdir()
    server._write_config()
    assert int(settings_of(server)["max_payload"]) == 2**21


async def test_its_files_are_private_and_its_token_is_on_no_command_line(world: World) -> None:
    assert world.server.url == ""
    assert world.server.pid is None
    mask = os.umask(0)
    try:
        world.server.dir.rmdir()
        await world.server.start()
    finally:
        os.umask(mask)
    try:
        assert stat.S_IMODE(world.server.config_path.stat().st_mode) == 0o600
        assert stat.S_IMODE(world.server.dir.stat().st_mode) == 0o700
        ((command, options),) = world.launched
        assert command == ("/bin/nats-server", "-c", str(world.server.config_path))
        assert options["start_new_session"] is True
        assert callable(options["preexec_fn"])
        assert "env" not in options
        assert world.server.pid_path.read_text() == str(world.server.pid) == "4000000"
    finally:
        await world.server.stop()
    assert not world.server.pid_path.exists()
    assert world.server.pid is None


def test_each_server_has_a_long_token_of_its_own(tmp_path: Path) -> None:
    one, other = EmbeddedServer(tmp_path), EmbeddedServer(tmp_path)
    assert one.token != other.token
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", one.token)


async def test_starting_twice_starts_one_server_and_stopping_twice_stops_it(world: World) -> None:
    await world.server.start()
    await world.server.start()
    assert len(world.launched) == 1
    await world.server.stop()
    await world.server.stop()
    assert world.processes[0].asked == ["terminate"]
    await world.server.start()
    assert len(world.launched) == 2
    await world.server.stop()


async def test_one_engine_a_directory(world: World, tmp_path: Path) -> None:
    await world.server.start()
    with pytest.raises(EngineError, match=rf"an engine already runs on .* \(pid {os.getpid()}\)"):
        await EmbeddedServer(tmp_path, SETTINGS).start()
    assert len(world.launched) == 1
    await world.server.stop()
    other = World(tmp_path, world.patched)
    await other.server.start()
    await other.server.stop()


async def test_a_start_that_fails_leaves_neither_a_process_nor_a_lock(world: World) -> None:
    def dead(process: Process) -> None:
        process.end(1)

    world.ready, world.made = False, dead
    world.server.log_path.write_text("")
    with pytest.raises(EngineError, match="ended at start: nothing in its log"):
        await world.server.start()
    assert len(world.launched) == 1
    world.made = lambda process: None
    world.server.settings = SETTINGS.model_copy(update={"server_start_timeout_s": 0.01})
    with pytest.raises(EngineError, match="did not become ready"):
        await world.server.start()
    assert world.processes[-1].asked == ["terminate"]
    assert world.server._lock is None

    def breaks(process: Process) -> None:
        world.server.words_path.write_bytes(b"fatal error: no memory \xff\n\nruntime stack:\n" + b"x" * 2000)
        process.end(2)

    world.ready, world.made = False, breaks
    with pytest.raises(EngineError, match=r"ended at start: fatal error: no memory \ufffd$"):
        await world.server.start()
    assert oct(world.server.words_path.stat().st_mode)[-3:] == "600"
    world.made = lambda process: None
    world.ready = True
    await world.server.start()
    await world.server.stop()


async def test_a_port_that_somebody_took_is_chosen_anew_three_times_at_most(world: World) -> None:
    def taken(process: Process) -> None:
        with world.server.log_path.open("a") as log:
            log.write("[FTL] listen tcp 127.0.0.1:1: bind: address already in use\n")
        process.end(1)

    world.ready, world.made = False, taken
    with pytest.raises(EngineError, match="address already in use"):
        await world.server.start()
    assert len(world.launched) == 3
    assert settings_of(world.server)["listen"] == '"127.0.0.1:40003"'


async def test_another_fault_at_the_start_is_not_tried_again(world: World) -> None:
    def broken(process: Process) -> None:
        world.server.log_path.write_text("[FTL] cannot open the store\n")
        process.end(1)

    world.ready, world.made = False, broken
    with pytest.raises(EngineError, match="cannot open the store"):
        await world.server.start()
    assert len(world.launched) == 1


async def test_a_program_that_cannot_be_started_is_an_engine_error(world: World) -> None:
    async def refused(*command: str, **options: Any) -> Process:
        raise PermissionError("not executable")

    world.patched.setattr(subject.asyncio, "create_subprocess_exec", refused)
    with pytest.raises(EngineError, match="cannot be started: not executable"):
        await world.server.start()


async def watched(world: World, until: Callable[[], bool]) -> None:
    """Runs the watcher of a started server until something holds."""
    async with asyncio.timeout(5):
        while not until():
            await asyncio.wait({world.server._watcher} if world.server._watcher else set(), timeout=0.001)


async def test_a_server_that_ends_is_started_again_with_its_port_and_token(world: World) -> None:
    await world.server.start()
    before = world.server.config_path.read_text()
    reasons: list[str] = []
    world.made = lambda process: reasons.append(world.server.last_error)
    world.processes[0].end(7)
    with capture_logs() as logs:
        await watched(world, lambda: len(world.launched) == 2)
    assert (world.server.restarts, world.server.last_error, reasons) == (1, "", ["exit code 7"])
    assert world.server.config_path.read_text() == before
    assert [(line["code"], line["restarts"]) for line in logs if "restarts" in line] == [(7, 1)]
    assert world.server.pid == 4_000_001
    await world.server.stop()
    assert world.processes[1].asked == ["terminate"]


async def test_restarts_in_a_row_wait_longer_and_longer(world: World) -> None:
    world.server._process = Process()  # type: ignore[assignment]
    world.without_pauses()
    failures = 0
    for number in range(1, 10):
        failures = await world.server._again(failures)
        assert (failures, world.server.restarts) == (number, number)
    assert world.slept == [0, *BACKOFF_S, BACKOFF_S[-1], BACKOFF_S[-1]]
    assert list(BACKOFF_S) == sorted(BACKOFF_S)
    assert (BACKOFF_S[0], BACKOFF_S[-1], subject.STOP_S) == (0.2, 10.0, 5.0)


async def test_a_restart_that_fails_says_why_and_leaves_no_process(world: World) -> None:
    world.server._process = Process()  # type: ignore[assignment]
    world.server._process.end(3)  # type: ignore[union-attr]
    world.without_pauses()
    world.ready = False
    world.made = lambda process: process.end(1)
    assert await world.server._again(0) == 1
    assert "ended at start" in world.server.last_error
    world.server.settings = SETTINGS.model_copy(update={"server_start_timeout_s": 0.001})
    world.made = lambda process: None
    world.patched.undo()
    world.patched.setattr(subject, "server_binary", lambda: "/bin/nats-server")
    world.patched.setattr(subject.asyncio, "create_subprocess_exec", world.launch)
    world.patched.setattr(world.server, "_answers", world.answers)
    world.patched.setattr(subject, "BACKOFF_S", (0,))
    assert await world.server._again(1) == 2
    assert "did not become ready" in world.server.last_error
    assert world.processes[-1].asked == ["terminate"]


@pytest.mark.parametrize(
    ("line", "wedged"),
    [
        ("[ERR] write /store: no space left on device", True),
        ("[ERR] JetStream out of resources, will be DISABLED", True),
        ("[ERR] Critical write error", True),
        ("[INF] JetStream resource limits exceeded", False),
        ("", False),
    ],
)
async def test_a_wedged_store_is_seen_in_the_log_and_the_server_started_again(
    world: World, line: str, wedged: bool
) -> None:
    world.server._process = process = Process()  # type: ignore[assignment]
    world.server.log_path.write_text("no space left on device, long ago\n")
    world.server._log_seen = world.server._log_size()
    with world.server.log_path.open("a") as log:
        log.write(line)
    await world.server._look_for_wedge()
    assert process.asked == (["terminate"] if wedged else [])
    assert world.server.last_error == ("the store is wedged: no room" if wedged else "")
    await world.server._look_for_wedge()
    assert world.server._fresh_log() == b""


async def test_a_wedged_server_waits_for_room(world: World) -> None:
    world.server._process = process = Process()  # type: ignore[assignment]
    world.server.log_path.write_text("no space left on device\n")
    assert MIN_FREE_BYTES == 64 * 2**20
    for _ in range(2):
        world.free = MIN_FREE_BYTES - 1
        await world.server._look_for_wedge()
        assert process.asked == []
        assert world.server.last_error == "the store is wedged: no room"  # health shows it meanwhile
    world.free = MIN_FREE_BYTES
    await world.server._look_for_wedge()
    assert process.asked == ["terminate"]


async def test_a_server_that_ran_for_a_while_is_started_again_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "WATCH_S", 0.001)
    looks: list[int] = []
    failures: list[int] = []

    async def look(silent: int) -> int:
        assert silent == 0  # a new process has not been silent yet
        looks.append(len(failures))
        process = world.server._process
        assert process is not None
        process.end(1)  # type: ignore[attr-defined]
        return 3

    async def again(number: int) -> int:
        failures.append(number)
        if len(failures) == 3:
            raise asyncio.CancelledError
        if len(failures) == 2:
            world.server._process = Process()  # type: ignore[assignment]
        return number + 1

    monkeypatch.setattr(world.server, "_look", look)
    monkeypatch.setattr(world.server, "_again", again)
    world.server._process = Process()  # type: ignore[assignment]
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(5):
            await world.server._watch()
    assert looks == [0, 2]
    assert failures == [0, 1, 0]


async def test_a_server_that_hangs_is_started_again_after_three_silent_looks(world: World) -> None:
    world.server._process = process = Process()  # type: ignore[assignment]
    silent = 0
    for expected in (1, 2):
        world.ready = False
        silent = await world.server._look(silent)
        assert (silent, process.asked) == (expected, [])
    world.ready = True
    assert await world.server._look(silent) == 0
    world.ready = False
    assert await world.server._look(subject.SILENT_LOOKS - 1) == 0
    assert (process.asked, world.server.last_error) == (["terminate"], "the server does not answer")
    assert await world.server._look(subject.SILENT_LOOKS - 1) == 0  # it ended: the watcher starts it
    assert (process.asked, subject.SILENT_LOOKS, subject.WATCH_S) == (["terminate"], 3, 4.0)


async def test_looking_at_a_server_looks_for_a_wedged_store(world: World) -> None:
    world.server._process = process = Process()  # type: ignore[assignment]
    world.server.log_path.write_text("no space left on device\n")
    assert await world.server._look(0) == 0
    assert process.asked == ["terminate"]


async def test_a_restart_names_its_reason_and_leaves_the_start_to_the_watcher(world: World) -> None:
    world.server._process = process = Process()  # type: ignore[assignment]
    await world.server.restart("asked for")
    assert (process.asked, world.server.last_error) == (["terminate"], "asked for")


async def test_a_server_that_does_not_end_is_killed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "STOP_S", 0.01)
    world.server._process = process = Process(stubborn=True)  # type: ignore[assignment]
    await world.server._end_process()
    assert (process.asked, world.server.pid) == (["terminate", "kill"], None)
    await world.server._end_process()
    assert process.asked == ["terminate", "kill"]

    class Gone(Process):
        def terminate(self) -> None:
            self.end()
            raise ProcessLookupError

    world.server._process = Gone()  # type: ignore[assignment]
    await world.server._end_process()


class Others:
    """Processes of the machine as ``_end_stale`` sees them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, dies_of: int) -> None:
        self.sent: list[tuple[int, int]] = []
        self.dies_of = dies_of
        self.slept: list[float] = []
        monkeypatch.setattr(subject, "process_alive", lambda pid: (pid, self.dies_of) not in self.sent)
        monkeypatch.setattr(subject.os, "kill", lambda pid, number: self.sent.append((pid, number)))
        monkeypatch.setattr(subject.asyncio, "sleep", self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_a_server_that_outlived_its_engine_is_ended_with_force_if_need_be(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.server, "_is_ours", lambda pid: pid == 77)
    world.server.pid_path.write_text("77")
    polite = Others(monkeypatch, signal.SIGTERM)
    await world.server._end_stale()
    assert (polite.sent, polite.slept) == ([(77, signal.SIGTERM)], [])
    stubborn = Others(monkeypatch, signal.SIGKILL)
    await world.server._end_stale()
    assert stubborn.sent == [(77, signal.SIGTERM), (77, signal.SIGKILL)]
    assert sum(stubborn.slept) == pytest.approx(subject.STOP_S)


@pytest.mark.parametrize("text", ["", "x", "78", None])
async def test_a_process_that_is_not_ours_is_left_alone(
    world: World, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    monkeypatch.setattr(world.server, "_is_ours", lambda pid: pid == 77)
    others = Others(monkeypatch, signal.SIGTERM)
    if text is not None:
        world.server.pid_path.write_text(text)
    await world.server._end_stale()
    assert others.sent == []


def test_only_a_nats_server_on_our_own_file_is_ours(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = str(world.server.config_path)
    lines = {
        "1": ["/x/bin/nats-server", "-c", ours],
        "2": ["/x/bin/nats-server", "-c", "/elsewhere/nats-server.conf"],
        "3": ["/usr/bin/vi", ours],
        "4": ["/home/nats-server/vi", ours],
        "5": [""],
    }

    def read_bytes(self: Path) -> bytes:
        try:
            return "\0".join([*lines[self.parts[2]], ""]).encode()
        except KeyError:
            raise FileNotFoundError from None

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    assert [pid for pid in range(1, 7) if world.server._is_ours(pid)] == [1]


async def test_a_stale_server_is_ended_before_ours_starts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    async def end_stale() -> None:
        assert world.server._lock is not None
        order.append("ended")

    def launched(process: Process) -> None:
        order.append("launched")

    monkeypatch.setattr(world.server, "_end_stale", end_stale)
    world.made = launched
    await world.server.start()
    await world.server.stop()
    assert order == ["ended", "launched"]


async def greeted(greeting: bytes | None, tmp_path: Path) -> bool:
    """Whether a program that greets like this counts as a server that takes clients."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if greeting is not None:
            writer.write(greeting)
        writer.close()

    listener = await asyncio.start_server(greet, "127.0.0.1", 0)
    server = EmbeddedServer(tmp_path, SETTINGS)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        return await server._answers()
    finally:
        listener.close()
        await listener.wait_closed()


@pytest.mark.parametrize(
    ("greeting", "counts"),
    [
        (b'INFO {"a":1}\r\n', True),
        (b"SSH-2.0-x\r\n", False),
        (b"", False),
        (b"INFO\r\n", False),
        (b"x" * 70_000, False),
    ],
)
async def test_only_what_greets_like_a_nats_server_takes_clients(
    tmp_path: Path, greeting: bytes, counts: bool
) -> None:
    assert await greeted(greeting, tmp_path) is counts


async def test_a_port_where_nobody_is_takes_no_clients(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path, SETTINGS)
    server.port = free_port()
    assert not await server._answers()


def test_a_free_port_is_one_of_the_loopback() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free_port()))


def test_the_log_is_read_from_where_it_was_read_last_and_bounded(world: World) -> None:
    server = world.server
    assert server._fresh_log() == b""
    assert server._log_size() == 0
    server.log_path.write_bytes(b"a" * 100)
    assert server._fresh_log() == b"a" * 100
    with server.log_path.open("ab") as log:
        log.write(b"b" * 10)
    assert (server._fresh_log(), server._log_size()) == (b"b" * 10, 110)
    server.log_path.write_bytes(b"c" * 5)  # rotated
    assert server._fresh_log() == b"c" * 5
    server.log_path.write_bytes(b"d" * 100_000)
    assert len(server._fresh_log()) == 65_536
    server.log_path.write_bytes(b"")
    server._fresh_log()
    server.log_path.write_text("one\n" + "x" * 300 + "\nthree\n")
    assert server._log_tail() == "x" * 200 + " | three"


def test_the_wheels_own_server_is_used_before_one_of_the_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(subject.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(subject.shutil, "which", lambda name: f"/path/{name}")
    assert subject.server_binary() == "/path/nats-server"
    beside = tmp_path / "nats-server"
    beside.write_text("")
    assert subject.server_binary() == "/path/nats-server"
    beside.chmod(0o700)
    assert subject.server_binary() == str(beside)
    beside.unlink()
    monkeypatch.setattr(subject.shutil, "which", lambda name: None)
    with pytest.raises(EngineError, match="nats-server is not installed"):
        subject.server_binary()


def test_a_child_ends_with_its_parent_and_at_once_when_that_is_gone_already(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[int, ...]] = []
    library = SimpleNamespace(prctl=lambda *arguments: told.append(arguments))
    monkeypatch.setattr(subject.ctypes, "CDLL", lambda name, use_errno: library)
    monkeypatch.setattr(subject.os, "_exit", lambda code: told.append((code,)))
    in_child = subject._die_with_parent()
    assert in_child is not None
    monkeypatch.setattr(subject.os, "getppid", os.getpid)
    in_child()
    assert told == [(1, signal.SIGTERM)]
    monkeypatch.setattr(subject.os, "getppid", lambda: 1)
    in_child()
    assert told == [(1, signal.SIGTERM), (1, signal.SIGTERM), (1,)]
    monkeypatch.setattr(subject.sys, "platform", "darwin")
    assert subject._die_with_parent() is None
