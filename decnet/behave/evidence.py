"""What is known of one session, read strictly from ``attacker.session.ended`` and its recording.

Bounded: the first commands count, the rest is only counted. Raises ValueError for a payload that
is no session; tolerates every other odd value by leaving it out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any

from decnet.behave import lexicon
from decnet.behave import thresholds as t
from decnet.behave.keys import KeyFacts, read_keys
from decnet.hostile import storable_text
from decnet.ids import attacker_id
from decnet.shell.split import split_commands
from decnet.shell.wrappers import look_through

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Parsed:
    """One command line in the classes that the primitives need."""

    text: str
    words: tuple[str, ...]
    names: tuple[str, ...]
    """Programs of the line from left to right, wrappers looked through."""
    pipes: int
    phase: str
    """recon, fetch, persistence, lateral, exfil, destructive, cleanup or other."""
    hides_history: bool
    logs: bool

    @property
    def name(self) -> str:
        """The first program."""
        return self.names[0] if self.names else ""


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the session; ``ts`` epoch seconds, ``failed`` None when nobody said."""

    parsed: Parsed
    ts: float
    failed: bool | None = None


@dataclass(slots=True)
class Evidence:
    """One session; times are epoch seconds, ``ended_at`` never before ``started_at``."""

    session_id: str
    attacker_uuid: str
    protocol: str
    started_at: float
    ended_at: float
    end_reason: str
    duration_s: float
    commands: list[Command] = field(default_factory=list)
    command_count: int = 0
    client: Row = field(default_factory=dict)
    account: str | None = None
    artifacts: int = 0
    has_terminal: bool = False
    keys: KeyFacts | None = None
    foreign_recording: bool = False
    """The recording holds the times of another session with the same input, and was not used."""

    @property
    def gaps(self) -> list[float]:
        """Seconds between one command and the next."""
        times = [command.ts for command in self.commands]
        return [max(after - before, 0.0) for before, after in pairwise(times)]


def evidence_of(
    payload: Row, recording: bytes | None = None, breathe: Callable[[], None] | None = None
) -> Evidence:
    """The evidence of a whole session. Raises ValueError when the payload is none.

    ``breathe`` is called now and then while a long one is read.
    """
    started, ended = _time(payload.get("started_at")), _time(payload.get("ended_at"))
    session_id, attacker = payload.get("session_id"), attacker_of(payload)
    if ended is None or not isinstance(session_id, str) or attacker is None:
        raise ValueError("session_id, attacker or ended_at is missing")
    started = ended if started is None else min(started, ended)
    found = Evidence(
        session_id=session_id,
        attacker_uuid=attacker,
        protocol=_text(payload.get("protocol") or payload.get("service")) or "unknown",
        started_at=started,
        ended_at=ended,
        end_reason=_text(payload.get("end_reason")) or "",
        duration_s=_duration(payload.get("duration_s"), ended - started),
    )
    found.commands = _commands(payload.get("commands"), started, ended, breathe or _nothing)
    found.command_count = max(_count(payload.get("command_count")), len(found.commands))
    found.client = _client(payload.get("client"))
    found.account = _account(payload.get("auth"))
    found.artifacts = len(_list(payload.get("downloads"))) + len(_list(payload.get("uploads")))
    found.has_terminal = found.client.get("size") is not None
    if recording:
        _read_recording(found, recording, breathe)
    return found


def attacker_of(payload: Row) -> str | None:
    """The attacker's id, derived from the address when it is not given; None without both."""
    uuid, ip = payload.get("attacker_uuid"), payload.get("attacker_ip")
    if isinstance(uuid, str) and uuid:
        return uuid
    return attacker_id(storable_text(ip)) if isinstance(ip, str) and ip else None


def _read_recording(found: Evidence, recording: bytes, breathe: Callable[[], None] | None) -> None:
    keys = read_keys(recording, breathe)
    if keys.first_at is None:
        return
    slack = t.RECORDING_SLACK_S
    if keys.last_at < found.started_at - slack or keys.first_at > found.ended_at + slack:
        found.foreign_recording = True
        return
    if keys.events:
        found.keys = keys
        _failures_from_terminal(found, keys)
    found.has_terminal |= keys.events > 0


