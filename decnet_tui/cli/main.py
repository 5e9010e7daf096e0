"""The entry point: no command is the console or, with ``--headless``, the daemon."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from decnet import __version__
from decnet_tui.cli import common
from decnet_tui.cli.lazy import LazyGroup
from decnet_tui.cli.sensor_option import parse_sensors
from decnet_tui.cli.sure import spare
from decnet_tui.cli.usage import one_line

if TYPE_CHECKING:
    from decnet.config import Settings

_SPANS = (".jsonl", ".json", ".jsonl.gz")
"""Ends of files that hold a recorded span."""
_SCHEMES = ("nats://", "tls://", "ws://", "wss://")

_SHARED = {
    "config": "config",
    "data_dir": "data_dir",
    "db": "db",
    "rules_dir": "rules",
    "sensor": "sensor",
    "bus": "bus",
}
"""Options that commands have as well: the name here, and the one there."""


class _Root(LazyGroup):
    """Lets ``--attach`` stand with and without its URL, and says in one line what was wrongly used."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """Options before a command are read here."""
        spare(self)
        with one_line():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Everything else of a command line is read and done here."""
        with one_line():
            return super().invoke(ctx)

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """A bare ``--attach`` means the engine of the data directory, a bare ``--demo`` the packaged recording."""
        return super().parse_args(ctx, list(map(_bare, args, [*args, ""][1:])))


def _bare(word: str, following: str) -> str:
    """An option whose value may be left out, with an empty value where it is."""
    if word == "--attach" and not following.startswith(_SCHEMES):
        return "--attach="
    if word == "--demo" and not following.endswith(_SPANS):
        return "--demo="
    return word


app = typer.Typer(
    name="decnet-tui",
    cls=_Root,
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
    """The names after ``--workers``; none would mean all of them. Raises typer.BadParameter."""
    if text is None:
        return None
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise typer.BadParameter("--workers names none; write for example sensors,recorder,ttp")
    return names


@app.callback(invoke_without_command=True)
def root(
    ctx: typer.Context,
    config: common.ConfigFile = None,
    data_dir: common.DataDir = None,
    db: common.DbUrl = None,
    rules_dir: common.RulesDir = None,
    sensor: Annotated[
        list[str] | None,
        typer.Option(
            help="KIND=PATH[,from=start|end|DATE]; kinds: cowrie, opencanary, jsonl, table (any format of"
            " `sensors formats`) or table:NAME for a log or a directory of logs, tpot or dshield for the top directory of such a"
            " system, below which all logs are found, inbox for a folder of mails, webhooks and lists. Repeatable."
        ),
    ] = None,
    bus: Annotated[
        str | None, typer.Option(help="URL of a NATS server to use instead of the built-in one.")
    ] = None,
    attach: Annotated[
        str | None,
        typer.Option(
            "--attach", metavar="[URL]", help="Only attach: to the engine of the data directory, or a bus."
        ),
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="No write mode in this run.")] = False,
    demo: Annotated[
        str | None,
        typer.Option(
            "--demo",
            metavar="[FILE.jsonl]",
            help="Play the demo recording, or events that `watch --json` recorded, in a throw-away directory.",
        ),
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Lines of text, nothing drawn anew: for screen readers and logs.")
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
    notify: Annotated[
        str | None,
        typer.Option(
            help="Program run for alerts, first-seen techniques, bad sessions, failing sensors, a full disk; JSON on its stdin."
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="ADDR",
            help="Serve Prometheus metrics at PORT (this host only) or HOST:PORT; none otherwise.",
        ),
    ] = None,
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Version.")] = False,
) -> None:
    """Console on the engine of this host; starts one inside itself when none runs."""
    from decnet.logs import configure_logging  # here: --version and --help are answered without it

    if ctx.invoked_subcommand is not None:
        configure_logging(level="WARNING")  # stdout belongs to the command's answer
        _hand_on(ctx)
        return
    if until_idle is not None and not headless:
        raise typer.BadParameter("--until-idle goes with --headless")
    if read_only and headless:
        raise typer.BadParameter("--read-only is for the console: --headless has none")
    if plain and headless:
        raise typer.BadParameter("--plain is for the console: --headless has none")
    if attach is not None and (headless or demo is not None):
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
        notify={"command": notify} if notify else None,
        metrics={"address": metrics} if metrics else None,
    )
    span = Path(demo) if demo else None
    if headless:
        _headless(settings, demo is not None, span, until_idle)
    else:
        _console(settings, attach, demo=demo is not None, span=span, plain=plain, read_only=read_only)


def _hand_on(ctx: typer.Context) -> None:
    """Options before a command count as if they stood behind it; those of the engine alone are wrong there."""
    params = {**ctx.params, "demo": ctx.params.get("demo") is not None}
    given = {name: value for name, value in params.items() if value and name != "_"}
    if own := [name for name in given if name not in _SHARED]:
        raise typer.BadParameter(f"--{own[0].replace('_', '-')} goes without a command")
    named = {_SHARED[name]: value for name, value in given.items()}
    command = ctx.command.get_command(ctx, ctx.invoked_subcommand)  # type: ignore[attr-defined]
    parts = command.list_commands(ctx) if hasattr(command, "list_commands") else ()
    ctx.default_map = {str(ctx.invoked_subcommand): {**named, **dict.fromkeys(parts, named)}}


def _headless(settings: Settings, demo: bool, span: Path | None, until_idle: float | None) -> None:
    gc.disable()  # what is loaded now stays; the engine sets the collector up once it runs
    try:
        _run_headless(settings, demo, span, until_idle)
    finally:
        gc.enable()


def _run_headless(settings: Settings, demo: bool, span: Path | None, until_idle: float | None) -> None:
    from decnet.logs import configure_logging
    from decnet_tui.launch.demo import demo_settings, make_fleet, print_summary
    from decnet_tui.launch.headless import run_headless

    configure_logging(settings.log.format, settings.log.level)
    if not demo:
        common.run(lambda: run_headless(settings, until_idle))
        return
    with demo_settings(settings, span) as played:
        if span is None:
            common.run(lambda: make_fleet(played))
        common.run(lambda: run_headless(played, until_idle))
        common.run(lambda: print_summary(played))


def _console(
    settings: Settings, attach: str | None, *, demo: bool, span: Path | None, plain: bool, read_only: bool
) -> None:
    from decnet_tui.launch.console import How, run_console

    if attach == "":
        attach = settings.bus.url or ""
    common.run(lambda: run_console(settings, How(attach, demo, span, plain, read_only)))


def run() -> None:
    """Console script."""
    app()
