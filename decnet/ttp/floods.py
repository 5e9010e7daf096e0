"""Floods: a session that sends like requests to one host over and over is told once, with their number.

Requests are alike when they ask for the same address; what stands after its ``?`` and the options of the program
do not count. Addresses of one host that a few ask for each, and that only numbers tell apart, are alike as well.
Whether a number is a flood is a rule's business: where a rule tells one, what other rules say of its single requests
is told once too, at the earliest of them; what it ``replaces`` falls away. Whatever else is on a line, or in the
session, stays.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from decnet.events.session import SessionEnded
from decnet.shell.inline import given_text, inline_fetch
from decnet.shell.split import split_commands
from decnet.shell.wrappers import look_through
from decnet.ttp.base import TaggerEvent, TTPTag
from decnet.ttp.rules import CompiledRule

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.rows.ttp import StoredTag

FEWEST = 100
"""Fewer like requests are not put before the rules."""
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
    """What is left to store, and which stored tags give way (uuid → uuid of the tag that stands for it).

    Those of ``gone`` are told by another one, those of ``replaced`` are what a flood is not.
    """

    tags: list[TTPTag]
    gone: dict[str, str]
    replaced: dict[str, str]


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
    """The requests of a session."""
    lines = [(ident, c) for ident, c in session.command_ids() if "://" in c.command_text]
    if len(lines) < FEWEST:
        return {}
    found: _Found = defaultdict(dict)
    otherwise = session.ended_at if session.started_at is None else session.started_at
    for ident, command in lines:
        asked = address_asked(command.command_text)
        if asked is not None:
            found[asked][ident] = float(otherwise if command.ts is None else command.ts)
    return found


def floods_of(ended: Iterable[SessionEnded]) -> list[Flood]:
    """What may be floods in sessions."""
    sessions = {session.session_id: session for session in ended}
    return [flood for session in sessions.values() for flood in _floods(session, _requests(session))]


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


class _Teller(NamedTuple):
    """The tag of a flood, and which techniques of its requests its rule replaces."""

    uuid: str
    replaces: frozenset[str]


@dataclass(slots=True)
class _Folding:
    """Tags of the requests of told floods, by what they say; the earliest of each stands."""

    tags: list[TTPTag]
    requests: dict[str, tuple[_Teller, Order]]
    """Id of a request → its flood's tag, place in time."""
    best: dict[tuple[Any, ...], tuple[Order, str]] = field(default_factory=dict)
    keys: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    def see(self, uuid: str, source: str, *says: Any) -> None:
        (told_by, replaces), order = self.requests[source]
        key = (told_by, *says)
        self.keys[uuid] = key
        if (says[-1] or says[-2]) in replaces:
            self.best[key] = (order, told_by)
        elif key not in self.best or order < self.best[key][0]:
            self.best[key] = (order, uuid)

    def told(self, stored: Iterable[StoredTag]) -> Told:
        left = [tag for tag in self.tags if self._stands(tag.uuid)]
        known = [row["uuid"] for row in stored if row["uuid"] in self.keys]
        gone = {uuid: self.best[self.keys[uuid]][1] for uuid in known}
        replaced = {uuid: by for uuid, by in gone.items() if by == self.keys[uuid][0]}
        return Told(left, {uuid: by for uuid, by in gone.items() if uuid not in {by, *replaced}}, replaced)

    def _stands(self, uuid: str) -> bool:
        return uuid not in self.keys or self.best[self.keys[uuid]][1] == uuid


def folded(
    tags: Sequence[TTPTag],
    stored: Sequence[StoredTag],
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


def _told_by(tags: Sequence[TTPTag], rules: Iterable[CompiledRule]) -> dict[str, _Teller]:
    """What a rule about floods told → its tag."""
    tellers = {rule.rule_id: rule.replaces for rule in rules if tells_floods(rule)}
    return {
        tag.source_id: _Teller(tag.uuid, tellers[tag.rule_id])
        for tag in tags
        if tag.source_kind == "session" and tag.rule_id in tellers
    }


def _of_a_line(tag: StoredTag) -> bool:
    return tag["source_kind"] == "command" and tag["replaced_by"] is None


async def told_once(
    tags: list[TTPTag], floods: Sequence[Flood], rules: Sequence[CompiledRule], repo: BaseRepository
) -> Told:
    """As :func:`folded`, with what is stored of the sessions; what gives way there is marked."""
    told_by = _told_by(tags, rules)
    told = [flood for flood in floods if flood.event.source_id in told_by]
    if not told:
        return Told(tags, {}, {})
    stored = await repo.tags_of_sessions(sorted({str(flood.event.session_id) for flood in told}))
    done = folded(tags, [row for row in stored if _of_a_line(row)], told, rules)
    await repo.give_way(done.gone)
    await repo.replace_tags(done.replaced)
    return done
