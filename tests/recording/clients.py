"""The attackers' programs: SSH clients that look different on the wire, the real OpenSSH client, and Telnet.

A ``Program`` is what a honeypot can tell a client by (banner, key-exchange and cipher lists, hence hassh). A
``Screen`` is an open terminal: ``send`` keys, read ``seen``. Who types what, and how fast, is the typist's
business.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import re
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import asyncssh

MODERN_KEX = ("curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256", "ecdh-sha2-nistp384",
              "ecdh-sha2-nistp521", "diffie-hellman-group-exchange-sha256",
              "diffie-hellman-group14-sha256")  # fmt: skip
MODERN_CIPHERS = ("aes128-ctr", "aes192-ctr", "aes256-ctr")
MODERN_MACS = ("hmac-sha2-256", "hmac-sha2-512", "hmac-sha1")
OLD_KEX = ("diffie-hellman-group14-sha1", "diffie-hellman-group-exchange-sha256", "ecdh-sha2-nistp256")
CONNECT_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Program:
    """One SSH client program as it shows on the wire."""

    banner: str
    kex: tuple[str, ...] = MODERN_KEX
    ciphers: tuple[str, ...] = MODERN_CIPHERS
    macs: tuple[str, ...] = MODERN_MACS
    host_keys: tuple[str, ...] = (
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "rsa-sha2-512",
        "rsa-sha2-256",
        "ssh-rsa",
    )


LIBSSH = Program("libssh_0.9.6", MODERN_KEX[:5] + MODERN_KEX[6:], ("aes256-ctr", "aes192-ctr", "aes128-ctr"))
LIBSSH2 = Program("libssh2_1.4.3", OLD_KEX, ("aes128-ctr", "aes256-ctr", "aes256-cbc"), ("hmac-sha1",))
GO = Program("Go", MODERN_KEX[:5] + MODERN_KEX[6:], MODERN_CIPHERS, ("hmac-sha2-256", "hmac-sha1"))
PARAMIKO = Program("paramiko_2.12.0", MODERN_KEX[2:], (*MODERN_CIPHERS, "aes128-cbc"), MODERN_MACS[:2])
PUTTY = Program("PuTTY_Release_0.78",
                ("curve25519-sha256", "ecdh-sha2-nistp521", "diffie-hellman-group14-sha256"),
                ("aes256-ctr", "aes256-cbc", "aes128-ctr"), ("hmac-sha2-256", "hmac-sha1"))  # fmt: skip
JSCH = Program(
    "JSCH-0.1.54", ("ecdh-sha2-nistp256", "diffie-hellman-group14-sha1"), ("aes128-ctr",), ("hmac-sha1",)
)
OPENSSH_JAMMY = Program("OpenSSH_8.9p1 Ubuntu-3ubuntu0.10", MODERN_KEX, MODERN_CIPHERS[::-1], MODERN_MACS)
OPENSSH_OLD = Program("OpenSSH_7.4", MODERN_KEX[1:], MODERN_CIPHERS, MODERN_MACS[::-1])
ZGRAB = Program("ZGrab ZGrab SSH Survey", MODERN_KEX[2:5], MODERN_CIPHERS, MODERN_MACS[:1])


@dataclass(frozen=True, slots=True)
class Target:
    """Where to attack, and from which loopback address."""

    port: int
    source: str
    host: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Login:
    """A user name and the passwords tried in turn; the last one may get in."""

    user: str
    passwords: tuple[str, ...]


class Screen(Protocol):
    """An open terminal."""

    async def send(self, keys: bytes) -> None:
        """Type ``keys`` now, in one piece."""

    def seen(self) -> bytes:
        """All output so far."""

    def gone(self) -> bool:
        """True when the other side has closed."""


class _Guesser(asyncssh.SSHClient):
    def __init__(self, login: Login) -> None:
        self._left = list(login.passwords)

    def password_auth_requested(self) -> str | None:
        return self._left.pop(0) if self._left else None

    def kbdint_auth_requested(self) -> str | None:
        return None


@asynccontextmanager
async def connected(
    target: Target, program: Program, login: Login
) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """A logged-in connection; asyncssh.PermissionDenied when no password got in."""
    connection, _client = await asyncssh.create_connection(
        lambda: _Guesser(login), target.host, target.port, local_addr=(target.source, 0), known_hosts=None,
        username=login.user, client_keys=None, agent_path=None, config=None, client_version=program.banner,
        kex_algs=program.kex, encryption_algs=program.ciphers, mac_algs=program.macs, server_host_key_algs=program.host_keys,
        compression_algs=("none",), preferred_auth="password", login_timeout=CONNECT_TIMEOUT,
    )  # fmt: skip
    async with connection:
        yield connection


async def fails_to_log_in(target: Target, program: Program, login: Login) -> bool:
    """Try every password; True when none got in. A connection that does get in is closed at once."""
    try:
        async with connected(target, program, login):
            return False
    except (asyncssh.PermissionDenied, asyncssh.ConnectionLost):
        return True


class _SshScreen(asyncssh.SSHClientSession[bytes]):
    def __init__(self) -> None:
        self._seen = bytearray()
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self.closed = asyncio.Event()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        del datatype
        self._seen += data

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.closed.set()

    async def send(self, keys: bytes) -> None:
        if self._channel is not None and not self._channel.is_closing():
            self._channel.write(keys)

    def seen(self) -> bytes:
        return bytes(self._seen)

    def gone(self) -> bool:
        return self.closed.is_set()


@asynccontextmanager
async def ssh_screen(
    target: Target, program: Program, login: Login, *, size: tuple[int, int] = (80, 24), term: str = "xterm"
) -> AsyncIterator[Screen]:
    """An interactive shell with a terminal of ``size`` (columns, rows)."""
    async with connected(target, program, login) as connection:
        channel, screen = await connection.create_session(
            _SshScreen, term_type=term, term_size=size, encoding=None
        )
        assert isinstance(screen, _SshScreen)
        yield screen
        if not channel.is_closing():
            channel.close()


async def run_command(
    connection: asyncssh.SSHClientConnection, command: str, *, timeout: float = 30.0
) -> bytes:
    """One command over an exec channel, without a terminal; its output."""
    screen = _SshScreen()
    # AttributeError: asyncssh stumbles over a channel that is closed by the time its opening is confirmed
    with contextlib.suppress(TimeoutError, AttributeError):
        channel, _ = await connection.create_session(lambda: screen, command=command, encoding=None)
        await asyncio.wait_for(screen.closed.wait(), timeout)
        channel.close()
    return screen.seen()


@dataclass(slots=True)
class _PtyScreen:
    """A program on a pseudo terminal of ours."""

    descriptor: int
    _seen: bytearray = field(default_factory=bytearray)
    _gone: bool = False

    async def send(self, keys: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(self.descriptor, keys)

    def seen(self) -> bytes:
        return bytes(self._seen)

    def gone(self) -> bool:
        return self._gone

    def on_readable(self) -> None:
        try:
            self._seen += os.read(self.descriptor, 65_536)
        except OSError:
            self._gone = True
            asyncio.get_running_loop().remove_reader(self.descriptor)


@asynccontextmanager
async def openssh_screen(
    target: Target, login: Login, *, options: Sequence[str] = ()
) -> AsyncIterator[Screen]:
    """The real OpenSSH client in a pseudo terminal; the first password of ``login`` is answered for it."""
    ours, theirs = pty.openpty()
    loop = asyncio.get_running_loop()
    with _answering_password(login.passwords[0]) as surroundings:
        process = await asyncio.create_subprocess_exec(
            "ssh", "-F", "none", "-tt", "-b", target.source, "-p", str(target.port),
            "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
            "-o", "PubkeyAuthentication=no", "-o", "NumberOfPasswordPrompts=1", *options,
            f"{login.user}@{target.host}", stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL,
            env=surroundings, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        screen = _PtyScreen(ours)
        loop.add_reader(ours, screen.on_readable)
        try:
            yield screen
        finally:
            await _end(process)
            loop.remove_reader(ours)
            os.close(ours)


async def _end(process: asyncio.subprocess.Process) -> None:
    try:
        await asyncio.wait_for(process.wait(), 3)
    except TimeoutError:
        process.terminate()
        await process.wait()


@contextmanager
def _answering_password(password: str) -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory() as place:
        script = Path(place) / "askpass"
        script.write_text('#!/bin/sh\nprintf "%s\\n" "$DECNET_ANSWER"\n', "ascii")
        script.chmod(0o700)
        yield {
            "PATH": os.defpath,
            "TERM": "xterm-256color",
            "HOME": place,
            "SSH_ASKPASS": str(script),
            "SSH_ASKPASS_REQUIRE": "force",
            "DECNET_ANSWER": password,
        }


class _TelnetScreen(asyncio.Protocol):
    _NEGOTIATION = re.compile(rb"\xff[\xfb-\xfe].", re.DOTALL)

    def __init__(self) -> None:
        self._seen = bytearray()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._seen += data

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None

    async def send(self, keys: bytes) -> None:
        if self._transport is not None:
            self._transport.write(keys.replace(b"\r", b"\r\n"))

    def seen(self) -> bytes:
        return self._NEGOTIATION.sub(b"", bytes(self._seen))

    def gone(self) -> bool:
        return self._transport is None


@asynccontextmanager
async def telnet_screen(target: Target, login: Login) -> AsyncIterator[Screen]:
    """A Telnet connection that has answered the prompts with each password in turn."""
    transport, screen = await asyncio.get_running_loop().create_connection(
        _TelnetScreen, target.host, target.port, local_addr=(target.source, 0)
    )
    try:
        for password in login.passwords:
            await _answer(screen, b"login: ", login.user)
            await _answer(screen, b"Password: ", password)
        yield screen
    finally:
        transport.close()


async def _answer(screen: _TelnetScreen, question: bytes, answer: str) -> None:
    for _ in range(100):
        if screen.seen().rstrip(b"\r\n").endswith(question):
            break
        await asyncio.sleep(0.05)
    await screen.send(answer.encode() + b"\r")
    await asyncio.sleep(0.3)
