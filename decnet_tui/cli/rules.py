"""``rules``: list, show, check, and the operator states disable, enable, clip."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from decnet.config import Settings
from decnet.errors import DecnetError
from decnet.hostile import visible
from decnet_tui.cli import common
from decnet_tui.cli.coverage import coverage
from decnet_tui.cli.drafting import new
from decnet_tui.cli.explaining import explain
from decnet_tui.cli.judging import judge
from decnet_tui.cli.sigma import import_sigma
from decnet_tui.cli.trying import try_rule
from decnet_tui.model.words import counted

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet_tui.actions.rules import RuleChange

app = typer.Typer(
    help="The rules: list, show, check, test, explain, new, judge, coverage, import-sigma, disable, enable, clip.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command()(coverage)
app.command()(judge)
app.command()(explain)
app.command()(new)
app.command("test")(try_rule)
app.command("import-sigma")(import_sigma)

RuleId = Annotated[str, typer.Argument(metavar="ID", help="Rule id, for example R0012.")]
For = Annotated[str | None, typer.Option("--for", help="Expires by itself after 90s, 15m, 1h, 7d.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Why, for whoever reads it later.")]
_COLUMNS = (
    "rule_id",
    "rule_version",
    "name",
    "state",
    "confidence_max",
    "expires_at",
    "reason",
    "set_by",
    "fired_24h",
)


@app.command("list")
def list_rules(
    as_json: common.AsJson = False,
    limit: common.Limit = 0,
    rules: common.RulesDir = None,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """All rules with their states; files that do not load are listed with their errors."""
    settings = common.settings_of(config, data_dir=data_dir, db=db, rules=rules)
    rows = common.run(lambda: _rows(settings))[: limit or None]
    if as_json:
        keys = (*_COLUMNS[:7], "set_by", "file", "error", "fired_24h")
        typer.echo(common.to_json([{k: row.get(k) for k in keys} for row in rows]))
        return
    common.print_rows(rows, _COLUMNS, False, f"no rules in {settings.rules}")
    for row in rows:
        for line in str(row.get("error") or "").splitlines():
            typer.echo(f"x {visible(line)}")


async def _rows(settings: Settings) -> list[dict[str, Any]]:
    """What the engine has; without one what the next would load, with the states that are stored."""
    settings, engine = common.reach(settings)
    if settings.db is None and not (settings.data_dir / "decnet.sqlite").exists():
        return await _listed(settings, None, engine is not None)
    async with common.repository(settings) as repo:
        return await _listed(settings, repo, engine is not None)


async def _listed(settings: Settings, repo: BaseRepository | None, engine: bool) -> list[dict[str, Any]]:
    from decnet_tui.model.rules import StoredRules

    rows = await StoredRules(settings, repo, "cli", engine=engine).list_rules()
    return [{**row, "expires_at": _aware(row["expires_at"])} for row in rows]


def _aware(epoch_s: float | None) -> datetime | None:
    return None if epoch_s is None else datetime.fromtimestamp(epoch_s, UTC)


@app.command()
def show(
    rule_id: RuleId,
    as_json: common.AsJson = False,
    rules: common.RulesDir = None,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """One rule: its state and its text."""
    settings = common.settings_of(config, data_dir=data_dir, db=db, rules=rules)
    rows = [row for row in common.run(lambda: _rows(settings)) if row["rule_id"] == rule_id]
    if not rows:
        common.fail(f"no rule {visible(rule_id, 80)}: see `decnet-tui rules list`")
    row = rows[0]
    if as_json:
        typer.echo(common.to_json(row))
        return
    for key in (*_COLUMNS, "file", "error"):
        typer.echo(f"{key:<16}{visible(row.get(key)) if row.get(key) is not None else '-'}")
    for line in str(row.get("yaml") or "").splitlines():
        typer.echo(visible(line))


@app.command()
def check(
    directory: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Default: the rules in use.")
    ] = None,
    as_json: common.AsJson = False,
    rules: common.RulesDir = None,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Reports every error of every file with its place and runs the rules' own tests; exit 1 if any."""
    from decnet.ttp.loader import load_dir
    from decnet.ttp.selftest import run_rule_tests

    settings = common.settings_of(config, data_dir=data_dir, db=db, rules=directory or rules)
    if not settings.rules.is_dir():
        common.fail(f"{settings.rules} is no directory")
    loaded = load_dir(settings.rules)
    problems = [*loaded.errors, *run_rule_tests(loaded.rules)]
    if as_json:
        typer.echo(common.to_json([
            {"file": p.place.file, "line": p.place.line, "column": p.place.column, "rule_id": p.rule_id, "error": p.message}
            for p in problems
        ]))  # fmt: skip
    else:
        for problem in problems:
            typer.echo(visible(str(problem)))
        typer.echo(f"{counted(len(loaded.rules), 'rule')}, {counted(len(problems), 'error')}")
    if not loaded.rules:
        common.fail(f"no rules in {settings.rules}")
    if problems:
        raise typer.Exit(1)


