"""``deadletters``: events that a worker gave up; ``deadletters retry ID`` puts one on the bus again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from decnet.errors import DecnetError
from decnet_tui.cli import common

if TYPE_CHECKING:
    from decnet.db.rows.runtime import DeadLetterLine

app = typer.Typer(
    help="Events that a worker gave up, newest first; retry ID tries one again.", rich_markup_mode=None
)
KEYS = ("id", "worker", "topic", "reason", "path", "value", "seq", "ts")


@app.callback(invoke_without_command=True)
def deadletters(
    ctx: typer.Context,
    since: common.Since = None,
    limit: common.Limit = 100,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Events that a worker gave up, newest first; one with a path is an element that was left out of its event."""
    if ctx.invoked_subcommand is not None:
        return
    home = common.home_of(config, data_dir=data_dir, db=db)
    moment = common.parse_since(since)

    async def ask() -> list[DeadLetterLine]:
        async with common.repository(home, only_read=True) as repo:
            return await repo.dead_letters(moment, limit)

    columns = ("id", "ts", "worker", "topic", "path", "value", "reason", "seq")
    common.print_rows(common.run(ask), columns, as_json, "no dead letters")


@app.command()
def retry(
    letter_id: Annotated[int, typer.Argument(metavar="ID", help="Number of the dead letter.")],
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Puts one dead letter on the bus of the running engine again; it gives it up anew if it fails anew.

    A letter about one element is refused: the rest of its event was kept, and the element is no event.
    """
    from decnet_tui.cli import changing
    from decnet_tui.workerforms import LetterRetry

    settings = common.settings_of(config, data_dir=data_dir, db=db)

    async def again() -> str:
        async with changing.opened(settings, engine=True) as session:
            letter = await session.store.dead_letter_get(letter_id)
            if letter is None:
                raise DecnetError(f"no dead letter {letter_id}: see `decnet-tui deadletters`")
            change = LetterRetry(letter)
            change.wait_s = 0.0  # a new failure makes a new letter; the shell does not wait to see that
            await changing.perform(session, change)
            return str(letter["topic"])

    topic = common.run(again)
    said = {"id": letter_id, "topic": topic}
    typer.echo(common.to_json(said) if as_json else f"dead letter {letter_id}: {topic} is on the bus again")


def register(parent: typer.Typer) -> None:
    """Adds the group."""
    parent.add_typer(app, name="deadletters")
