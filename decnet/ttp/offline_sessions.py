"""Whole sessions tagged without an engine: one object in, one answer out, each command in its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from decnet.bus.base import Event
from decnet.errors import MalformedEvent
from decnet.events.session import SessionEnded
from decnet.runtime.received import Received
from decnet.shell.joining import joined
from decnet.ttp.acts import Mark
from decnet.ttp.base import TaggerEvent
from decnet.ttp.course import moves_of
from decnet.ttp.events import tagger_events
from decnet.ttp.kinds import CONTEXT, LOGIN
from decnet.ttp.offline import OfflineTagger
from decnet.ttp.story import story_of

TOPIC = "attacker.session.ended"
_NOBODY = "192.0.2.0"
"""Whose a session is of which only the commands are known (an address of RFC 5737)."""
Tags = list[dict[str, Any]]


def tag_session(tagger: OfflineTagger, session: Mapping[str, Any]) -> dict[str, Any]:
    """The tags of a session: of each command, in order, and of what is no command's.

    ``session`` has ``session`` (its id) and ``commands`` (texts, or objects with ``text`` and ``ts``, epoch seconds),
    and may have ``downloads``, ``uploads`` and ``auth`` as ``attacker.session.ended`` has them. Rules over time need times:
    of commands without them they say nothing. Raises ValueError for what is no session.
    """
    one = received_session(session)
    record = one.record
    places = {ident: place for place, (ident, _) in enumerate(record.command_ids())}
    answers: list[Tags] = [[] for _ in record.commands]
    others: Tags = []
    events = tagger_events(one)
    marks: dict[str, list[Mark]] = {}
    for event in events:
        lines = event.payload.get("lines") if event.source_kind == "command" else None
        place = places.get(lines[0] if lines else event.source_id)
        of_command = place is not None and event.source_kind == "command"
        tags = tags_of(tagger, event)
        marks.setdefault(event.source_id, []).extend(map(_mark, tags))
        (answers[place] if of_command and place is not None else others).extend(tags)
    commands = [
        {"input": command.command_text, "tags": tags}
        for command, tags in zip(record.commands, answers, strict=True)
    ]
    told = story_of(moves_of(record, events, marks))
    return {
        "session": session["session"], "commands": commands, "session_tags": others, "story": told.phases,
        "story_line": told.line, "severity": told.severity, "severity_reason": told.reason, "playbook": told.playbook,
    }  # fmt: skip


def _mark(tag: Mapping[str, Any]) -> Mark:
    technique = tag["sub_technique_id"] or tag["technique_id"]
    return Mark(technique, tag["tactic"], tag["matched"], tag["confidence"])


def tags_of(tagger: OfflineTagger, event: TaggerEvent) -> Tags:
    """The tags of one event of a session; rules over time say nothing of a command without a time."""
    payload = event.payload
    if event.source_kind == "command" and payload.get("ts") is None and not {CONTEXT, LOGIN} & payload.keys():
        return tagger.tag_command(str(payload.get("command_text") or ""))
    who = {"session_id": event.session_id, "attacker_uuid": event.attacker_uuid}
    found = {"source_kind": event.source_kind, "source_id": event.source_id, **who, "payload": payload}
    return tagger.tag_event(found, timeless=event.source_kind == "command" and payload.get("ts") is None)


class ReceivedSession(Received):
    """What is known to be the end of a session."""

    record: SessionEnded


def received_session(session: Mapping[str, Any]) -> ReceivedSession:
    """The session as the bus would bring it. Raises ValueError for what is none."""
    name, commands = session.get("session"), session.get("commands")
    if not isinstance(name, (str, int)) or not isinstance(commands, list):
        raise ValueError("a session is an object with session and commands")  # noqa: TRY004 - not the type of the argument
    told = [_command(f"{name}#cmd{place}", item) for place, item in enumerate(commands)]
    payload = {
        "session_id": str(name),
        "attacker_ip": _NOBODY,
        "ended_at": 0.0,
        "commands": told,
        "joined": _whole(told),
        **{key: session[key] for key in ("downloads", "uploads", "auth") if session.get(key)},
    }
    try:
        record = SessionEnded.parse(payload, [])
    except MalformedEvent as error:
        raise ValueError(str(error)) from error
    return ReceivedSession(Event(TOPIC, {}, id=record.session_id), record)


def stored_session(payload: Mapping[str, Any]) -> ReceivedSession:
    """A session as the database has it. Raises MalformedEvent."""
    record = SessionEnded.parse(dict(payload), [])
    return ReceivedSession(Event(TOPIC, {}, id=record.session_id), record)


def _command(ident: str, item: Any) -> dict[str, Any]:
    said = item if isinstance(item, dict) else {"text": item}
    if not isinstance(said.get("text"), str):
        raise ValueError(f"{ident}: a command is a text, or an object with one")  # noqa: TRY004 - not the caller's type
    return {
        "id": ident,
        "command_text": said["text"],
        **({"ts": said["ts"]} if said.get("ts") is not None else {}),
    }


def _whole(commands: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What was typed over several lines, as one command."""
    found = joined([command["command_text"] for command in commands])
    return [
        {
            "id": f"{commands[one.first]['id']}+{one.last - one.first}",
            "command_text": one.text,
            "lines": [command["id"] for command in commands[one.first : one.last + 1]],
        }
        for one in found
    ]
