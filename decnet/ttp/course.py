"""A whole session, or a part of one, as a course of moves: log-in, commands, files and tunnels in their order; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from decnet.events.session import Auth, SessionEnded
from decnet.ttp.acts import LEAVES, Files, Mark, Typed, deed_of, take, word_of
from decnet.ttp.base import TaggerEvent
from decnet.ttp.context import Context
from decnet.ttp.facts import name_of
from decnet.ttp.kinds import CONTEXT
from decnet.ttp.moves import Moves, Step, Writer, clean
from decnet.ttp.stages import DELIVER, stage_of

Marks = Mapping[str, Sequence[Mark]]
"""Source id → what its tags say."""
_HASH_CHARS = 8
_NOTHING: Context = {}
_NEVER = float("inf")
_HERE = ("localhost", "127.", "::1")


class _Beside(NamedTuple):
    """Something that came beside the commands: when (epoch seconds), what it is, and what its tags say."""

    ts: float
    fields: Mapping[str, Any]
    marks: Sequence[Mark]


class _Heard(NamedTuple):
    """A session's events by what they are."""

    typed: list[tuple[Typed, float | None]]
    beside: list[_Beside]
    own: list[Mark]


def moves_of(
    session: SessionEnded, events: Iterable[TaggerEvent], marks: Marks, logins: Sequence[Mark] = ()
) -> Moves:
    """What happened in a session; ``events`` are those that it gives the taggers, ``marks`` the tags of each.

    ``logins`` is what the tags of the credentials say that were captured in it.
    """
    writer, files = Writer(), _files(session)
    heard = _heard(session, events, marks)
    _entered(session, list(dict.fromkeys((*heard.own, *logins))), writer)
    beside = iter(sorted(heard.beside, key=lambda one: one.ts))
    waiting = next(beside, None)
    for one, ts in heard.typed:
        while waiting is not None and ts is not None and waiting.ts <= ts:
            _came(waiting, one.line, writer, files)
            waiting = next(beside, None)
        take(one, files, writer)
    while waiting is not None:
        _came(waiting, len(session.commands), writer, files)
        waiting = next(beside, None)
    if heard.typed and heard.typed[-1][0].text.strip() in LEAVES:
        writer.step(Step("leave", heard.typed[-1][0].line))
    return writer.done()


def _files(session: SessionEnded) -> Files:
    found = Files()
    for sent in session.uploads:
        name = sent.filename or sent.destfile or ""
        found.ways[name_of(name)] = "uploaded"
        _hashed(found, name, sent.sha256)
    for item in session.downloads:
        if item.failed:
            found.failed.add(name_of(item.url))
            continue
        for name in (item.destfile or "", item.url):
            _hashed(found, name, item.sha256)
            if item.url:
                found.ways.setdefault(name_of(name), "fetched")
    found.failed -= found.ways.keys()
    return found


def _hashed(files: Files, name: str, digest: str | None) -> None:
    if name and digest:
        files.hashes.setdefault(name_of(name), digest[:_HASH_CHARS].lower())


def _heard(session: SessionEnded, events: Iterable[TaggerEvent], marks: Marks) -> _Heard:
    places = {ident: place for place, (ident, _) in enumerate(session.command_ids())}
    typed: dict[int, tuple[Typed, float | None]] = {}
    beside: list[_Beside] = []
    own: list[Mark] = []
    within: set[str] = set()
    for event in events:
        told = marks.get(event.source_id, ())
        if event.source_kind == "payload":
            beside.append(_Beside(_when(event.payload), event.payload, told))
        elif event.source_kind == "command":
            lines = event.payload.get("lines") or [event.source_id]
            place = places.get(lines[0])
            if place is not None and event.source_id not in within:
                within.update(lines if event.payload.get("lines") else ())
                typed[place] = _typed(place + 1, event, told), event.payload.get("ts")
        elif event.source_id == session.session_id:
            own += told
    return _Heard([typed[place] for place in sorted(typed)], beside, list(dict.fromkeys(own)))