@app.command()
def disable(
    rule_id: RuleId,
    for_: For = None,
    reason: Reason = None,
    as_json: common.AsJson = False,
    rules: common.RulesDir = None,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Stops a rule from firing, for a time or until enabled."""
    settings = common.settings_of(config, data_dir=data_dir, db=db, rules=rules)
    _done(_set(settings, rule_id, "disabled", None, for_, reason), as_json)


@app.command()
def enable(
    rule_id: RuleId,
    for_: For = None,
    reason: Reason = None,
    as_json: common.AsJson = False,
    rules: common.RulesDir = None,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Lets a rule fire again."""
    settings = common.settings_of(config, data_dir=data_dir, db=db, rules=rules)
    _done(_set(settings, rule_id, "enabled", None, for_, reason), as_json)


@app.command()
def clip(
    rule_id: RuleId,
    ceiling: Annotated[float, typer.Option("--max", min=0.0, max=1.0, help="Highest confidence.")],
    for_: For = None,
    reason: Reason = None,
    as_json: common.AsJson = False,
    rules: common.RulesDir = None,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Lowers the confidence of a rule's tags to at most --max."""
    settings = common.settings_of(config, data_dir=data_dir, db=db, rules=rules)
    _done(_set(settings, rule_id, "clipped", ceiling, for_, reason), as_json)


def _set(
    settings: Settings, rule_id: str, state: str, ceiling: float | None, for_: str | None, reason: str | None
) -> dict[str, Any]:
    """The state as it was read back; ``expires_at`` in epoch seconds. Exit code 1 when it did not hold."""
    from decnet_tui.actions.rules import RuleChange

    expires = None if for_ is None else time.time() + common.parse_expiry(for_).total_seconds()
    change = RuleChange(rule_id, state, ceiling, expires, reason)
    common.run(lambda: _change(settings, change))
    return {"rule_id": rule_id, **change.after()}


async def _change(settings: Settings, change: RuleChange) -> None:
    """Raises DecnetError for an unknown rule or a write that did not hold."""
    from decnet_tui.cli import changing
    from decnet_tui.model.journal import End

    async with changing.opened(settings, news=True) as session:
        if change.rule_id not in {row["rule_id"] for row in await session.list_rules()}:
            raise DecnetError(f"no rule {visible(change.rule_id, 80)}: see `decnet-tui rules list`")
        outcome = await changing.perform(session, change)
    if session.live and outcome.end is not End.VERIFIED:
        typer.echo(f"note: {outcome.text(change.what)}; does the worker ttp run?", err=True)


def _done(row: dict[str, Any], as_json: bool) -> None:
    expires = _aware(row["expires_at"])
    if as_json:
        typer.echo(common.to_json({**row, "expires_at": expires}))
        return
    until = "" if expires is None else f" until {expires:%Y-%m-%d %H:%M:%SZ}"
    typer.echo(f"{row['rule_id']} {row['state']}{until}")


def register(parent: typer.Typer) -> None:
    """Adds the commands."""
    parent.add_typer(app, name="rules")
