"""What an attacker can do with one connection: the verbs that ``attackers`` builds characters from.

An act takes a ``Target`` and a random generator and plays one session. What goes wrong inside the honeypot (a
refused channel, a closed connection) is part of the recording and no error of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import asyncssh

from tests.recording import clients
from tests.recording.clients import Login, Program, Target
from tests.recording.typist import Hand, Line, type_lines

Act = Callable[[Target, random.Random], Awaitable[None]]
LONGEST = 420.0
"""Seconds one session may take in real time."""
REFUSALS = (asyncssh.Error, OSError, TimeoutError)


def guess(program: Program, login: Login) -> Act:
    """Try every password; leave at once should one get in."""

    async def act(target: Target, _rng: random.Random) -> None:
        await clients.fails_to_log_in(target, program, login)

    return act


def look_in(program: Program, login: Login, *, stay: float) -> Act:
    """Log in, do nothing for ``stay`` seconds, leave."""

    async def act(target: Target, rng: random.Random) -> None:
        async with clients.connected(target, program, login):
            await asyncio.sleep(stay * rng.uniform(0.5, 1.5))

    return act


def touch() -> Act:
    """Open the port, say nothing, leave."""

    async def act(target: Target, rng: random.Random) -> None:
        _reader, writer = await asyncio.open_connection(
            target.host, target.port, local_addr=(target.source, 0)
        )
        await asyncio.sleep(rng.uniform(0.3, 2.0))
        writer.close()

    return act


def run(program: Program, login: Login, commands: Sequence[str], *, gap: float = 0.4) -> Act:
    """Each command over an exec channel of its own."""

    async def act(target: Target, rng: random.Random) -> None:
        async with clients.connected(target, program, login) as connection:
            for command in commands:
                await asyncio.sleep(rng.uniform(0.5, 1.5) * gap)
                await clients.run_command(connection, command)

    return act


def shell(
    program: Program, login: Login, lines: Sequence[Line], hand: Hand, *, size: tuple[int, int] = (80, 24)
) -> Act:
    """A terminal, typed into."""

    async def act(target: Target, rng: random.Random) -> None:
        async with clients.ssh_screen(target, program, login, size=size) as screen:
            await type_lines(screen, lines, hand, rng)

    return act


def openssh_shell(login: Login, lines: Sequence[Line], hand: Hand) -> Act:
    """A terminal of the real OpenSSH client."""

    async def act(target: Target, rng: random.Random) -> None:
        async with clients.openssh_screen(target, login) as screen:
            await type_lines(screen, lines, hand, rng)

    return act


def telnet(login: Login, lines: Sequence[Line], hand: Hand) -> Act:
    """A Telnet shell."""

    async def act(target: Target, rng: random.Random) -> None:
        async with clients.telnet_screen(target, login) as screen:
            await type_lines(screen, lines, hand, rng)

    return act


def upload(
    program: Program, login: Login, files: dict[str, str], afterwards: Sequence[str], *, by_scp: bool
) -> Act:
    """Put ``files`` (text by remote path) by scp or sftp, then run commands."""

    async def act(target: Target, rng: random.Random) -> None:
        async with clients.connected(target, program, login) as connection:
            for path, text in files.items():
                with contextlib.suppress(*REFUSALS):
                    await asyncio.wait_for(_put(connection, path, text, by_scp=by_scp), 15)
            for command in afterwards:
                await asyncio.sleep(rng.uniform(0.2, 0.8))
                await clients.run_command(connection, command)

    return act


async def _put(connection: asyncssh.SSHClientConnection, path: str, text: str, *, by_scp: bool) -> None:
    if not by_scp:
        async with connection.start_sftp_client() as sftp, sftp.open(path, "wb") as file:
            await file.write(text.encode())
        return
    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / Path(path).name
        source.write_text(text, "utf-8")
        await asyncssh.scp(source, (connection, path))


def forward(program: Program, login: Login, destinations: Sequence[tuple[str, int]]) -> Act:
    """Ask for a direct-tcpip channel to each destination and send a request down it."""

    async def act(target: Target, rng: random.Random) -> None:
        async with clients.connected(target, program, login) as connection:
            for host, port in destinations:
                with contextlib.suppress(*REFUSALS):
                    await _send_through(connection, host, port)
                await asyncio.sleep(rng.uniform(0.2, 1.2))

    return act


async def _send_through(connection: asyncssh.SSHClientConnection, host: str, port: int) -> None:
    reader, writer = await connection.open_connection(host, port, encoding=None)
    hello = b"EHLO mail.example\r\n" if port == 25 else f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    writer.write(hello)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(reader.read(1024), 0.5)
    writer.close()


async def play(act: Act, target: Target, rng: random.Random) -> None:
    """Play one act to its end; what the honeypot refuses ends the session, not the recording."""
    with contextlib.suppress(*REFUSALS):
        async with asyncio.timeout(LONGEST):
            await act(target, rng)
