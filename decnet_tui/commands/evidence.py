"""Commands that go into evidence: sessions, rules that fired, comparing, recordings, the span of the matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from decnet.db.rows.notes import SOURCE
from decnet_tui.actions.notes import NoteForm
from decnet_tui.commands import shown
from decnet_tui.commands.base import Command
from decnet_tui.model.keys import key
from decnet_tui.screens.actor import ActorLevel
from decnet_tui.screens.actors import ActorsView
from decnet_tui.screens.base import Place
from decnet_tui.screens.compare import Compared, CompareLevel
from decnet_tui.screens.coverage import MatrixLevel
from decnet_tui.screens.evidence import RuleTagsLevel, SessionsLevel, TagsLevel
from decnet_tui.screens.fired import FiredRulesLevel, TagRulesLevel, TechniqueRulesLevel
from decnet_tui.screens.levels import Level, LevelsView
from decnet_tui.screens.playback import PlaybackLevel
from decnet_tui.screens.session import SessionLevel

if TYPE_CHECKING:
    from decnet_tui.commands.context import Context

_NOBODY, _NO_RULE = "this line names no source", "no rule fired on this line"
_LEVELLED = ("actors", "coverage", "campaigns")


def _level(console: Context) -> Level | None:
    return console.view.level if isinstance(console.view, LevelsView) else None


def _attacker(console: Context) -> tuple[str, str] | None:
    """The attacker's id and label under the cursor; an identity alone has no sessions of its own."""
    record = console.view.record()
    attackers = [record.get("attacker_uuid"), *(record.get("attacker_uuids") or ())]
    attacker = next((str(a) for a in attackers if a), None)
    if attacker is None and isinstance(console.view, LevelsView):
        attacker = _of_levels(console.view.levels)
    if attacker is None:
        return None
    actor = console.view.actor()
    return attacker, actor.label if actor is not None else attacker[:8]


def _of_levels(levels: Sequence[Level]) -> str | None:
    """The attacker that the levels are about: of a page its own alone."""
    for level in reversed(levels):
        if level.attacker or level.is_page:
            return level.attacker or None
    return None


def sessions(console: Context, text: str) -> None:
    """The sessions of this line's actor; with an argument, one session's commands."""
    if text:
        console.enter(SessionLevel(console.feed, text))
    elif (level := _level(console)) is not None and isinstance(whole := level.sessions(), Level):
        console.enter(whole)
    elif (found := _attacker(console)) is not None:
        console.enter(SessionsLevel(console.feed, *found))
    else:
        console.say(_NOBODY)


def _behind(console: Context) -> Level | Place | str:
    """Where the rules that fired on this line are: its own on a tag, command or technique, else those on its actor.

    A text says why there are none.
    """
    level = _level(console)
    if level is not None and isinstance(whole := level.fired(), Level):
        return whole
    if isinstance(level, MatrixLevel):
        behind = level.below()
        seen = isinstance(behind, TagsLevel) and level.current is not None and level.current.tags
        return (
            TechniqueRulesLevel(console.feed, behind) if seen and isinstance(behind, TagsLevel) else _NO_RULE
        )
    tags = level.tags() if level is not None else None
    if tags is None:
        found = _attacker(console)
        return _NOBODY if found is None else FiredRulesLevel(console.feed, *found)
    rules = {tag["rule_id"] for tag in tags}
    if len(rules) > 1 and isinstance(level, SessionLevel):
        return TagRulesLevel(console.feed, level.tags())
    return Place("rules", rules.pop()) if rules else _NO_RULE


def fired(console: Context, _: str) -> None:
    """The rules that fired on this line, or why there are none."""
    behind = _behind(console)
    if isinstance(behind, str):
        console.say(behind)
    elif isinstance(behind, Place):
        console.open_in(behind.view, behind.key)
    else:
        console.enter(behind)


def _has_rules(console: Context) -> bool:
    return not isinstance(_behind(console), str)


def rule_tags(console: Context, _: str) -> None:
    """The tags that the rule under the cursor gave."""
    row = shown.rule(console)
    if row is None:
        console.say("there is no rule under the cursor")
        return
    scope = console.following.scope
    names = scope.names if scope is not None else None
    console.enter(RuleTagsLevel(console.feed, str(row["rule_id"]), str(row.get("name") or ""), names))


