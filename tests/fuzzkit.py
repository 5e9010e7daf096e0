"""Hostile text for the whole program: fuzzed events, a fuzzed store, and what a terminal may be sent.

The same generators make harmless data (``dice`` alone differs), so that what the program writes about
hostile data can be held against what it writes anyway.
"""

from __future__ import annotations

import json
import random
import re
import socket
import sqlite3
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.cells import cell_len
from wcwidth import wcwidth

from tests.natskit import PASSWORD, USER

MARK = re.compile(r"\]777;C(\d{5})")
"""A canary as visible text; with its ESC before it, it would be a sequence."""
CONTROLS = tuple(map(chr, (*range(0x20), *range(0x7F, 0xA0))))
SEQUENCES = (
    "\x1b[2J\x1b[H", "\x1b[31;5m", "\x1b[?1049l", "\x1b[?25l", "\x1b[?1000h", "\x1b[6n", "\x1b[c", "\x1b[>q", "\x1b[8;1;1t", "\x1b[21t", "\x1bc",
    "\x1b]0;owned\x07", "\x1b]2;owned\x1b\\", "\x1b]8;;http://203.0.113.1/\x1b\\link\x1b]8;;\x1b\\", "\x1b]52;c;aGk=\x07", "\x1b]52;c;?\x07",
    "\x1b]4;1;?\x07", "\x1b]10;?\x07", "\x1b]1337;File=inline=1:AAAA\x07", "\x1bP+q544e\x1b\\", "\x1bP$q m\x1b\\", "\x1b_Gf=24;AAAA\x1b\\",
    "\x1b^private\x1b\\", "\x1bXsos\x1b\\", "\x1b(0", "\x1b#8", "\x1b%G", "\x1bN", "\x1b=", "\x1b[?2026h", "\x1b[>1u", "\x1b[!p", "\x1b[4i",
    "\x9b31m", "\x9b2J", "\x9d0;t\x9c", "\x90q\x9c", "\x9f\x9c", "\x85", "\x1b", "\x1b[", "\x1b]", "\x1bP",
)  # fmt: skip
FORMATS = (
    *map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C)), "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad",
    "\u2028", "\u2029", "\u00a0", "\u3000", "\u115f", "\u1160", "\u3164", "\uffa0", "\u2800", "\u180e", "\u034f", "\ufe0f", "\U000e0001",
    "\U000e0041\U000e007f", "\U000e0100", "\ufff9\ufffb", "\ue000", "\U0010fffe", "\ufffe", "e" + "\u0301" * 40, "\u20dd" * 9, "\u0903" * 20,
    "\u1161\u11a8" * 9, "\U0001f3fb", "\U0001f1e6", "\U0001f468\u200d\U0001f469\u200d\U0001f467",
)  # fmt: skip
WIDE = ("漢字", "\uff46\uff4c", "🦊", "é", "한글", "Ω", "\u05d0\u05d1", "ﷺ", "…")
MARKUP = (
    "[@click=app.quit]q[/]", "[@click=app.bell()]b[/]", "[/x]", "[/]", "[", "]", "[link=http://203.0.113.1]y[/link]", "[bold red on blue]", "[$primary]",
    "\\[x]", "{0}", "{a.__class__}", "%s%n%1000000d", "$(id)", "`id`", "'; DROP TABLE tag;--", "=cmd|' /C calc'!A0", "</script>", "\\e]0;x",
)  # fmt: skip
ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**70,
    10**400,
    -(10**4000),
    1e308,
    float("nan"),
    float("inf"),
    -0.0,
    0.5,
    "",
    [],
    {},
    "0",
    "1e999",
)
PLAIN = ("root", "admin", "uname -a", "web-01", "SSH-2.0-Go", "203.0.113.7", "ls", "x" * 30)
TOPICS = (
    "attacker.observed", "attacker.session.started", "attacker.session.ended", "attacker.scored", "attacker.fingerprinted",
    "attacker.intel.enriched", "attacker.observation.cognitive.x", "credential.captured", "credential.reuse.detected", "email.received",
    "ttp.tagged", "ttp.rule.fired.T1105", "ttp.rule.state.R0001", "ttp.rule.reloaded.R0001", "ttp.rule.suppressed",
    "attribution.profile.state_changed", "attribution.profile.multi_actor_suspected", "identity.formed", "identity.merged",
    "canary.token.triggered", "decky.web-01.mutation", "decky.web-01.state", "decky.web-01.traffic", "system.ttp.health",
    "system.recorder.health", "system.sensors.health", "system.bus.health", "system.deadletter.ttp", "topology.lab.status", "new.family.of.topics",
)  # fmt: skip
SEGMENTS = (
    "\x1b]0;t\x07",
    "\x9b2J",
    "\u202e",
    "\u200b",
    "[@click=app.quit]",
    "漢",
    "\x07\x08",
    "\U000e0041",
    "\x7f",
)
"""Parts of subjects that the broker lets through."""
KEYS = (
    "attacker_uuid", "identity_uuid", "attacker_uuids", "session_id", "decky_id", "service", "protocol", "username", "rule_ids", "rule_id", "primitive",
    "primitives", "old_state", "new_state", "current_value", "families", "evidence_summary", "confidence", "confidence_max", "commands", "client", "auth",
    "downloads", "duration_s", "command_count", "end_reason", "winner_uuid", "loser_uuid", "worker", "state", "note", "reason", "sensors", "degraded",
    "lag", "processed", "failed", "dead_lettered", "request_id", "outcome", "old_services", "new_services", "trigger", "topic", "dead_letter_id", "ts",
    "url", "sha256", "score", "threshold", "event_count", "tag_uuids", "techniques_added", "technique_id", "set_by", "auto_revert", "deleted",
    "expires_at", "value", "secret_kind", "reuse_count", "target_count", "success", "host", "pid", "last_event_ts",
)  # fmt: skip