def _failures_from_terminal(found: Evidence, keys: KeyFacts) -> None:
    """The terminal showed an error: the command that it answered failed, whatever the log says."""
    failed = [line for line in keys.lines if line.failed and line.kind == "command"]
    place = 0
    for line in failed:
        while place < len(found.commands) and found.commands[place].ts < line.ended - 1.0:
            place += 1
        for index in range(place, min(place + 4, len(found.commands))):
            command = found.commands[index]
            if command.parsed.text.strip() == line.text.strip() and abs(command.ts - line.ended) < 2.0:
                found.commands[index] = Command(command.parsed, command.ts, failed=True)
                break


def _nothing() -> None:
    """Breathing where nobody waits."""


def _commands(value: Any, started: float, ended: float, breathe: Callable[[], None]) -> list[Command]:
    rows = [row for row in _list(value)[: 4 * t.MAX_COMMANDS] if isinstance(row, dict)]
    out: list[tuple[float, int, Command]] = []
    last, room = started, t.MAX_COMMANDS_TEXT
    for place, row in enumerate(rows):
        text = row.get("command_text")
        if not isinstance(text, str) or _is_no_command(text, row.get("id"), first=not out):
            continue
        if not place % 64:
            breathe()
        ts = _time(row.get("ts"))
        last = last if ts is None else min(max(ts, started), ended)
        success = row.get("success")
        failed = None if not isinstance(success, bool) else not success
        out.append((last, place, Command(parsed(text[: t.MAX_COMMAND_TEXT]), last, failed)))
        room -= min(len(text), t.MAX_COMMAND_TEXT)
        if len(out) >= t.MAX_COMMANDS or room <= 0:
            break
    out.sort(key=lambda item: item[:2])
    return [command for _, _, command in out]


def _is_no_command(text: str, ident: Any, *, first: bool) -> bool:
    """Nothing, a later piece of one long command (``…#cmd3.1``), or a script that the honeypot read from a file.

    Cowrie logs the text of an executed file as input; unlike a line that somebody sent, it ends in a newline.
    """
    if not text.strip():
        return True
    if isinstance(ident, str) and "." in ident.rpartition("#cmd")[2] and "#cmd" in ident:
        return True
    return text.startswith("#!") or (text.endswith("\n") and not first)


@lru_cache(maxsize=4096)
def parsed(text: str) -> Parsed:
    """One line in classes; lines repeat a lot, so they are remembered."""
    commands, _ = split_commands(text)
    simple = [tuple(look_through(command.words)[0]) for command in commands[:64]]
    names = tuple(words[0].rpartition("/")[2] for words in simple if words)
    hides, logs = lexicon.hides_history(text), lexicon.tampers_with_logs(text)
    return Parsed(
        text=text,
        words=simple[0] if simple else (),
        names=names,
        pipes=lexicon.pipes(text),
        phase="cleanup" if hides or logs else _phase(text, names),
        hides_history=hides,
        logs=logs,
    )


def _phase(text: str, names: tuple[str, ...]) -> str:
    """The stage of an operation that a line belongs to; the gravest counts."""
    first = names[0] if names else ""
    stages = (
        ("destructive", lexicon.destroys(text, names)),
        ("exfil", lexicon.exfiltrates(text)),
        ("persistence", lexicon.persists(text, names)),
        ("fetch", any(name in lexicon.FETCHERS for name in names)),
        ("lateral", any(name in lexicon.LATERAL for name in names)),
        ("cleanup", first in ("rm", "shred")),
        ("recon", first in lexicon.GROUP_OF),
    )
    return next((name for name, hit in stages if hit), "other")


def _client(value: Any) -> Row:
    client = value if isinstance(value, dict) else {}
    kex = [text for item in _list(client.get("kex"))[: t.MAX_LIST_VALUES] if (text := _text(item))]
    size = client.get("size")
    return {
        "hassh": _text(client.get("hassh")),
        "version": _text(client.get("version")),
        "kex": kex,
        "size": size if isinstance(size, dict) and size else None,
    }


def _account(value: Any) -> str | None:
    """The account that let the attacker in, when only one was tried."""
    auth = value if isinstance(value, dict) else {}
    names = _list(auth.get("usernames"))
    known = auth.get("success") is True and len(names) == 1 and isinstance(names[0], str)
    return names[0] if known else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return storable_text(value[: t.MAX_VALUE_CHARS]) if isinstance(value, str) and value else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < 1e15 and math.isfinite(value) else None


def _time(value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and number >= 0 else None


def _count(value: Any) -> int:
    return int(_number(value) or 0)


def _duration(value: Any, default: float) -> float:
    number = _number(value)
    return default if number is None or number < 0 else number