def _typed(line: int, event: TaggerEvent, marks: Sequence[Mark]) -> Typed:
    return Typed(
        line, str(event.payload.get("command_text") or ""), event.payload.get(CONTEXT) or _NOTHING, marks
    )


def _when(fields: Mapping[str, Any]) -> float:
    """When something came; without a time an upload came first, and all else last."""
    ts = fields.get("ts")
    return float(ts) if ts is not None else -_NEVER if fields["direction"] == "upload" else _NEVER


# --- what is no command


def _entered(session: SessionEnded, own: Sequence[Mark], writer: Writer) -> None:
    """The log-in, and what the tags of the session itself say."""
    entrance = [mark.technique for mark in own if _stage(mark) == "access"]
    auth = session.auth or Auth()
    if auth.success or entrance:
        name = auth.usernames[-1:] if auth.success else ()
        writer.step(Step("access", 0, tuple(map(clean, name)), "", tuple(dict.fromkeys(entrance))))
    if auth.success or session.commands:
        writer.deed("looked" if session.commands else "entered")
    for mark in own:
        stage = _stage(mark)
        if stage != "access":
            writer.step(Step(stage, 0, (), "", (mark.technique,)))
        if kind := deed_of(mark, stage):
            writer.deed(kind, word_of(mark.technique))


def _stage(mark: Mark) -> str:
    return stage_of(mark.technique, mark.tactic, typed=False)


def _came(one: _Beside, line: int, writer: Writer, files: Files) -> None:
    """Takes in a file, a tunnel or an attempt at a weakness."""
    _TAKES[one.fields["direction"]](one, line, writer, files)


def _techniques(one: _Beside, stage: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(mark.technique for mark in one.marks if _stage(mark) == stage))


def _file(one: _Beside, line: int, writer: Writer, files: Files) -> None:
    """A file; one that a command brought is told with that."""
    uploaded = one.fields["direction"] == "upload"
    name = _text(one.fields.get("name"))
    known = any(clean(name) in p.what for p in writer.moves.phases if p.phase == DELIVER)
    if not uploaded and not one.fields.get("url") and line:
        return  # what a redirection wrote is a command's
    play, how = ("+upload", "uploaded") if uploaded else ("+download", "fetched")
    if uploaded or not known:
        writer.beside(play)
    techniques = tuple(dict.fromkeys(mark.technique for mark in one.marks))
    if known:
        writer.also(DELIVER, techniques)
        return
    failed = bool(one.fields.get("failed"))
    writer.deed(*(("tried", clean(name), "fetch") if failed else ("brought", files.called(name), how)))
    via = "" if uploaded else clean(_text(one.fields.get("url_scheme")))
    writer.step(Step("fetch", line, (clean(name),), via, techniques))


def _tunnel(one: _Beside, line: int, writer: Writer, _files: Files) -> None:
    host = _text(one.fields.get("host"))
    port = one.fields.get("port")
    target = clean(f"{host}:{port}" if port is not None else host)
    inner = any(mark.technique.startswith("T1021") for mark in one.marks) and not host.startswith(_HERE)
    stage = "spread" if inner else "tunnel"
    writer.beside("+forward")
    writer.deed("attacked" if inner else "tunnelled", target)
    told = tuple(dict.fromkeys(mark.technique for mark in one.marks))
    writer.step(Step(stage, line, (target,), "", told))


def _exploit(one: _Beside, line: int, writer: Writer, _files: Files) -> None:
    what = clean(_text(one.fields.get("cve") or one.fields.get("name") or "a weakness"))
    writer.beside(f"+exploit {what}")
    writer.deed("probed", what)
    writer.step(Step("access", line, (what,), "", _techniques(one, "access")))


_TAKES: Mapping[str, Callable[[_Beside, int, Writer, Files], None]] = {
    "upload": _file, "download": _file, "forward": _tunnel, "exploit": _exploit,
}  # fmt: skip


def _text(value: Any) -> str:
    """A field of a payload event as one text; the first of several."""
    return str(value[0] if isinstance(value, list) and value else value or "")
