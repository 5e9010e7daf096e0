"""``purge``: retention by hand. The stream's own retention is the engine's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

import typer

from decnet_tui.cli import common
from decnet_tui.cli.bar import Bar


def purge(
    older_than: Annotated[str, typer.Option("--older-than", help="Age of what leaves: 90d, 12w.")],
    yes: Annotated[bool, typer.Option("--yes", help="Without the question that a person is asked.")] = False,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Deletes sessions and what belongs to them when they ended longer ago, in small transactions."""
    settings = common.settings_of(config, data_dir=data_dir, db=db)
    before = datetime.now(UTC) - common.parse_duration(older_than)
    common.confirm(f"Delete all sessions that ended before {before:%Y-%m-%d %H:%M}Z, for good?", yes)

    counts: dict[str, int] = {}

    async def work() -> None:
        from decnet_tui.actions.upkeep import PURGE, Upkeep
        from decnet_tui.cli import changing

        async with changing.opened(settings, store=common.repository) as session:

            async def job() -> str:
                with Bar("purge") as bar:
                    counts.update(await session.store.purge_older(before, bar.count))
                return f"{_gone(counts)} deleted"

            says = f"purge of what ended before {before:%Y-%m-%d %H:%M}Z"
            await changing.perform(
                session, Upkeep(PURGE, "sessions", says, {"before": before.timestamp()}, job)
            )

    common.run(work)
    if as_json:
        typer.echo(common.to_json({"before": before, "deleted": counts}))
        return
    typer.echo(f"older than {before:%Y-%m-%d %H:%M:%SZ}: {_gone(counts)} deleted")


def _gone(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {table}" for table, count in sorted(counts.items()) if count) or "nothing"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(purge)
