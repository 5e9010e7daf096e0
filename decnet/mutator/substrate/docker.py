"""The one module that talks to the Docker client: arguments, time limits, and what its errors mean.

What is in the project file is left to :mod:`decnet.mutator.substrate.compose`.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import stamina

from decnet.config import MutatorSettings
from decnet.errors import SubstrateError
from decnet.logs import get_logger

log = get_logger(__name__)
_MAX_OUTPUT = 1 << 20
_MEANINGS = (
    (re.compile(r"no such image|manifest (?:unknown|for .* not found)|pull access denied|repository does not exist", re.I), "image missing"),
    (re.compile(r"port is already allocated|address already in use|bind for .* failed", re.I), "port taken"),
    (re.compile(r"cannot connect to the docker daemon|is the docker daemon running|permission denied.*docker", re.I), "the Docker engine cannot be reached: is it running, and may this user use it"),
    (re.compile(r"unknown command: docker compose|'compose' is not a docker command|unknown shorthand flag: 'p'", re.I), "the compose plugin is missing: install docker-compose-plugin"),
)  # fmt: skip
_MAY_PASS = re.compile(
    r"tls handshake timeout|i/o timeout|connection (?:reset|refused)|temporary failure|deadline exceeded|too many requests|unexpected eof|50[234] ",
    re.I,
)


class _MayPass(SubstrateError):
    """A failure that another try may not see."""


class DockerCompose:
    """``docker compose`` on one project."""

    def __init__(self, settings: MutatorSettings, project: str, file: Path) -> None:
        self._settings = settings
        self._arguments = ["compose", "-p", project, "-f", str(file)]

    async def up(self, services: Sequence[str]) -> None:
        """Creates and starts services, and no others. Raises SubstrateError."""
        await self._try("up", "-d", "--no-deps", *services)

    async def down(self, services: Sequence[str]) -> None:
        """Stops and removes the containers of services. Raises SubstrateError."""
        if services:
            await self._try("rm", "-s", "-f", *services)

    async def check(self) -> None:
        """Lets the plugin read the project file. Raises SubstrateError with its complaint."""
        await self._try("config", "--quiet")

    async def running(self) -> set[str]:
        """Services whose container runs. Raises SubstrateError."""
        out = await self._try("ps", "--all", "--format", "json")
        return {str(row.get("Service")) for row in _rows(out) if row.get("State") == "running"}

    async def _try(self, *arguments: str) -> str:
        """One call, again where that may help: after a time-out and after trouble with the network."""
        tries = self._settings.docker_tries
        async for attempt in stamina.retry_context(
            on=_MayPass, attempts=tries, wait_initial=0.2, wait_max=5.0
        ):
            with attempt:
                return await self._call([*self._arguments, *arguments])
        raise SubstrateError("docker was not called")

    async def _call(self, arguments: Sequence[str]) -> str:
        command = f"{self._settings.docker} {' '.join(arguments[:1])} … {' '.join(arguments[5:])}"[:200]
        try:
            child = await asyncio.create_subprocess_exec(
                self._settings.docker, *arguments,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
                env=_surroundings(),
            )  # fmt: skip
        except OSError as error:
            raise SubstrateError(f"{self._settings.docker}: {error.strerror or error}") from error
        try:
            async with asyncio.timeout(self._settings.docker_timeout_s):
                out, err = await child.communicate()
        except TimeoutError as error:
            raise _MayPass(f"{command}: no answer in {self._settings.docker_timeout_s:.0f} s") from error
        finally:
            if child.returncode is None:
                # Compose is a child of the client's: alive, it would hold the pipes and with them this call.
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                await child.wait()
        if child.returncode:
            raise _failure(command, err[-_MAX_OUTPUT:].decode("utf-8", "replace"), child.returncode)
        return out[:_MAX_OUTPUT].decode("utf-8", "replace")


def _surroundings() -> dict[str, str]:
    """The client's environment: ours without our own settings, which may hold passwords and tokens."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DECNET_")}


def _failure(command: str, said: str, code: int) -> SubstrateError:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = lines[-1][:300] if lines else f"exit code {code}"
    for pattern, meaning in _MEANINGS:
        if telling := [line for line in lines if pattern.search(line)]:
            return SubstrateError(f"{meaning} ({telling[0][:300]})")
    kind = _MayPass if _MAY_PASS.search(said) else SubstrateError
    return kind(f"{command}: {last}")


def _rows(text: str) -> list[dict[str, Any]]:
    """The containers in ``ps --format json``: an array in old versions, one object a line in new ones."""
    try:
        whole = json.loads(text) if text.strip().startswith("[") else [json.loads(x) for x in text.splitlines() if x.strip()]  # fmt: skip
    except ValueError as error:
        raise SubstrateError("docker compose ps gave no JSON") from error
    return [row for row in whole if isinstance(row, dict)]
