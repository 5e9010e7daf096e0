"""``backfill``: judges what is stored by the rules of today."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, NamedTuple

import typer

from decnet.bus.base import BaseBus
from decnet.bus.factory import get_bus
from decnet.config import Settings
from decnet.hostile import visible
from decnet.ttp.backfill import BackfillReport, Progress, run_backfill
from decnet_tui.cli import common
from decnet_tui.cli.bar import Bar
from decnet_tui.cli.stream import bus_settings
from decnet_tui.model.words import counted


def backfill(
    since: Annotated[str, typer.Option("--since", help="How far back: 24h, 7d or an ISO date.")],
    until: Annotated[
        str | None, typer.Option("--until", help="Up to an age or an ISO date (default: now).")
    ] = None,
    rule: Annotated[list[str] | None, typer.Option("--rule", help="Only this rule. Repeatable.")] = None,
    journalled: Annotated[bool, typer.Option("--journalled", hidden=True)] = False,
    as_json: common.AsJson = False,
    rules: common.RulesDir = None,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Tags stored events again with the current rules; tags of older versions are marked as superseded, others as replaced."""
    settings = common.settings_of(config, data_dir=data_dir, db=db, rules=rules)
    first, last = common.parse_since(since), common.parse_since(until) or datetime.now(UTC)
    assert first is not None

    span = Span(first, last, rule)
    report = common.run(lambda: _judged(settings, span) if journalled else _journalled(settings, span))
    typer.echo(common.to_json(asdict(report)) if as_json else _told(report))


class Span(NamedTuple):
    """What is judged again, and by which rules; None is all of them."""

    first: datetime
    last: datetime
    rules: list[str] | None


async def _judged(settings: Settings, span: Span) -> BackfillReport:
    """The work itself; who asked for it has written it down."""
    async with common.repository(settings) as repo, _bus(settings) as bus:
        with Bar("backfill") as bar:
            return await run_backfill(
                span.first, span.last, span.rules, repo=repo, settings=settings, bus=bus,
                progress=lambda p: _show(bar, p),
            )  # fmt: skip


async def _journalled(settings: Settings, span: Span) -> BackfillReport:
    """The same with a row in the journal."""
    from decnet_tui.actions.upkeep import BACKFILL, Upkeep
    from decnet_tui.cli import changing

    reports: list[BackfillReport] = []

    async def job() -> str:
        reports.append(await _judged(settings, span))
        return _told(reports[0])

    rules = " ".join(span.rules) if span.rules else "all rules"
    says = f"back-fill of {visible(rules, 60)} from {span.first:%Y-%m-%d %H:%M}Z"
    asked = {"since": span.first.timestamp(), "until": span.last.timestamp()}
    async with changing.opened(settings) as session:
        await changing.perform(session, Upkeep(BACKFILL, visible(rules, 200), says, asked, job))
    return reports[0]


def _told(report: BackfillReport) -> str:
    return (
        f"{counted(report.judged, 'stored event')} judged by {counted(report.rules, 'rule')}: "
        f"{counted(report.tags, 'new tag')}, {report.superseded} superseded, {report.replaced} replaced"
    )


def _show(bar: Bar, progress: Progress) -> None:
    bar.part(progress.done, progress.total, f"{progress.kind}, {progress.tags} new tags")


@asynccontextmanager
async def _bus(settings: Settings) -> AsyncIterator[BaseBus | None]:
    """The bus of the engine that runs on the data directory; without one only the database is judged."""
    if common.reach(settings)[1] is None:
        yield None
        return
    bus = get_bus(client_name="backfill", settings=bus_settings(settings, None))
    await bus.connect()
    try:
        yield bus
    finally:
        await bus.close()


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(backfill)
