"""Decoys without Docker: one OpenCanary process for each decky, with just the chosen services.

The processes outlive the engine on purpose. A decoy that vanishes whenever the engine is upgraded tells
an attacker what it is, and what happens meanwhile is in its log, which the sensor reads on from its
checkpoint. So nothing about them is remembered: after a restart they are found by their command line,
and what they run is read off the sockets they really listen on. An empty fleet file takes them down.

A rotation ends the old process and starts the new one, since both may want a pinned service's port. All that
can be checked is checked before; if the new one does not come up all the same, the old one is started again.
Only modules that keep to one listening address are in the catalogue, the configuration beside the process is
the only one that counts, and what an attacker can make it write is bounded. Decoys run as the engine's own
user: rather than root, give it the capability to open low ports.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from decnet.config import MutatorSettings, Settings
from decnet.errors import SubstrateError
from decnet.mutator.substrate import process
from decnet.mutator.substrate.base import Substrate, Target
from decnet.mutator.substrate.files import write_whole
from decnet.services import Catalogue

STOP_S = 5.0
"""Seconds a decoy has to end after SIGTERM."""
_LOOK_S = 0.05
_LAST_WORDS = 4096


def environment_of(settings: MutatorSettings, data_dir: Path) -> Path:
    """Where OpenCanary's environment is or will be."""
    return settings.opencanary_env or data_dir / "opencanary-env"


def missing_part(environment: Path) -> str:
    """What an environment lacks; empty when OpenCanary can be started from it."""
    for name in ("python", "twistd", "opencanary.tac"):
        if not (environment / "bin" / name).exists():
            return f"{environment / 'bin' / name} is missing"
    return ""


@dataclass(frozen=True, slots=True)
class _Home:
    """The files of one decoy."""

    directory: Path
    log: Path

    @property
    def config(self) -> Path:
        return self.directory / "opencanary.conf"

    @property
    def tac(self) -> Path:
        """Its absolute path is also what the process is known by."""
        return self.directory / "decoy.tac"

    @property
    def pid_file(self) -> Path:
        return self.directory / "decoy.pid"

    @property
    def words(self) -> Path:
        return self.directory / "decoy.out"


