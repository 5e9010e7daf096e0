"""Somebody sends a program to a real Cowrie by scp and by sftp, runs it and removes it: the session is told as that."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import asyncssh
import pytest

from tests.programkit import cli, daemon, listed, until
from tests.recording.cowrie_env import running_cowrie

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
LIMIT_S = 30.0
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


@pytest.mark.parametrize("way", ["scp", "sftp"])
async def test_an_uploaded_program_that_is_run_and_removed(tmp_path: Path, way: str) -> None:
    data, here, there = tmp_path / "data", tmp_path / "pear", "/tmp/pear"
    here.write_bytes(PROGRAM)
    wanted = {"T1105", "T1222.002", "T1059.004", "T1070.004"}

    def found() -> dict[str, str]:
        return {
            row["sub_technique_id"] or row["technique_id"]: str(row["evidence"])
            for row in listed("tags", data)
        }

    async with running_cowrie(tmp_path, telnet=False, users=("root:x:*",)) as pot:
        with daemon(data, tmp_path / "engine.log", "--sensor", f"cowrie={pot.log_path}"):
            await _attack(pot.ssh_port, way, here, there)
            await asyncio.to_thread(until, lambda: wanted <= found().keys(), LIMIT_S, str(wanted))
            because = {row["evidence"].get("because", "") for row in listed("tags", data)}
            (session,) = {row["session_id"] for row in listed("tags", data)}
            shown = cli("session", session, "--data-dir", data).stdout.decode()
    assert any(reason.startswith("uploaded by") or "upload" in reason for reason in because), because
    if way == "sftp":  # of scp Cowrie keeps the bytes of the protocol, not those of the file
        assert hashlib.sha256(PROGRAM).hexdigest() in shown
    assert f"rm -f {there}" in shown
