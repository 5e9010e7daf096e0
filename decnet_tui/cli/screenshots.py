"""``screenshots``: pictures of every view, made from the running console."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from decnet.logs import configure_logging
from decnet_tui.cli import common


def screenshots(
    out: Annotated[Path, typer.Option("--out", help="Directory for the pictures.")] = Path("screenshots"),
    config: common.ConfigFile = None,
    data_dir: common.DataDir = None,
    db: common.DbUrl = None,
) -> None:
    """Plays the demo and writes a picture of every view at 80x24 and 160x48."""
    from decnet_tui.launch.demo import demo_settings
    from decnet_tui.launch.screenshots import take

    settings = common.settings_of(config, data_dir=data_dir, db=db)
    configure_logging(settings.log.format, "ERROR")
    with demo_settings(settings) as played:
        for path in common.run(lambda: take(played, out)):
            typer.echo(path)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(screenshots)
