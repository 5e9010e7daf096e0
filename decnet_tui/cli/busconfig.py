"""``bus config``: the configuration of a NATS server that remote sensors report to, with a user for each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from decnet.config import SENSOR_NAME
from decnet.runtime import KNOWN_WORKERS
from decnet_tui.cli import common

if TYPE_CHECKING:
    from decnet.bus.nats.conf import User

app = typer.Typer(name="bus", help="A NATS server of your own.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def bus() -> None:
    """A NATS server of your own."""


@app.command("config")
def make_config(
    sensor: Annotated[list[str], typer.Option("--sensor", help="Name of a remote sensor. Repeatable.")],
    out: Annotated[
        Path | None, typer.Option(help="New file for the configuration (0600); standard output without it.")
    ] = None,
    listen: Annotated[str, typer.Option(help="HOST:PORT that the server listens on.")] = "127.0.0.1:4222",
    store: Annotated[
        Path | None, typer.Option(help="Directory of the stream; default: bus/store in the data directory.")
    ] = None,
    nkeys: Annotated[
        Path | None,
        typer.Option(
            help="Nkeys instead of passwords: directory for the seeds (USER.nk, 0600); those there are kept."
        ),
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate of the server; turns TLS on.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Key of the certificate.")] = None,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
) -> None:
    """Writes nats.conf: a user for the engine, one that reads for consoles, one for each remote sensor, which may publish
    as itself only. Secrets are new each time and stand nowhere else, so a file that is there is not replaced."""
    _check(sensor, tls_cert, tls_key)
    settings = common.settings_of(config, data_dir=data_dir)
    from decnet.bus.nats import conf  # here: `--help` needs no client library

    if out is not None and out.exists():
        common.fail(f"{out} is there already: its secrets are in use; name another file, or remove it")
    text = conf.server_config(
        _users(sensor, nkeys),
        sensor,
        KNOWN_WORKERS,
        settings.bus,
        listen=listen,
        store=(store or settings.data_dir / "bus" / "store").absolute(),
        tls=(tls_cert.absolute(), tls_key.absolute()) if tls_cert and tls_key else None,
    )
    if tls_cert is None and not listen.startswith(("127.", "localhost:", "[::1]:")):
        typer.echo(
            f"without TLS what goes to {listen} can be read on its way: give --tls-cert and --tls-key",
            err=True,
        )
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        conf.write_once(out, text)
    except OSError as error:
        common.fail(f"{out}: cannot be written: {error.strerror or error}")
    typer.echo(f"{out}: start `nats-server -c {out}`, then the engine with --bus", err=True)


def _check(sensors: list[str], certificate: Path | None, key: Path | None) -> None:
    """Raises typer.BadParameter."""
    for name in sensors:
        if not re.fullmatch(SENSOR_NAME, name):
            raise typer.BadParameter(
                f"{name!r:.60}: a sensor's name is up to 40 letters, digits, '-' and '_', the first one no sign"
            )
    if len(set(sensors)) != len(sensors):
        raise typer.BadParameter("one --sensor is named twice")
    if (certificate is None) != (key is None):
        raise typer.BadParameter("--tls-cert and --tls-key go together")
    for path in (certificate, key):
        if path is not None and not path.is_file():
            raise typer.BadParameter(f"{path}: no such file")


def _users(sensors: list[str], folder: Path | None) -> dict[str, User]:
    from decnet.bus.nats import conf

    names = [conf.ENGINE, conf.CONSOLE, *map(conf.user_of, sensors)]
    try:
        users = conf.with_passwords(names) if folder is None else conf.with_nkeys(names, folder)
    except OSError as error:
        common.fail(f"{folder}: cannot be written: {error.strerror or error}")
    except ValueError as error:
        common.fail(str(error))
    return {user.name: user for user in users}


def register(root: typer.Typer) -> None:
    """Adds the group."""
    root.add_typer(app)
