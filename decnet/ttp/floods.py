"""Floods: a session that sends like requests to one host over and over is told once, with their number.

Requests are alike when they ask for the same address; what stands after its ``?`` and the options of the program
do not count. Addresses of one host that a few ask for each, and that only numbers tell apart, are alike as well. Whether a number is a flood is a rule's business: where a rule tells one, what other rules say of its
single requests is told once too, at the earliest of them. Whatever else is on a line, or in the session, stays.
A long session comes in parts, in any order and more than once: what a part had is kept until the others are here.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from decnet.events.session import SessionEnded
from decnet.hostile import storable_text
from decnet.shell.inline import given_text, inline_fetch
from decnet.shell.split import split_commands
from decnet.shell.wrappers import look_through
from decnet.ttp.base import TaggerEvent, TTPTag
from decnet.ttp.rules import CompiledRule

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.rows.ttp import StandingTag, WindowHitFacts

FEWEST = 100
"""Fewer like requests are not put before the rules."""
REPLACED = frozenset({"T1071.001"})
"""Readings of a single request that its being one of a flood takes away: nobody is commanded by a thousand of them."""
_LINE_CHARS = 8_192
_URL_CHARS = 200
_URL = re.compile(r"(?i)(?:https?|ftp)://[^\s/?#]")
_ELSEWHERE = frozenset(
    {"-e", "--referer", "-x", "--proxy", "--preproxy", "-H", "--header", "-A", "--user-agent", "-b"}
)
"""Options whose value may be an address that is not asked."""
_ASKS_NOBODY = frozenset(
    {"echo", "printf", "cat", "grep", "export", "set", "alias", "test", "[", "man", "which", ":"}
)
_WAITS = frozenset({"sleep", "usleep", "wait", "true"})
_NUMBERS = re.compile(r"\d+")
Order = tuple[float, str]
"""(epoch seconds, id) of a request."""
_Found = dict[str, dict[str, float]]
"""Address → id of a request → epoch seconds."""


@dataclass(frozen=True, slots=True)
class Flood:
    """Like requests of one session: the event to judge, and each request's place in time by its id."""

    event: TaggerEvent
    requests: Mapping[str, Order]


class Told(NamedTuple):
    """What is left to store, and which stored tags give way (uuid → uuid of the tag that stands for it)."""

    tags: list[TTPTag]
    gone: dict[str, str]


def address_asked(line: str) -> str | None:
    """The address (scheme, host, path) that a line asks for and does nothing else; None when there is no such one.

    A line may ask for it several times, and wait between.
    """
    if len(line) > _LINE_CHARS or _URL.search(line) is None:
        return None
    commands, _, capped, _ = split_commands(line)
    if capped or any(command.more for command in commands):
        return None
    looked = [look_through(command.words) for command in commands]
    asked = {_asked(words, script) for words, script in looked if not words or words[0] not in _WAITS}
    return asked.pop() if len(asked) == 1 else None


def _asked(words: Sequence[str], script: str | None) -> str | None:
    """The address that one command asks for."""
    if script is not None or not words or words[0].rpartition("/")[2] in _ASKS_NOBODY:
        return None
    if (inline := inline_fetch(given_text(words))) is not None:
        return _like(inline[1])
    asked = [word for option, word in pairwise(words) if _URL.match(word) and option not in _ELSEWHERE]
    return _like(asked[0]) if len(asked) == 1 else None


def _like(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    host = parts.hostname or ""
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path or '/'}" if host else None


def _requests(session: SessionEnded) -> _Found:
    """The requests of a session or of a part of one."""
    lines = [(ident, c) for ident, c in session.command_ids() if "://" in c.command_text]
    if len(lines) < FEWEST and not _in_part(session):
        return {}
    found: _Found = defaultdict(dict)
    otherwise = session.ended_at if session.started_at is None else session.started_at
    for ident, command in lines:
        asked = address_asked(command.command_text)
        if asked is not None:
            found[asked][ident] = float(otherwise if command.ts is None else command.ts)
    return found


def _in_part(session: SessionEnded) -> bool:
    """Whether there may be more of the session than this."""
    return session.parts > 1 or session.piece is not None


async def floods_of(ended: Sequence[SessionEnded], repo: BaseRepository, keep_s: float) -> list[Flood]:
    """What may be floods in sessions, with what earlier parts of them had; ``repo`` is bound to a transaction.

    ``keep_s`` is how long (seconds, wall clock) a part waits for the others.
    """
    sessions: dict[str, SessionEnded] = {}
    all_found: dict[str, _Found] = {}
    rows: list[WindowHitFacts] = []
    for session in ended:
        if found := _requests(session):
            sessions[session.session_id] = session
            _add(all_found.setdefault(session.session_id, {}), found)
            rows += [_row(session, found, time.time() + keep_s)] if _in_part(session) else []
    if rows:
        await _with_other_parts(rows, all_found, repo)
    return [flood for ident, found in all_found.items() for flood in _floods(sessions[ident], found)]


async def _with_other_parts(
    rows: Sequence[WindowHitFacts], all_found: Mapping[str, _Found], repo: BaseRepository
) -> None:
    """Keeps what parts had, and adds what is kept of the others."""
    sessions = {_slot(ident): ident for ident in all_found}
    slots = sorted({row["slot"] for row in rows})
    await repo.lock_slots(slots)
    await repo.add_window_hits(rows)
    for stored in await repo.window_hits(slots):
        _add(all_found[sessions[stored["slot"]]], _kept(stored["why"]))


def _add(to: _Found, found: Mapping[str, Mapping[str, float]]) -> None:
    for url, requests in found.items():
        to.setdefault(url, {}).update(requests)


def _slot(session_id: str) -> str:
    return hashlib.blake2b(f"flood|{storable_text(session_id)}".encode(), digest_size=16).hexdigest()


