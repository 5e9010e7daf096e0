"""The demo's characters and when they come: ``plan()`` gives every session of the nine days.

Two addresses matter most. ``PAIR`` is used in turn by two people, A (PuTTY, types slowly, looks around and
collects files, long sessions, the oracle account) and B (a Go tool, pastes, miner and crontab, seconds,
root). ``LONE`` is one person with varying habits: one client, but tempo, playbook, account and hour are drawn
independently of each other.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import permutations

from tests.recording import acts, clients, playbooks
from tests.recording.acts import Act
from tests.recording.clients import Login, Program
from tests.recording.typist import Hand, Line, Paste

FIRST_DAY = datetime(2026, 11, 8)
DAYS = 9
PAIR, LONE = "203.0.113.77", "198.51.100.42"
DECOYS = {"web-01": "192.0.2.11", "db-02": "192.0.2.12", "edge-03": "192.0.2.13"}
"""Sensor names and the addresses they get."""
USERS = (
    "root:x:3245gs5662d34", "root:x:Passw0rd!", "root:x:admin123", "root:x:changeme", "root:x:vizxv",
    "root:x:xc3511", "root:x:toor1234", "admin:x:admin", "oracle:x:oracle123", "postgres:x:postgres",
    "deploy:x:d3pl0y-2026", "backup:x:backup", "ubuntu:x:ubuntu", "svc_monitor:x:Winter-Harbour-19",
)  # fmt: skip
"""Accounts that let in; everything else is refused."""
GUESSES = ("123456", "password", "root", "12345", "qwerty", "1q2w3e4r", "letmein", "abc123", "P@ssw0rd",
           "test", "111111", "server", "dragon", "master", "000000", "raspberry", "user", "welcome1",
           "oracle", "ftp")  # fmt: skip
TYPIST, SLOW, FAST, SCRIPT = Hand(0.13, 1.6), Hand(0.21, 3.2), Hand(0.07, 0.7), Hand(0.0, 0.25, 0.2)


@dataclass(frozen=True, slots=True)
class Visit:
    """One session: who, where, when it seems to have been, and what is done."""

    character: str
    address: str
    decoy: str
    start: datetime
    act: Act
    telnet: bool = False


def plan() -> list[Visit]:
    """All sessions in order of time; the same list every time."""
    rng = random.Random("decnet demo")
    visits = [visit for make in CHARACTERS for visit in make(rng)]
    return sorted(visits, key=lambda visit: visit.start)


def _at(rng: random.Random, day: float, hours: tuple[float, float]) -> datetime:
    hour = rng.uniform(*hours)
    return FIRST_DAY + timedelta(days=int(day), hours=hour, milliseconds=rng.randrange(1000))


def _any(rng: random.Random) -> datetime:
    return _at(rng, rng.randrange(DAYS), (0.5, 23.5))


def _decoy(rng: random.Random) -> str:
    return rng.choice(list(DECOYS))


def _brute_forcers(rng: random.Random) -> Iterator[Visit]:
    programs = (clients.LIBSSH, clients.GO, clients.LIBSSH2, clients.PARAMIKO, clients.JSCH)
    for number, program in enumerate(programs):
        address, day = f"198.51.100.{101 + number}", rng.randrange(DAYS - 1)
        for attempt in range(4):
            start = _at(rng, day, (2 + attempt * 0.4, 2.3 + attempt * 0.4))
            wrong = tuple(rng.sample(GUESSES, rng.randint(3, 6)))
            act = acts.guess(program, Login(rng.choice(("root", "admin", "user", "test")), wrong))
            if attempt == 3:
                act = acts.run(program, Login("root", (*wrong[:2], "admin123")), [playbooks.RECON[number]])
            yield Visit("brute-forcer", address, "web-01", start, act)


def _credential_checkers(rng: random.Random) -> Iterator[Visit]:
    pairs = (("admin", "admin"), ("ubuntu", "ubuntu"), ("postgres", "postgres"), ("backup", "backup"))
    for number, program in enumerate((clients.GO, clients.PARAMIKO, clients.LIBSSH)):
        for _ in range(3):
            user, password = rng.choice(pairs)
            act = acts.look_in(program, Login(user, (password,)), stay=0.8)
            yield Visit("credential checker", f"203.0.113.{31 + number}", _decoy(rng), _any(rng), act)


def _droppers(rng: random.Random) -> Iterator[Visit]:
    for number, program in enumerate((clients.LIBSSH2, clients.GO)):
        for visit in range(4):
            lines = playbooks.numbered(playbooks.DROPPER[: 2 + visit % 3], 10 * number + visit)
            login = Login("root", ("changeme",))
            commands = [line for line in lines if isinstance(line, str)]
            act = (
                acts.run(program, login, commands) if visit % 2 else acts.shell(program, login, lines, SCRIPT)
            )
            yield Visit("dropper", f"192.0.2.{151 + number}", _decoy(rng), _any(rng), act)


def _miner(rng: random.Random) -> Iterator[Visit]:
    for visit in range(3):
        lines = playbooks.numbered(playbooks.MINER, visit)
        act = acts.shell(clients.LIBSSH, Login("root", ("toor1234",)), lines, SCRIPT, size=(80, 25))
        yield Visit("miner", "198.51.100.150", "db-02", _at(rng, visit * 2, (3, 6)), act)


def _persistence(rng: random.Random) -> Iterator[Visit]:
    for visit in range(3):
        lines = playbooks.numbered(playbooks.PERSISTENCE, 100 + visit)
        act = acts.shell(clients.OPENSSH_OLD, Login("root", ("Passw0rd!",)), lines, FAST, size=(132, 43))
        yield Visit(
            "persistence installer", "203.0.113.140", _decoy(rng), _at(rng, 1 + visit * 2, (13, 17)), act
        )


def _explorer(rng: random.Random) -> Iterator[Visit]:
    for visit, lines in enumerate(playbooks.EXPLORER):
        login = Login("root", ("Passw0rd!",))
        act = acts.openssh_shell(login, lines, TYPIST if visit % 2 else SLOW)
        yield Visit("manual explorer", "198.51.100.23", "web-01", _at(rng, visit * 1.9, (18, 22)), act)


def _recon_bots(rng: random.Random) -> Iterator[Visit]:
    for number, program in enumerate((clients.GO, clients.LIBSSH2, clients.PARAMIKO)):
        for _ in range(5):
            login = Login(
                *rng.choice((("root", ("changeme",)), ("admin", ("admin",)), ("ubuntu", ("ubuntu",))))
            )
            act = acts.run(program, login, [playbooks.RECON[rng.randrange(len(playbooks.RECON))]])
            yield Visit("recon bot", f"203.0.113.{61 + number}", _decoy(rng), _any(rng), act)


def _uploader(rng: random.Random) -> Iterator[Visit]:
    for visit in range(4):
        files = {
            f"/tmp/.kit{visit}.sh": "#!/bin/sh\n# harmless upload of a test\n",
            f"/tmp/list{visit}.txt": "a\nb\n",
        }
        after = [f"chmod +x /tmp/.kit{visit}.sh", f"nohup /tmp/.kit{visit}.sh &"]
        act = acts.upload(clients.LIBSSH2, Login("backup", ("backup",)), files, after, by_scp=bool(visit % 2))
        yield Visit("uploader", "198.51.100.77", "db-02", _at(rng, visit * 2 + 1, (9, 12)), act)


def _proxy_abuser(rng: random.Random) -> Iterator[Visit]:
    places = (("mail.example", 25), ("198.51.100.200", 80), ("shop.example", 443), ("203.0.113.250", 8080))
    for visit in range(5):
        wanted = rng.sample(places, rng.randint(2, 4))
        act = acts.forward(clients.PARAMIKO, Login("admin", ("admin",)), wanted)
        yield Visit("proxy abuser", "192.0.2.180", "edge-03", _at(rng, visit * 1.8, (0, 23)), act)


def _telnet_bots(rng: random.Random) -> Iterator[Visit]:
    for number, passwords in enumerate((("xc3511",), ("admin", "vizxv"))):
        for visit in range(3):
            lines = playbooks.numbered(playbooks.TELNET_BOT, 10 * number + visit)
            act = acts.telnet(Login("root", passwords), lines, SCRIPT)
            yield Visit("telnet bot", f"198.51.100.{201 + number}", "edge-03", _any(rng), act, telnet=True)


def _careful(rng: random.Random) -> Iterator[Visit]:
    for visit, lines in enumerate(playbooks.CAREFUL):
        login = Login("svc_monitor", ("Winter-Harbour-19",))
        act = acts.shell(clients.OPENSSH_JAMMY, login, lines, Hand(0.1, 2.2), size=(157, 48))
        yield Visit("careful operator", "192.0.2.60", "db-02", _at(rng, 1 + visit * 2, (8, 10)), act)


def _wiper(rng: random.Random) -> Iterator[Visit]:
    for visit in range(3):
        lines = playbooks.numbered(playbooks.WIPER, 90 + visit)
        act = acts.shell(clients.PUTTY, Login("root", ("Passw0rd!",)), lines, FAST)
        yield Visit("log wiper", "203.0.113.90", _decoy(rng), _at(rng, 2 + visit * 3, (1, 4)), act)


def _thief(rng: random.Random) -> Iterator[Visit]:
    for visit in range(3):
        lines = playbooks.numbered(playbooks.THIEF, 500 + visit)
        act = acts.shell(clients.OPENSSH_OLD, Login("postgres", ("postgres",)), lines, TYPIST, size=(120, 36))
        yield Visit("data thief", "192.0.2.199", "db-02", _at(rng, visit * 3 + 1, (21, 23.5)), act)


def _scanners(rng: random.Random) -> Iterator[Visit]:
    for number in range(2):
        for visit in range(3):
            act = acts.touch() if visit else acts.guess(clients.ZGRAB, Login("root", ("x",)))
            yield Visit("scanner", f"192.0.2.{231 + number}", _decoy(rng), _any(rng), act)


def _pair(rng: random.Random) -> Iterator[Visit]:
    """B in the small hours, A in the evening, most days both; eleven sessions each."""
    looks = rng.sample(list(permutations(playbooks.OPERATOR_A, 2)), 11)
    for number, (first, second) in enumerate(looks):
        day = number * DAYS / 11
        lines = (*first, *second[:3], playbooks.EOF_MARK)
        act = acts.shell(
            clients.PUTTY, Login("oracle", ("oracle123",)), lines, Hand(0.17, 4.5), size=(100, 30)
        )
        yield Visit("pair, A", PAIR, rng.choice(("web-01", "db-02")), _at(rng, day, (17, 22)), act)
    for number in range(11):
        day = number * DAYS / 11
        keep = [line for line in playbooks.OPERATOR_B if rng.random() < 0.85]
        pasted: tuple[Line, ...] = tuple(Paste(line.replace("{n}", str(number))) for line in keep)
        act = acts.shell(clients.GO, Login("root", ("3245gs5662d34",)), pasted, Hand(0.0, 0.6, 0.3))
        yield Visit("pair, B", PAIR, _decoy(rng), _at(rng, day, (3, 8)), act)


def _lone(rng: random.Random) -> Iterator[Visit]:
    for number in range(20):
        wanted = rng.sample(playbooks.LONE, rng.randint(2, 9))
        lines: list[Line] = list(playbooks.numbered(tuple(wanted), number))
        if rng.random() < 0.3:
            lines.insert(rng.randrange(len(lines)), Paste("cat /proc/meminfo | head -3"))
        login = Login("deploy", ("d3pl0y-2026",)) if rng.random() < 0.7 else Login("root", ("Passw0rd!",))
        hand = Hand(0.11 * rng.lognormvariate(0, 0.4), 2.0 * rng.lognormvariate(0, 0.6))
        act = _lone_act(rng, clients.OPENSSH_JAMMY, login, lines, hand)
        yield Visit("lone operator", LONE, _decoy(rng), _at(rng, number * DAYS / 20, (7, 23)), act)


def _lone_act(rng: random.Random, program: Program, login: Login, lines: list[Line], hand: Hand) -> Act:
    if rng.random() < 0.15:
        return acts.run(
            program, login, [line for line in lines if isinstance(line, str) and line.isprintable()][:2]
        )
    return acts.shell(program, login, [*lines, playbooks.EOF_MARK], hand, size=(120, 40))


CHARACTERS = (
    _brute_forcers, _credential_checkers, _droppers, _miner, _persistence, _explorer, _recon_bots, _uploader,
    _proxy_abuser, _telnet_bots, _careful, _wiper, _thief, _scanners, _pair, _lone,
)  # fmt: skip
