"""What is known of one session: of its record (``attacker.session.ended``) and of its recording.

Bounded: the first commands count, the rest is only counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any

from decnet.behave import lexicon
from decnet.behave import thresholds as t
from decnet.behave.keys import KeyFacts, read_keys
from decnet.events import session as events
from decnet.hostile import storable_text
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
    session: events.SessionEnded,
    recording: bytes | None = None,
    breathe: Callable[[], None] | None = None,
) -> Evidence:
    """The evidence of a whole session; ``breathe`` is called now and then while a long one is read."""
    ended = float(session.ended_at)
    started = ended if session.started_at is None else min(float(session.started_at), ended)
    found = Evidence(
        session_id=session.session_id,
        attacker_uuid=str(session.attacker),
        protocol=_text(session.protocol or session.service) or "unknown",
        started_at=started,
        ended_at=ended,
        end_reason=_text(session.end_reason) or "",
        duration_s=ended - started if session.duration_s is None else session.duration_s,
    )
    found.commands = _commands(session.commands, started, ended, breathe or _nothing)
    found.command_count = max(session.command_count or 0, len(found.commands))
    found.client = _client(session.client or events.Client())
    found.account = _account(session.auth or events.Auth())
    found.artifacts = len(session.downloads) + len(session.uploads)
    found.has_terminal = found.client.get("size") is not None
    if recording:
        _read_recording(found, recording, breathe)
    return found


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


def _commands(
    rows: Sequence[events.Command], started: float, ended: float, breathe: Callable[[], None]
) -> list[Command]:
    out: list[tuple[float, int, Command]] = []
    last, room = started, t.MAX_COMMANDS_TEXT
    for place, row in enumerate(rows[: 4 * t.MAX_COMMANDS]):
        text = row.command_text
        if _is_no_command(text, row.id, first=not out):
            continue
        if not place % 64:
            breathe()
        last = last if row.ts is None else min(max(float(row.ts), started), ended)
        failed = None if row.success is None else not row.success
        out.append((last, place, Command(parsed(text[: t.MAX_COMMAND_TEXT]), last, failed)))
        room -= min(len(text), t.MAX_COMMAND_TEXT)
        if len(out) >= t.MAX_COMMANDS or room <= 0:
            break
    out.sort(key=lambda item: item[:2])
    return [command for _, _, command in out]


def _is_no_command(text: str, ident: str | None, *, first: bool) -> bool:
    """Nothing, a later piece of one long command (``…#cmd3.1``), or a script that the honeypot read from a file.

    Cowrie logs the text of an executed file as input; unlike a line that somebody sent, it ends in a newline.
    """
    if not text.strip():
        return True
    if ident and "." in ident.rpartition("#cmd")[2] and "#cmd" in ident:
        return True
    return text.startswith("#!") or (text.endswith("\n") and not first)


_REMEMBERED_CHARS = 1000


def parsed(text: str) -> Parsed:
    """One line in classes; lines repeat a lot, so short ones are remembered."""
    return _remembered(text) if len(text) <= _REMEMBERED_CHARS else _parsed(text)


def _parsed(text: str) -> Parsed:
    commands = split_commands(text).commands
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


_remembered = lru_cache(maxsize=4096)(_parsed)


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


def _client(client: events.Client) -> Row:
    kex = [text for item in client.kex[: t.MAX_LIST_VALUES] if (text := _text(item))]
    return {
        "hassh": _text(client.hassh),
        "version": _text(client.version),
        "kex": kex,
        "size": client.size or None,
    }


def _account(auth: events.Auth) -> str | None:
    """The account that let the attacker in, when only one was tried."""
    return auth.usernames[0] if auth.success and len(auth.usernames) == 1 else None


def _text(value: str | None) -> str | None:
    return storable_text(value[: t.MAX_VALUE_CHARS]) if value else None