NUMBERS = (
    "confidence", "confidence_max", "duration_s", "command_count", "lag", "processed", "failed", "dead_lettered", "score", "threshold", "event_count",
    "reuse_count", "target_count", "ts", "expires_at", "last_event_ts", "observation_count", "part", "parts",
)  # fmt: skip


class Dice(random.Random):
    """Draws hostile text and values; harmless ones when ``hostile`` is false."""

    def __init__(self, seed: int, *, hostile: bool = True) -> None:
        super().__init__(seed)
        self.hostile = hostile

    def piece(self) -> str:
        """A short text of any kind."""
        if not self.hostile:
            return self.choice(PLAIN)
        kind = self.choice(
            (CONTROLS, SEQUENCES, SEQUENCES, FORMATS, WIDE, MARKUP, PLAIN, ("\ud800", "\udfff", "\ud83d"))
        )
        return self.choice(kind)

    def text(self) -> str:
        """Several pieces."""
        return "".join(self.piece() for _ in range(self.randint(1, 6)))

    def value(self, depth: int = 0) -> Any:
        """Any JSON value, and numbers that JSON does not know."""
        kind = self.randrange(10 if depth < 3 else 6)
        if kind < 4:
            return self.text()
        if kind < 6:
            return self.choice(ODD) if self.hostile else self.choice((1, 0.5, True, None, "0"))
        if kind < 8:
            return [self.value(depth + 1) for _ in range(self.randint(0, 4))]
        return {self.text(): self.value(depth + 1) for _ in range(self.randint(0, 4))}


def canary(number: int, dice: Dice) -> str:
    """A sequence that no terminal shows; as visible text it tells that this payload came to the screen."""
    return f"\x1b]777;C{number:05d}\x07" if dice.hostile else f"]777;C{number:05d} "


def _structured(topic: str, dice: Dice) -> dict[str, Any]:
    """Fields in the shape in which the views look into them."""
    if topic == "attacker.session.ended":
        return {
            "commands": [
                {"id": dice.text(), "command_text": dice.text(), "ts": dice.value()} for _ in range(2)
            ],
            "command_count": 2,
        }
    if topic == "system.sensors.health":
        row = (
            {key: dice.choice(ODD) for key in ("age", "lines", "bytes_behind", "refused")}
            if dice.hostile
            else {"age": 3}
        )
        words = {key: dice.text() for key in ("kind", "path", "state", "waiting")}
        return {"state": "ok", "sensors": [{**row, **words, "reasons": {dice.text(): 3}}]}
    if topic.endswith("multi_actor_suspected"):
        return {"families": [dice.text(), dice.text()], "evidence_summary": dice.text()}
    if topic == "identity.merged":
        return {"winner_uuid": dice.text(), "loser_uuid": dice.text()}
    return {}


