"""Somebody sends a program to a real Cowrie by scp and by sftp, runs it and removes it: the session is told as that."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import asyncssh
import pytest

from tests.programkit import cli, daemon, listed
from tests.ptykit import terminal
from tests.recording.cowrie_env import running_cowrie

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
LIMIT_S = 30.0
TELLS_S = 10.0
"""Ten times the second in which the story of a session that ended is to be seen."""
PROGRAM = b"#!/bin/sh\necho pears\n"


async def _attack(port: int, way: str, here: Path, there: str) -> None:
    """One connection: the program comes by ``scp`` or ``sftp``, is run and removed."""
    async with asyncssh.connect(
        "127.0.0.1", port, username="root", password="secret-enough", known_hosts=None, client_keys=None, agent_path=None, config=None,
    ) as connection:  # fmt: skip
        if way == "sftp":
            async with connection.start_sftp_client() as sftp:
                await sftp.put(str(here), there)
        else:
            await asyncssh.scp(str(here), (connection, there))
        shell = await connection.create_process(term_type="xterm", term_size=(80, 24))
        await shell.stdout.readuntil("# ")
        for command in (f"chmod +x {there}", there, f"rm -f {there}"):
            shell.stdin.write(f"{command}\r")
            await shell.stdout.readuntil("# ")
        shell.stdin.write("exit\r")
        await asyncio.wait_for(shell.wait_closed(), LIMIT_S)


def _console_tells(data: Path, attacks: Callable[[], None], words: str) -> float:
    """Seconds from the end of the attack until an attached console says these words, asked for stories alone.

    Sixty observations follow the story within a second: without the filter it may be gone between two looks.
    """
    with terminal("--attach", "--data-dir", data, size=(160, 48)) as console:
        console.shows(" LIVE ", LIMIT_S)
        console.press("1")
        console.press("/")
        console.press("\x15ttp.session.>\r")
        console.shows("topic ttp.session.>", LIMIT_S)
        attacks()
        ended = time.monotonic()
        console.shows(words, TELLS_S)
        return time.monotonic() - ended


@pytest.mark.parametrize("way", ["scp", "sftp"])
async def test_an_uploaded_program_that_is_run_and_removed(tmp_path: Path, way: str) -> None:
    data, here, there = tmp_path / "data", tmp_path / "pear", "/tmp/pear"
    here.write_bytes(PROGRAM)
    async with running_cowrie(tmp_path, telnet=False, users=("root:x:*",)) as pot:
        with daemon(data, tmp_path / "engine.log", "--sensor", f"cowrie={pot.log_path}"):
            attack = partial(asyncio.run, _attack(pot.ssh_port, way, here, there))
            took = await asyncio.to_thread(_console_tells, data, attack, "uploaded and ran pear")
            print(f"{way}: told {took:.2f} s after the end of the session")
            (session,) = listed("sessions", data)
            tags = listed("tags", data)
            shown = cli("session", session["session_id"], "--data-dir", data).stdout.decode()
    digest = hashlib.sha256(PROGRAM).hexdigest()
    # Of scp Cowrie keeps the bytes of the protocol, not those of the file.
    ran = "uploaded and ran pear" + (f" {digest[:8]}" if way == "sftp" else "")
    assert (session["severity"], session["severity_reason"]) == ("high", ran)
    told = [(phase["phase"], list(phase["stages"])) for phase in session["story"]]
    assert [name for name, _ in told] == ["access", "deliver", "clean", "leave"], told
    assert {"fetch", "arm", "run"} <= set(told[1][1])
    assert session["playbook"]
    assert {"T1105", "T1222.002", "T1059.004", "T1070.004"} <= {
        row["sub_technique_id"] or row["technique_id"] for row in tags
    }
    (run,) = [row for row in tags if row["rule_id"] == "R0902"]
    assert "upload" in run["evidence"]["because"]
    for words in ("uploaded and ran pear", session["playbook"], session["story_line"], f"rm -f {there}"):
        assert words in shown
    assert (digest in shown) is (way == "sftp")
