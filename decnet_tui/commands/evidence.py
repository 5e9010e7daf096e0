"""Commands that go into evidence: sessions, rules that fired, comparing, recordings, the span of the matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decnet_tui.commands.base import Command
from decnet_tui.screens.actors import ActorsView
from decnet_tui.screens.compare import CompareLevel
from decnet_tui.screens.coverage import CoverageView, MatrixLevel
from decnet_tui.screens.evidence import CommandsLevel, RuleTagsLevel, SessionsLevel, TagsLevel
from decnet_tui.screens.fired import FiredLevel, TagRulesLevel, TechniqueRulesLevel
from decnet_tui.screens.levels import Level, LevelsView
from decnet_tui.screens.playback import PlaybackLevel
from decnet_tui.screens.rules import RulesView

if TYPE_CHECKING:
    from decnet_tui.commands.context import Context

_LEVELLED = ("actors", "coverage", "campaigns")


def _level(console: Context) -> Level | None:
    return console.view.level if isinstance(console.view, LevelsView) else None


def _attacker(console: Context) -> tuple[str, str] | None:
    """The attacker's id and label under the cursor; an identity alone has no sessions of its own."""
    record = console.view.record()
    attackers = [record.get("attacker_uuid"), *(record.get("attacker_uuids") or ())]
    attacker = next((str(a) for a in attackers if a), None)
    if attacker is None and isinstance(console.view, LevelsView):
        attacker = next((level.attacker for level in reversed(console.view.levels) if level.attacker), None)
    actor = console.view.actor()
    if attacker is None:
        console.say("this line names no attacker")
        return None
    return attacker, actor.label if actor is not None else attacker[:8]


def sessions(console: Context, text: str) -> None:
    """The sessions of this line's actor; with an argument, one session's commands."""
    if text:
        console.enter(CommandsLevel(console.feed, text))
    elif (level := _level(console)) is not None and isinstance(whole := level.sessions(), Level):
        console.enter(whole)
    elif (found := _attacker(console)) is not None:
        console.enter(SessionsLevel(console.feed, *found))


def fired(console: Context, _: str) -> None:
    """The rules that fired on this line: its own on a tag, command or technique, else those on its actor."""
    level = _level(console)
    if level is not None and isinstance(whole := level.fired(), Level):
        console.enter(whole)
        return
    if isinstance(level, MatrixLevel):
        if isinstance(behind := level.below(), TagsLevel):
            console.enter(TechniqueRulesLevel(console.feed, behind))
        return
    tags = level.tags() if level is not None else None
    if tags is None:
        if (found := _attacker(console)) is not None:
            console.enter(FiredLevel(console.feed, *found))
        return
    rules = {tag["rule_id"] for tag in tags}
    if len(rules) > 1 and isinstance(level, CommandsLevel):
        console.enter(TagRulesLevel(console.feed, level.tags()))
    elif rules:
        console.open_in("rules", rules.pop())
    else:
        console.say("no rule fired on this line")


def rule_tags(console: Context, _: str) -> None:
    """The tags that the rule under the cursor gave."""
    row = console.view_of(RulesView).current
    if row is None:
        console.say("there is no rule under the cursor")
        return
    scope = console.following.scope
    names = scope.names if scope is not None else None
    console.enter(RuleTagsLevel(console.feed, str(row["rule_id"]), str(row.get("name") or ""), names))


def compare(console: Context, _: str) -> None:
    """Two actors side by side."""
    pair = console.view_of(ActorsView).pair()
    if pair is None:
        console.say("mark one actor with space, go to the other, then =")
    else:
        console.enter(CompareLevel(console.feed, *pair))


def watch(console: Context, _: str) -> None:
    """Plays the recording of the session under the cursor."""
    level = _level(console)
    if isinstance(level, CommandsLevel):
        console.enter(level.watch())
    elif level is not None and (session := level.record().get("session_id")):
        console.enter(PlaybackLevel(console.feed, str(session)))
    else:
        console.say("w plays a session's recording: Enter on an actor, then on a session")


def _player(console: Context) -> PlaybackLevel | None:
    level = _level(console)
    return level if isinstance(level, PlaybackLevel) else None


def next_tagged(console: Context, _: str) -> None:
    """Jumps to the next tagged command of the recording."""
    player = _player(console)
    console.say(player.next_tagged() if player is not None else "n jumps within a recording; w plays one")


def span(console: Context, _: str) -> None:
    """The next span of the matrix."""
    view = console.view_of(CoverageView)
    console.say(f"span: {view.matrix.next_span()}")
    console.read_now()


COMMANDS = (
    Command("sessions", "the sessions of this line's actor", "Evidence", sessions, keys="i", argument="[SESSION]"),
    Command("fired", "the rules behind this tag, command or technique, else those that fired on the actor", "Evidence",
            fired, keys="o", foot="rules", views=(*_LEVELLED, "alerts")),
    Command("fired.actor", "the rules that fired on this line's actor", "Evidence", fired, keys="o",
            views=("since", "traffic", "found")),
    Command("rule.tags", "the tags that the rule gave", "Evidence", rule_tags, keys="o", foot="tags", views=("rules",)),
    Command("compare", "compare two actors", "Evidence", compare, keys="equals_sign", views=("actors",)),
    Command("watch", "play the session's recording", "Evidence", watch, keys="w", foot="watch",
            views=(*_LEVELLED, "alerts")),
    Command("tagged.next", "next tagged command of the recording", "Evidence", next_tagged, keys="n", views=_LEVELLED),
    Command("coverage.span", "another span", "Evidence", span, keys="s", foot="span", views=("coverage",)),
)  # fmt: skip