def payloads(count: int, dice: Dice) -> Iterator[tuple[str, bytes]]:
    """Subjects and bodies of events. ``attacker_ip`` of each begins with its canary."""
    for number in range(count):
        topic = dice.choice(TOPICS)
        if dice.hostile and number % 10 == 9:
            topic = f"decky.{dice.choice(SEGMENTS)}{number % 50}.traffic"
        payload: dict[str, Any] = {"attacker_ip": canary(number, dice) + dice.text()}
        payload |= {key: dice.value() for key in dice.sample(KEYS, dice.randint(1, 8))}
        payload |= {key: dice.choice(ODD) if dice.hostile else 1 for key in dice.sample(NUMBERS, 3)}
        payload |= {dice.text(): dice.value(), **_structured(topic, dice)}
        if number % 250 == 0:
            payload["blob"] = dice.piece() * 1000
        if number % 2500 == 7:
            payload["blob"] = dice.text() * (100_000 // 30)
        ts = 1.8e9 + number if number % 20 else dice.choice((0.0, -5.0, 1e14, 253402300800.0, 1.5))
        body = {
            "v": 1,
            "id": f"{number:032x}",
            "topic": topic,
            "type": dice.text()[:20],
            "ts": ts,
            "payload": payload,
        }
        yield topic, json.dumps(body).encode()


def malformed() -> Iterator[tuple[str, bytes]]:
    """Bodies that are no events; they may cost a log line and nothing else."""
    for body in (
        b"",
        b"\xff\xfe",
        b"{",
        b"[" * 50_000,
        b"null",
        b'{"payload": 1}',
        b"9" * 5000,
        b'{"payload":' + b'{"a":' * 20_000,
        b"\x1b]0;x\x07",
    ):
        yield "attacker.observed", body
    deep = b'{"payload": {"a": ' + b"[" * 900 + b"]" * 900 + b"}}"
    yield "attacker.observed", deep
    yield "attacker.observed", b'{"payload": {}, "ts": "now"}'


def publish(url: str, messages: Iterable[tuple[str, bytes]]) -> int:
    """Publishes on a server of :mod:`tests.natskit` byte by byte: no client stands between. How many were sent."""
    lines = [b"PUB %s %d\r\n%s\r\n" % (subject.encode(), len(body), body) for subject, body in messages]
    send(url, lines)
    return len(lines)


def send(url: str, lines: Iterable[bytes]) -> None:
    """Says these lines of the protocol to a server; returns when it has taken them."""
    place = urlsplit(url)
    hello = {"user": USER, "pass": PASSWORD, "verbose": False, "pedantic": False, "headers": True, "lang": "test", "version": "1"}  # fmt: skip
    with socket.create_connection((place.hostname, place.port or 0), 20) as line:
        line.settimeout(60)
        line.sendall(b"CONNECT %s\r\n%sPING\r\n" % (json.dumps(hello).encode(), b"".join(lines)))
        answer = b""
        while b"PONG\r\n" not in answer:
            more = line.recv(65_536)
            assert more, answer
            answer += more
    assert b"-ERR" not in answer, answer


# --- what came out

_TOKEN = re.compile(
    r"\x1b\[(?P<private>[<-?]*)(?P<args>[0-9;:]*)(?P<inter>[ -/]*)(?P<final>[@-~])"
    r"|\x1b\](?P<osc>[^\x07\x1b]*)(?:\x07|\x1b\\)"
    r"|\x1b(?P<string>[PX^_])[^\x1b]*\x1b\\"
    r"|\x1b(?P<escape>[ -/]+[0-~]|[0-OQ-WYZ\\`-~])"
    r"|(?P<control>[\x00-\x1a\x1c-\x1f\x7f-\x9f])"
    r"|(?P<text>[^\x00-\x1f\x7f-\x9f]+)"
)
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Mn", "Me", "Mc"})
_BLANK = frozenset("\u115f\u3164\uffa0\u2800")


def obeyed(text: str) -> set[str]:
    """Characters that a terminal could obey, that turn the text round, or that stand on no cell of their own."""
    return {
        c for c in set(text)
        if not " " <= c <= "~"
        and (unicodedata.category(c) in _HIDDEN or c in _BLANK or c.isspace() or wcwidth(c) < 1 or wcwidth(c) != cell_len(c))
    }  # fmt: skip


class Written:
    """Everything that a program wrote to a terminal, taken apart. Raises AssertionError for what is none of it."""

    def __init__(self, raw: bytes) -> None:
        whole = raw.decode("utf-8")
        self.shapes: Counter[str] = Counter()
        self.styles: set[str] = set()
        self.copied: list[str] = []
        self.modes: dict[str, str] = {}
        texts, place = [], 0
        while place < len(whole):
            found = _TOKEN.match(whole, place)
            assert found, f"torn sequence: {whole[place : place + 80]!r}"
            place = found.end()
            if found["text"] is not None:
                texts.append(found["text"])
            else:
                self._take(found)
        self.text = "".join(texts)
        """The printable text, in the order in which it was written."""

    def _take(self, found: re.Match[str]) -> None:
        if found["final"] is not None:
            self._control_sequence(found)
        elif found["osc"] is not None:
            number, _, rest = found["osc"].partition(";")
            self.shapes[f"OSC {number}"] += 1
            if number == "52":
                self.copied.append(rest.removeprefix("c;"))
        else:
            self.shapes[f"{found['string'] or found['escape'] or found['control']!r}"] += 1

    def _control_sequence(self, found: re.Match[str]) -> None:
        private, args, final = found["private"], found["args"], found["final"]
        name = f"CSI {private}{found['inter']}{final}"
        if final in "hl":
            name = f"CSI {private}{args}{final}"
            self.modes |= {f"{private}{number}": final for number in args.split(";")}
        elif final in "tupcq":
            name = f"CSI {private}{args}{found['inter']}{final}"
        elif final == "m" and not private:
            self.styles |= set(args.split(";"))
        self.shapes[name] += 1


# --- the store

_KEPT = re.compile(
    r"(uuids?|_id|_ref|^key|^name|^worker|^sensor_key|state|status|kind|tactic|substrate|mutate_interval|outcome|address)$"
)
"""Columns by which rows find each other or which decide what is shown: few of their rows are changed."""
_NEVER = {("recording", "key"), ("session", "keystrokes_ref")}
"""Else no recording would be played."""
_LEFT = {"alembic_version", "schema_meta", "lease", "outbox", "rule_change", "failure_count"}


def poison(database: Path, dice: Dice) -> int:
    """Adds hostile text to every text and JSON column of every table; how many values were changed."""
    changed = 0
    with closing(sqlite3.connect(database)) as connection, connection:
        tables = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        for table in sorted(set(tables) - _LEFT):
            columns = [
                (row[1], row[2].upper()) for row in connection.execute(f'PRAGMA table_info("{table}")')
            ]
            for column, kind in columns:
                if kind in ("TEXT", "JSON") and (table, column) not in _NEVER:
                    changed += _poison_column(connection, table, column, kind, dice)
    return changed


def _key_of(connection: sqlite3.Connection, table: str) -> list[str]:
    """What names a row; some tables have no number for it."""
    ((*_, without, _),) = connection.execute(f'PRAGMA table_list("{table}")').fetchall()
    if not without:
        return ["rowid"]
    return [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")') if row[5]]


def _poison_column(connection: sqlite3.Connection, table: str, column: str, kind: str, dice: Dice) -> int:
    share = 0.12 if _KEPT.search(column) else 0.9
    changed = 0
    names = _key_of(connection, table)
    same = " AND ".join(f'"{name}" = ?' for name in names)
    asked = ", ".join(f'"{name}"' for name in (*names, column))
    for *key, old in connection.execute(f'SELECT {asked} FROM "{table}"').fetchall():
        if old is None or dice.random() > share:
            continue
        new = (
            _storable(old + dice.text())
            if kind == "TEXT"
            else json.dumps(_poisoned(json.loads(old), dice, share))
        )
        with suppress(
            sqlite3.IntegrityError
        ):  # another row may be called so already, or the table knows its words
            connection.execute(f'UPDATE "{table}" SET "{column}" = ? WHERE {same}', (new, *key))
            changed += 1
    return changed


def _storable(text: str) -> str:
    return re.sub("[\0\ud800-\udfff]", "\ufffd", text)


def _poisoned(value: Any, dice: Dice, share: float) -> Any:
    """The same shape with hostile texts, and a hostile key in each object."""
    if isinstance(value, str):
        keep = re.fullmatch(r"[0-9a-f-]{32,}|s\d+|\d{4}-.*", value)
        return value if keep and dice.random() > 0.1 else _storable(value + dice.text())
    if isinstance(value, list):
        return [_poisoned(item, dice, share) for item in value]
    if isinstance(value, dict):
        known = {key: _poisoned(item, dice, share) for key, item in value.items()}
        return {**known, _storable(dice.text()): _storable(dice.text())}
    return value
