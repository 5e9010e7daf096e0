"""``rules explain``: why a rule fires on commands, or on those of a stored session, or does not; reading and showing only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from decnet.errors import AmbiguousId
from decnet.hostile import visible
from decnet_tui.cli import common
from decnet_tui.cli.offline import tagger_of
from decnet_tui.model.words import counted

if TYPE_CHECKING:
    from decnet.config import Settings
    from decnet.ttp.explaining import Explained, Part
    from decnet.ttp.offline_sessions import ReceivedSession

_LINE_CHARS = 200
_ID_CHARS = 80
_KINDS = {"line": "the line", "command": "a command", "decoded": "decoded text"}


def explain(
    rule_id: Annotated[str, typer.Argument(metavar="ID", help="Rule id, for example R0901.")],
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="COMMAND... or SESSION",
            help="Commands as they were typed one after the other, or the id of a stored session.",
        ),
    ],
    as_json: common.AsJson = False,
    rules: common.RulesDir = None,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Why a rule fires on each command, or does not: view by view, the parts of its condition, and what another rule replaced.

    A line has several views: itself, each of its simple commands, what is decoded. All parts must hold in one of them.
    The rules alone count, no operator's state.
    """
    from decnet.ttp.explaining import explained

    settings = common.settings_of(config, rules=rules, data_dir=data_dir, db=db)
    tagger = tagger_of(settings)
    rule = tagger.index.by_id.get(rule_id)
    if rule is None:
        common.fail(f"no rule {visible(rule_id, _ID_CHARS)}: see `decnet-tui rules list`")
    if "command" not in rule.applies_to or rule.condition is None:
        kinds = ", ".join(sorted(rule.applies_to))
        common.fail(f"{rule_id} does not look at single commands: it judges {kinds} (`rules show {rule_id}`)")
    found = list(explained(tagger, rule, session_of(settings, targets)[0]))
    if as_json:
        typer.echo(common.to_json({"rule_id": rule_id, "commands": found}))
        return
    if rule.correlation is not None:
        typer.echo(f"{rule_id} does not fire by itself: each command that it holds for counts towards it")
    for one in found:
        _tell(one)


def session_of(settings: Settings, targets: list[str]) -> tuple[ReceivedSession, bool]:
    """The commands that were given, or the stored session that is named, and which of the two it is."""
    from decnet.ttp.offline_sessions import received_session

    if len(targets) == 1 and not set(targets[0]) & set(" \t/'\"|;&"):
        stored = _stored(settings, targets[0])
        if stored is not None:
            return stored, True
    return received_session({"session": "typed", "commands": targets}), False


def _stored(settings: Settings, name: str) -> ReceivedSession | None:
    """The stored session of a name; None where there is no such one, or no database."""
    payload: dict[str, Any] | None

    async def look() -> dict[str, Any] | None:
        async with common.repository(settings) as repo:
            ident = await repo.session_named(name)
            found = await repo.session_payload(ident) if ident is not None else None
            return dict(found) if found is not None else None

    if settings.db is None and not (settings.data_dir / "decnet.sqlite").exists():
        return None
    try:
        payload = common.run(look)
    except AmbiguousId as error:
        common.fail(str(error))
    if payload is None:
        return None
    from decnet.ttp.offline_sessions import stored_session

    return stored_session(payload)


def _tell(one: Explained) -> None:
    verdict = "fires" if one["fires"] else "does not fire"
    typer.echo(f"line {one['line']}: {verdict}: {visible(one['input'], _LINE_CHARS)}")
    for view in one["views"]:
        mark = "+" if view["holds"] else "-"
        wanting = f": wants {visible(view['wanting'], _LINE_CHARS)}" if view["wanting"] else ""
        typer.echo(f"  {mark} as {_KINDS[view['kind']]} {visible(view['text'], _LINE_CHARS)}{wanting}")
    if one["more_views"]:
        typer.echo(f"    and {counted(one['more_views'], 'view')} more, in which it does not hold")
    typer.echo(f"  part by part, as {visible(one['view'], _LINE_CHARS)}")
    if one["techniques"]:
        typer.echo(f"  tags {', '.join(one['techniques'])}")
    for technique, by in one["replaced"].items():
        typer.echo(f"  {technique} falls away: {', '.join(by)} knows better")
    _part(one["condition"], 1)


def _part(part: Part, depth: int) -> None:
    mark = "+" if part["holds"] else "-"
    found = f" ({visible(part['found'], _LINE_CHARS)})" if part["found"] else ""
    because = f": {visible(part['because'], _LINE_CHARS)}" if part["because"] else ""
    typer.echo(f"{'  ' * depth}{mark} {visible(part['asks'], _LINE_CHARS)}{found}{because}")
    for inner in part["parts"]:
        _part(inner, depth + 1)