class OpenCanarySubstrate(Substrate):
    """Real processes on this host."""

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self._settings = settings.mutator
        self._environment = environment_of(settings.mutator, settings.data_dir).absolute()
        self._decoys = settings.data_dir.absolute() / "fleet" / "decoys"
        self._logs = settings.fleet_logs_dir.absolute()
        self._catalogue = catalogue

    def _home(self, decky: Target) -> _Home:
        return _Home(self._decoys / decky.name, self._logs / f"{decky.name}.json")

    async def apply(self, decky: Target, services: Sequence[str]) -> None:
        """Starts, restarts or leaves alone; see the module. Raises SubstrateError."""
        await asyncio.to_thread(self._check_environment)
        home, wanted = self._home(decky), self._sockets(decky, services)
        running = await asyncio.to_thread(self._pids, home)
        before = set().union(*(process.listening(pid) for pid in running)) if running else set()
        if len(running) == 1 and before == wanted:
            return
        self._check_ports(wanted - before)
        old = self._read_config(home)
        await self._stop(home, running)
        try:
            await self._start(home, self._config(decky, services, home), wanted)
        except SubstrateError as error:
            await self._bring_back(home, old if running else None, before, str(error))
            raise

    async def _bring_back(
        self, home: _Home, old: bytes | None, before: set[process.Socket], why: str
    ) -> None:
        """The old decoy again, as far as that goes."""
        await self._stop(home, await asyncio.to_thread(self._pids, home))
        if old is None:
            return
        try:
            await self._start(home, old, before)
        except SubstrateError as error:
            raise SubstrateError(f"{why}; and the old decoy did not come back: {error}") from error

    async def observe(self, decky: Target) -> list[str]:
        """The services whose very address and port a process of this decky listens on."""
        return await asyncio.to_thread(self._observe, decky)

    def _observe(self, decky: Target) -> list[str]:
        open_now: set[process.Socket] = set()
        for pid in self._pids(self._home(decky)):
            open_now |= process.listening(pid)
        playable = self._catalogue.playable(decky.pool, "opencanary")
        return [name for name in playable if self._sockets(decky, [name]) <= open_now]

    async def remove(self, decky: Target) -> None:
        """Ends the process. Raises SubstrateError when it does not go."""
        home = self._home(decky)
        await self._stop(home, await asyncio.to_thread(self._pids, home))

    def _check_environment(self) -> None:
        if why := missing_part(self._environment):
            raise SubstrateError(f"OpenCanary is not installed ({why}): run `decnet-tui fleet setup`")

    def _sockets(self, decky: Target, services: Sequence[str]) -> set[process.Socket]:
        found: set[process.Socket] = set()
        for name in services:
            if name not in self._catalogue.services or self._catalogue.services[name].module is None:
                raise SubstrateError(f"OpenCanary cannot play '{name}'")
            transport, port = self._catalogue.socket_of(name, decky.ports)
            found.add((transport, decky.address, port))
        return found

    def _check_ports(self, wanted: set[process.Socket]) -> None:
        for at in sorted(wanted):
            if why := process.refusal(at):
                raise SubstrateError(f"{at[0]} port {at[2]} of {at[1]} cannot be had: {why}")

    def _config(self, decky: Target, services: Sequence[str], home: _Home) -> bytes:
        config: dict[str, Any] = {
            "device.node_id": decky.name,
            "device.listen_addr": decky.address,
            "ssh.key_path": str(home.directory),
            "logger": self._logger(home),
        }
        for name in services:
            service = self._catalogue.services[name]
            module, (_, port) = service.module, self._catalogue.socket_of(name, decky.ports)
            config |= {f"{module}.{key}": value for key, value in service.options.items()}
            config |= {f"{module}.enabled": True, f"{module}.port": port}
        return json.dumps(config, indent=1).encode()

    def _logger(self, home: _Home) -> dict[str, Any]:
        handler = {
            "class": "logging.handlers.RotatingFileHandler",
            "filename": str(home.log),
            "maxBytes": self._settings.decoy_log_bytes,
            "backupCount": self._settings.decoy_log_files,
        }
        plain = {"plain": {"format": "%(message)s"}}
        return {"class": "PyLogger", "kwargs": {"formatters": plain, "handlers": {"file": handler}}}

    @staticmethod
    def _read_config(home: _Home) -> bytes | None:
        try:
            return home.config.read_bytes()
        except OSError:
            return None

    @staticmethod
    def _pids(home: _Home) -> list[int]:
        """The decoy's processes; the file is only a short cut past the look at every process."""
        mark = str(home.tac)
        try:
            known = int(home.pid_file.read_text("ascii"))
        except (OSError, ValueError):
            return process.find(mark)
        if process.runs(known, mark):
            return [known]
        process.bury(known)
        return process.find(mark)

    async def _start(self, home: _Home, config: bytes, wanted: set[process.Socket]) -> None:
        """Starts a process and waits until it listens where it should. Raises SubstrateError."""
        pid = await asyncio.to_thread(self._spawn, home, config)
        deadline = asyncio.get_running_loop().time() + self._settings.start_timeout_s
        while True:
            open_now = await asyncio.to_thread(process.listening, pid)
            if wanted <= open_now:
                return
            process.bury(pid)
            if not process.runs(pid, str(home.tac)):
                raise SubstrateError(f"the decoy ended at once: {self._last_words(home)}")
            if asyncio.get_running_loop().time() > deadline:
                missing = ", ".join(f"{t} {p}" for t, _, p in sorted(wanted - open_now))
                raise SubstrateError(f"{missing} not open after {self._settings.start_timeout_s:.0f} s: {self._last_words(home)}")  # fmt: skip
            await asyncio.sleep(_LOOK_S)

    def _spawn(self, home: _Home, config: bytes) -> int:
        """The new process, in a session of its own, so that signals to the engine do not reach it."""
        write_whole(home.config, config)
        write_whole(home.tac, (Path(str(files("decnet"))) / "_data" / "fleet" / "decoy.tac").read_bytes())
        binaries = self._environment / "bin"
        arguments = [
            str(binaries / "python"), str(binaries / "twistd"), "--nodaemon", "--pidfile=", "--umask=077",
            "-y", str(home.tac),
        ]  # fmt: skip
        surroundings = {
            "HOME": str(home.directory), "PATH": os.defpath, "TZ": "UTC", "LANG": "C.UTF-8",
            "DECOY_TAC": str(binaries / "opencanary.tac"),
        }  # fmt: skip
        opening = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        try:
            home.log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            (home.directory / "tls").mkdir(exist_ok=True, mode=0o700)
            pid = os.posix_spawn(
                arguments[0], arguments, surroundings, setsid=True, setsigmask=[], setsigdef=[signal.SIGPIPE],
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, str(home.words), opening, 0o600),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
            )  # fmt: skip
        except OSError as error:
            raise SubstrateError(f"the decoy cannot be started: {error.strerror or error}") from error
        write_whole(home.pid_file, str(pid).encode(), sync=False)
        return pid

    @staticmethod
    def _last_words(home: _Home) -> str:
        """The last line that tells of an error, from before it had a log or from its log; else its last line."""
        lines: list[str] = []
        for path in (home.words, home.directory / "decoy.log"):
            with suppress(OSError):
                text = path.read_bytes()[-_LAST_WORDS:].decode("utf-8", "replace")
                lines += [line.strip() for line in text.splitlines() if line.strip()]
        errors = [line for line in lines if "Error" in line or "Couldn't" in line]
        return (errors or lines or ["it left no reason"])[-1][:300]

    async def _stop(self, home: _Home, pids: Sequence[int]) -> None:
        for pid, sign in [(pid, sign) for sign in (signal.SIGTERM, signal.SIGKILL) for pid in pids]:
            if process.runs(pid, str(home.tac)):
                _signal(pid, sign)
                await self._gone(home, pid)
        if left := [pid for pid in pids if process.runs(pid, str(home.tac))]:
            raise SubstrateError(f"the decoy (pid {left[0]}) does not end")

    @staticmethod
    async def _gone(home: _Home, pid: int) -> None:
        deadline = asyncio.get_running_loop().time() + STOP_S
        while process.runs(pid, str(home.tac)) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_LOOK_S / 5)
            process.bury(pid)
        process.bury(pid)


def _signal(pid: int, sign: signal.Signals) -> None:
    try:
        os.kill(pid, sign)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise SubstrateError(f"the decoy (pid {pid}) belongs to another user") from error
