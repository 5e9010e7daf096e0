"""The entry point: no command is the console or, with ``--headless``, the daemon."""

from __future__ import annotations

from typing import Annotated

import typer

from decnet import __version__
from decnet.config import Settings
from decnet.logs import configure_logging
from decnet_tui.cli import common
from decnet_tui.cli.lazy import LazyGroup
from decnet_tui.cli.sensor_option import parse_sensors

app = typer.Typer(
    name="decnet-tui",
    cls=LazyGroup,
    help="Operations console and engine for a deception network.",
    no_args_is_help=False,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"decnet-tui {__version__}")
        raise typer.Exit


def _workers(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


@app.callback(invoke_without_command=True)
def root(
    ctx: typer.Context,
    config: common.ConfigFile = None,
    data_dir: common.DataDir = None,
    db: common.DbUrl = None,
    rules_dir: common.RulesDir = None,
    sensor: Annotated[
        list[str] | None,
        typer.Option(help="KIND=PATH[,from=start|end|DATE]; kinds: cowrie, jsonl. Repeatable."),
    ] = None,
    bus: Annotated[
        str | None, typer.Option(help="URL of a NATS server to use instead of the built-in one.")
    ] = None,
    attach: Annotated[
        bool, typer.Option("--attach", help="Only attach to a running engine; start none.")
    ] = False,
    read_only: Annotated[bool, typer.Option("--read-only", help="No write mode in this run.")] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="Play the demo recording in a throw-away directory.")
    ] = False,
    workers: Annotated[
        str | None, typer.Option(help="Workers to run, comma separated (default: all).")
    ] = None,
    headless: Annotated[
        bool, typer.Option("--headless", help="The engine as a daemon, without console.")
    ] = False,
    until_idle: Annotated[
        float | None, typer.Option(min=0.0, help="Headless: end after so many seconds without work.")
    ] = None,
    log_format: Annotated[str | None, typer.Option(help="console or json.")] = None,
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Version.")] = False,
) -> None:
    """Console on the engine of this host; starts one inside itself when none runs."""
    if ctx.invoked_subcommand is not None:
        configure_logging(level="WARNING")  # stdout belongs to the command's answer
        return
    if until_idle is not None and not headless:
        raise typer.BadParameter("--until-idle goes with --headless")
    if attach and (headless or demo):
        raise typer.BadParameter("--attach goes with neither --headless nor --demo")
    settings = common.settings_of(
        config,
        data_dir=data_dir,
        db=db,
        rules=rules_dir,
        sensors=parse_sensors(sensor),
        bus={"url": bus} if bus else None,
        workers=_workers(workers),
        log={"format": log_format} if log_format else None,
    )
    if headless:
        _headless(settings, demo, until_idle)
    else:
        _console(settings, attach=attach, demo=demo, read_only=read_only)


def _headless(settings: Settings, demo: bool, until_idle: float | None) -> None:
    from decnet_tui.demo import demo_settings, print_summary
    from decnet_tui.headless import run_headless

    configure_logging(settings.log.format, settings.log.level)
    if not demo:
        common.run(lambda: run_headless(settings, until_idle))
        return
    with demo_settings(settings) as played:
        common.run(lambda: run_headless(played, until_idle))
        common.run(lambda: print_summary(played))


def _console(settings: Settings, *, attach: bool, demo: bool, read_only: bool) -> None:
    from decnet_tui.console import run_console

    common.run(lambda: run_console(settings, attach=attach, demo=demo, read_only=read_only))


def run() -> None:
    """Console script."""
    app()