def _pair(console: Context) -> tuple[Compared, Compared] | None:
    """The two marked actors, or the one that is shown and the marked one; a page and the other address under its cursor."""
    actors = console.view_of(ActorsView)
    level = _level(console)
    if not isinstance(level, ActorLevel):
        pair = actors.pair() if level is actors.actors else None
        return None if pair is None else (_compared(pair[0]), _compared(pair[1]))
    if not level.row:
        return None
    marked: Iterator[Any] = map(actors.actors.find, actors.actors.marked)
    others = (row for row in marked if row is not None and row["attacker_uuid"] != level.attacker)
    other: Mapping[str, Any] = level.record_of_other() or next(others, {})
    return (_compared(level.row), _compared(other)) if other else None


def _compared(row: Mapping[str, Any]) -> Compared:
    return {"attacker_uuid": str(row["attacker_uuid"]), "attacker_ip": row["attacker_ip"]}


def compare(console: Context, _: str) -> None:
    """Two actors side by side."""
    pair = _pair(console)
    if pair is None:
        console.say(f"mark one actor with {key('mark')}, go to the other, then {key('compare')}")
    else:
        console.enter(CompareLevel(console.feed, *pair))


def _page_of(console: Context) -> tuple[str, str] | None:
    """The attacker of the page that is open, or under the cursor, by id and label; None in its sessions."""
    level = _level(console)
    if isinstance(level, ActorLevel):
        return (level.attacker, level.label) if level.row else None
    actors = console.view_of(ActorsView).actors
    row = actors.current if level is actors else None
    return (
        None if row is None else (row["attacker_uuid"], str(row["attacker_ip"] or row["attacker_uuid"][:8]))
    )


def note(console: Context, _: str) -> None:
    """The form for a note on the source that is shown."""
    found = _page_of(console)
    if found is None:
        console.say(f"a note is written on a source: go to its line or page in view {key('view.actors')}")
    else:
        console.propose(NoteForm(SOURCE, *found))


def _recording(console: Context) -> Level | None:
    """What plays the recording of the session that is open or under the cursor, where there is one."""
    level = _level(console)
    if isinstance(level, SessionLevel):
        return None if level.has_recording is False else level.watch()
    session = _session(level)
    return PlaybackLevel(console.feed, session) if level is not None and session in level.recorded else None


def _session(level: Level | None) -> str:
    """The session under the cursor; empty for none."""
    return str(level.record().get("session_id") or "") if level is not None else ""


def watch(console: Context, _: str) -> None:
    """Plays the recording of the session under the cursor."""
    if (recording := _recording(console)) is not None:
        console.enter(recording)
    elif isinstance(level := _level(console), SessionLevel) or _session(level):
        console.say("this session has no recording of its terminal")
    else:
        console.say(
            f"{key('watch')} plays a session's recording: {key('open')} on an actor, then on a session"
        )


def _player(console: Context) -> PlaybackLevel | None:
    level = _level(console)
    return level if isinstance(level, PlaybackLevel) else None


def next_tagged(console: Context, _: str) -> None:
    """Jumps to the next tagged command of the recording."""
    player = _player(console)
    console.say(
        player.next_tagged()
        if player is not None
        else f"{key('tagged.next')} jumps within a recording; {key('watch')} plays one"
    )


def span(console: Context, _: str) -> None:
    """The next span of the matrix."""
    level = _level(console)
    if isinstance(level, MatrixLevel):
        console.say(f"span: {level.next_span()}")
        console.read_now()
    else:
        console.say(f"the span is the matrix's: {key('back')} goes back to it")


COMMANDS = (
    Command("sessions", "the sessions of this line's actor", "Evidence", sessions, keys="i", argument="[SESSION]"),
    Command("fired", "the rules behind this tag, command or technique, else those that fired on the actor", "Evidence",
            fired, keys="o", foot="rules", views=(*_LEVELLED, "alerts", "recording"), here=_has_rules),
    Command("fired.actor", "the rules that fired on this line's actor", "Evidence", fired, keys="o",
            views=("since", "traffic", "found"), here=_has_rules),
    Command("rule.tags", "the tags that the rule gave", "Evidence", rule_tags, keys="o", foot="tags", views=("rules",),
            here=lambda console: console.view.on_row),
    Command("compare", "compare two actors", "Evidence", compare, keys="equals_sign", views=("actors",)),
    Command("source.note", "write a note on the source", "Changes", note, keys="n", foot="note", views=("actors",),
            changes=True, here=lambda console: _page_of(console) is not None),
    Command("watch", "play the session's recording", "Evidence", watch, keys="w", foot="play",
            views=(*_LEVELLED, "alerts"), here=lambda console: _recording(console) is not None),
    Command("tagged.next", "next tagged command of the recording", "Evidence", next_tagged, keys="n", views=("recording",)),
    Command("coverage.span", "another span", "Evidence", span, keys="s", foot="span", views=("coverage",),
            here=lambda console: isinstance(_level(console), MatrixLevel)),
)  # fmt: skip