def _row(session: SessionEnded, found: _Found, keep_until: float) -> WindowHitFacts:
    return {
        "slot": _slot(session.session_id),
        "source_kind": "session",
        "source_id": f"{session.piece or ''}|{session.lines}|{session.part}/{session.parts}",
        "pos": 0,
        "ts": float(session.ended_at),
        "steps": 0,
        "value": "",
        "who": {},
        "why": {"requests": found},
        "keep_until": keep_until,
    }


def _kept(why: Any) -> Mapping[str, Mapping[str, float]]:
    kept: Mapping[str, Mapping[str, float]] = why["requests"]
    return kept


def alike(found: _Found) -> _Found:
    """Addresses that enough ask for; of the others those that only the numbers in their paths tell apart, together."""
    alike = {url: requests for url, requests in found.items() if len(requests) >= FEWEST}
    together: _Found = defaultdict(dict)
    for url in found.keys() - alike.keys():
        parts = urlsplit(url)
        together[f"{parts.scheme}://{parts.netloc}{_NUMBERS.sub('#', parts.path)}"].update(found[url])
    enough = {url: requests for url, requests in together.items() if len(requests) >= FEWEST}
    return {**enough, **alike}


def _floods(session: SessionEnded, found: _Found) -> Iterable[Flood]:
    for url, requests in sorted(alike(found).items()):
        times = requests.values()
        payload = {
            "flood_count": len(requests),
            "flood_host": urlsplit(url).hostname or "",
            "flood_url": url,
            "flood_seconds": round(max(times) - min(times), 3),
            "ts": min(times),
        }
        short = (
            url if len(url) <= _URL_CHARS else hashlib.sha256(url.encode("utf-8", "replace")).hexdigest()[:32]
        )
        event = TaggerEvent(
            "session",
            f"{session.session_id}#flood#{short}",
            session.attacker,
            session.identity_uuid,
            session.session_id,
            session.decky_id,
            payload,
        )
        yield Flood(event, {ident: (ts, ident) for ident, ts in requests.items()})


_PROBE = {"flood_count": 1 << 40, "flood_host": "host", "flood_url": "https://host/", "flood_seconds": 1.0}


def tells_floods(rule: CompiledRule) -> bool:
    """Whether a rule is about floods: it must judge along wherever single requests are judged."""
    if "session" not in rule.applies_to or rule.condition is None:
        return False
    found = rule.condition.find(_PROBE.get)
    return found is not None and found.field in _PROBE


@dataclass(slots=True)
class _Folding:
    """Tags of the requests of told floods, by what they say; the earliest of each stands."""

    tags: list[TTPTag]
    requests: dict[str, tuple[str, Order]]
    """Id of a request → uuid of its flood's tag, place in time."""
    best: dict[tuple[Any, ...], tuple[Order, str]] = field(default_factory=dict)
    keys: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    def see(self, uuid: str, source: str, *says: Any) -> None:
        told_by, order = self.requests[source]
        key = (told_by, *says)
        self.keys[uuid] = key
        if REPLACED & set(says):
            self.best[key] = (order, told_by)
        elif key not in self.best or order < self.best[key][0]:
            self.best[key] = (order, uuid)

    def told(self, stored: Iterable[StandingTag]) -> Told:
        left = [tag for tag in self.tags if self._stands(tag.uuid)]
        gone = {
            row["uuid"]: self.best[self.keys[row["uuid"]]][1] for row in stored if row["uuid"] in self.keys
        }
        return Told(left, {uuid: by for uuid, by in gone.items() if uuid != by})

    def _stands(self, uuid: str) -> bool:
        return uuid not in self.keys or self.best[self.keys[uuid]][1] == uuid


def folded(
    tags: Sequence[TTPTag],
    stored: Sequence[StandingTag],
    floods: Sequence[Flood],
    rules: Sequence[CompiledRule],
) -> Told:
    """The tags with those of a told flood's requests once each; what a rule says of several events stays."""
    told = _told_by(tags, rules)
    others = {rule.rule_id for rule in rules if rule.correlation is not None}
    requests = {
        ident: (told[flood.event.source_id], order)
        for flood in floods
        if flood.event.source_id in told
        for ident, order in flood.requests.items()
    }
    folding = _Folding(list(tags), requests)
    for tag in tags:
        if tag.source_kind == "command" and tag.source_id in requests:
            says = (tag.rule_id, tag.rule_version, tag.technique_id, tag.sub_technique_id)
            folding.see(tag.uuid, tag.source_id, *says)
    for row in stored:
        if row["source_id"] in requests and row["rule_id"] not in others:
            says = (row["rule_id"], row["rule_version"], row["technique_id"], row["sub_technique_id"])
            folding.see(row["uuid"], row["source_id"], *says)
    return folding.told(stored)


def _told_by(tags: Sequence[TTPTag], rules: Iterable[CompiledRule]) -> dict[str, str]:
    """What a rule about floods told → uuid of its tag."""
    tellers = {rule.rule_id for rule in rules if tells_floods(rule)}
    return {t.source_id: t.uuid for t in tags if t.source_kind == "session" and t.rule_id in tellers}


async def told_once(
    tags: list[TTPTag], floods: Sequence[Flood], rules: Sequence[CompiledRule], repo: BaseRepository
) -> Told:
    """As :func:`folded`, with what is stored of the sessions; what gives way there is marked."""
    told_by = _told_by(tags, rules)
    told = [flood for flood in floods if flood.event.source_id in told_by]
    if not told:
        return Told(tags, {})
    stored = await repo.standing_tags(sorted({str(flood.event.session_id) for flood in told}), "command")
    done = folded(tags, stored, told, rules)
    await repo.give_way(done.gone)
    return done
