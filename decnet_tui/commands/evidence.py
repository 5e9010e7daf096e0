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
    from decnet_tui.app import DecnetApp

_LEVELLED = ("actors", "coverage", "campaigns")


def _enter(app: DecnetApp, level: Level) -> None:
    if isinstance(app.view, LevelsView):
        app.view.enter(app, level)
    else:
        app.view_of(ActorsView).enter_from(app.view, app, level)


def _level(app: DecnetApp) -> Level | None:
    return app.view.level if isinstance(app.view, LevelsView) else None


def _attacker(app: DecnetApp) -> tuple[str, str] | None:
    """The attacker's id and label under the cursor; an identity alone has no sessions of its own."""
    record = app.view.record()
    attackers = [record.get("attacker_uuid"), *(record.get("attacker_uuids") or ())]
    attacker = next((str(a) for a in attackers if a), None)
    if attacker is None and isinstance(app.view, LevelsView):
        attacker = next((level.attacker for level in reversed(app.view.levels) if level.attacker), None)
    actor = app.view.actor()
    if attacker is None:
        app.say("this line names no attacker")
        return None
    return attacker, actor.label if actor is not None else attacker[:8]


def sessions(app: DecnetApp, text: str) -> None:
    """The sessions of this line's actor; with an argument, one session's commands."""
    if text:
        _enter(app, CommandsLevel(app.feed, text))
    elif (level := _level(app)) is not None and isinstance(whole := level.sessions(), Level):
        _enter(app, whole)
    elif (found := _attacker(app)) is not None:
        _enter(app, SessionsLevel(app.feed, *found))


def fired(app: DecnetApp, _: str) -> None:
    """The rules that fired on this line: its own on a tag, command or technique, else those on its actor."""
    level = _level(app)
    if level is not None and isinstance(whole := level.fired(), Level):
        _enter(app, whole)
        return
    if isinstance(level, MatrixLevel):
        if isinstance(behind := level.below(), TagsLevel):
            _enter(app, TechniqueRulesLevel(app.feed, behind))
        return
    tags = level.tags() if level is not None else None
    if tags is None:
        if (found := _attacker(app)) is not None:
            _enter(app, FiredLevel(app.feed, *found))
        return
    rules = {tag["rule_id"] for tag in tags}
    if len(rules) > 1 and isinstance(level, CommandsLevel):
        _enter(app, TagRulesLevel(app.feed, level.tags()))
    elif rules:
        app.open_in("rules", rules.pop())
    else:
        app.say("no rule fired on this line")


def rule_tags(app: DecnetApp, _: str) -> None:
    """The tags that the rule under the cursor gave."""
    row = app.view_of(RulesView).current
    if row is None:
        app.say("there is no rule under the cursor")
        return
    names = app.scope.names if app.scope is not None else None
    _enter(app, RuleTagsLevel(app.feed, str(row["rule_id"]), str(row.get("name") or ""), names))


def compare(app: DecnetApp, _: str) -> None:
    """Two actors side by side."""
    pair = app.view_of(ActorsView).pair()
    if pair is None:
        app.say("mark one actor with space, go to the other, then =")
    else:
        _enter(app, CompareLevel(app.feed, *pair))


def watch(app: DecnetApp, _: str) -> None:
    """Plays the recording of the session under the cursor."""
    level = _level(app)
    if isinstance(level, CommandsLevel):
        _enter(app, level.watch())
    elif level is not None and (session := level.record().get("session_id")):
        _enter(app, PlaybackLevel(app.feed, str(session)))
    else:
        app.say("w plays a session's recording: Enter on an actor, then on a session")


def _player(app: DecnetApp) -> PlaybackLevel | None:
    level = _level(app)
    return level if isinstance(level, PlaybackLevel) else None


def next_tagged(app: DecnetApp, _: str) -> None:
    """Jumps to the next tagged command of the recording."""
    player = _player(app)
    app.say(player.next_tagged() if player is not None else "n jumps within a recording; w plays one")


def span(app: DecnetApp, _: str) -> None:
    """The next span of the matrix."""
    view = app.view_of(CoverageView)
    app.say(f"span: {view.matrix.next_span()}")
    app.read_now()


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
