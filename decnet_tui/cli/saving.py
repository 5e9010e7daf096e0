"""``backup`` and ``restore``: the data directory as one file, also while the engine runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from decnet.errors import ExportError
from decnet_tui.cli import common
from decnet_tui.cli.bar import Bar
from decnet_tui.model.words import counted

_MIB = 2**20


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write (tar.gz, mode 0600).")],
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
) -> None:
    """Saves the data directory, also while its engine runs: as one moment of it.

    It holds the key of captured secrets: keep it as safe as the directory. Of a running engine the stream is left out;
    after a restore the sensors read their logs again, which changes nothing that is known.
    """
    from decnet.bus.connection import read_connection
    from decnet.export.archive import Saved, save

    home = common.home_of(config, data_dir=data_dir)
    if home.db is not None and not home.db.startswith("sqlite"):
        common.fail(
            "the database is a server's: save it with pg_dump, and the data directory with the engine stopped"
        )

    async def work() -> Saved:
        running = read_connection(home.data_dir) is not None
        with Bar("backup") as bar:
            return await asyncio.to_thread(
                save,
                home.data_dir,
                file,
                running=running,
                progress=lambda done, of: bar.part(done, of, "files"),
            )

    done = common.run(work)
    if as_json:
        typer.echo(common.to_json(done._asdict()))
        return
    stream = "" if done.whole else "; an engine runs: without its stream"
    typer.echo(f"{counted(done.files, 'file')}, {done.size / _MIB:.1f} MiB to {file}{stream}")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that backup wrote.")],
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
) -> None:
    """Makes a data directory of a backup; it must not be there, or be empty. Every file is checked before it counts."""
    from decnet.bus.connection import read_connection
    from decnet.export.archive import Saved
    from decnet.export.archive import restore as restored

    home = common.home_of(config, data_dir=data_dir)

    async def work() -> Saved:
        if (engine := read_connection(home.data_dir)) is not None:
            raise ExportError(f"an engine runs on {home.data_dir} (pid {engine.pid}): stop it first")
        with Bar("restore") as bar:
            return await asyncio.to_thread(
                restored, file, home.data_dir, lambda done, of: bar.part(done, of or done, "files")
            )

    done = common.run(work)
    if as_json:
        typer.echo(common.to_json(done._asdict()))
        return
    again = "" if done.whole else "; sensors read their logs again, nothing is counted twice"
    typer.echo(f"{counted(done.files, 'file')}, {done.size / _MIB:.1f} MiB in {home.data_dir}{again}")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(backup)
    app.command()(restore)
