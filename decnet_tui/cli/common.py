"""What all commands share: options, settings, database access, output, exit codes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from decnet import durations
from decnet.errors import ConfigError, DecnetError
from decnet.home import Home, default_data_dir, packaged_rules_dir, settings_in_environment
from decnet.hostile import visible

if TYPE_CHECKING:
    from decnet.bus.connection import Connection
    from decnet.config import Settings
    from decnet.db.repository import BaseRepository

T = TypeVar("T")

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where the engine keeps everything.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="Settings file (YAML).")]
DbUrl = Annotated[str | None, typer.Option("--db", help="Database URL.")]
BusUrl = Annotated[
    str | None, typer.Option("--bus", help="URL of the bus; default: the engine of this data directory.")
]
RulesDir = Annotated[Path | None, typer.Option("--rules", help="Rule directory.")]
AsJson = Annotated[bool, typer.Option("--json", help="Stable JSON instead of text for people.")]
Since = Annotated[
    str | None,
    typer.Option("--since", help="Only newer: 90s, 15m, 24h, 7d, today, yesterday or a date."),
]
Ignored = Annotated[bool, typer.Option("--ignored", help="Ignored sources too.")]
Limit = Annotated[int, typer.Option("--limit", min=0, help="At most so many rows; 0 is all.")]

GIVEN: dict[str, Any] = {}
"""``--bus`` and ``--db`` of a command that does not hand them on itself; they are settings like all others."""
LONGEST = timedelta(days=36_500)
"""Ages and durations lie within a century: beyond, calendars end."""


def fail(message: str, code: int = 1) -> NoReturn:
    """One clear line (or one per located error) on stderr, then the exit code."""
    text = "\n".join(visible(line) for line in message.split("\n"))
    typer.echo(f"error: {text}", err=True)
    raise typer.Exit(code)


def confirm(question: str, sure: bool) -> None:
    """Asks a person at a terminal before what no one can take back; a script has said what it means.

    Anything but a yes ends the command with exit code 1, and so does Ctrl-C.
    """
    if sure or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    if not typer.confirm(question, err=True):
        fail("nothing was done")


def run(main: Callable[[], Awaitable[T]]) -> T:
    """Runs a command's coroutine; errors made on purpose become one line and an exit code."""
    import asyncio

    try:
        return asyncio.run(_as_coroutine(main))
    except ConfigError as error:
        fail(str(error), 2)
    except DecnetError as error:
        fail(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


async def _as_coroutine(main: Callable[[], Awaitable[T]]) -> T:
    return await main()


def settings_of(config: Path | None = None, **flags: Any) -> Settings:
    """Settings for a command; wrong ones end it with exit code 2."""
    from decnet.config import load_settings  # here, like the library of settings: --version needs neither

    if (url := GIVEN.get("bus")) is not None:
        flags = {"bus": {"url": url}, **flags}
    if (url := GIVEN.get("db")) is not None:
        flags = {"db": url, **flags}
    try:
        return load_settings(config, **flags)
    except ConfigError as error:
        fail(str(error), 2)


def home_of(
    config: Path | None = None,
    *,
    data_dir: Path | None = None,
    db: str | None = None,
    rules: Path | None = None,
) -> Home:
    """Where things are, for a command that asks nothing else of the settings; wrong ones end it with exit code 2.

    Where flags alone say it, the settings are not loaded: that takes longer than most answers.
    """
    if config is None and not settings_in_environment():
        from decnet.attack.catalogue import use_bundle

        use_bundle(None)
        try:
            return Home(data_dir or default_data_dir(), rules or packaged_rules_dir(), db)
        except ConfigError as error:
            fail(str(error), 2)
    settings = settings_of(config, data_dir=data_dir, db=db, rules=rules)
    return Home(settings.data_dir, settings.rules, settings.db)


def reach(settings: Settings) -> tuple[Settings, Connection | None]:
    """Settings pointed at the engine that runs on this data directory, if one does."""
    url, found = _reached(settings)
    return (settings if url == settings.db_url else settings.model_copy(update={"db": url})), found


def _reached(home: Home | Settings) -> tuple[str, Connection | None]:
    """The database in effect: that of the engine that runs on this data directory, unless one is named; and the engine."""
    from decnet.bus.connection import read_connection

    found = read_connection(home.data_dir)
    return (found.db_url if found is not None and home.db is None else home.db_url), found


def has_database(home: Home | Settings) -> bool:
    """Whether there is a database to be asked: an engine's, one that is named, or the file in the data directory."""
    return _is_there(_reached(home)[0])


def _is_there(url: str) -> bool:
    return (file := _file_of(url)) is None or file.exists()


def _file_of(url: str) -> Path | None:
    """The file of a SQLite database; None for a server's."""
    scheme, found, path = url.partition(":///")
    return Path(path.partition("?")[0]) if found and scheme.startswith("sqlite") else None


@asynccontextmanager
async def repository(home: Home | Settings, *, only_read: bool = False) -> AsyncIterator[BaseRepository]:
    """The engine's database, or the one of a data directory without an engine; sooner if it is ``only_read``."""
    url, _ = _reached(home)
    if not _is_there(url):
        where = home.data_dir if home.db is None else _file_of(url)
        there = "in" if home.db is None else "at"
        raise DecnetError(
            f"no database {there} {where}: start `decnet-tui` there first, or name one with --db"
        )
    repo = await (_looked_at(url) if only_read else _opened(url))
    try:
        yield repo
    finally:
        await repo.close()


async def _opened(url: str) -> BaseRepository:
    from decnet.db.repository import BaseRepository  # here: most commands start faster without it

    return await BaseRepository.open(url)


async def _looked_at(url: str) -> BaseRepository:
    from decnet.db.repository.looking import look

    return await look(url)


def parse_duration(text: str) -> timedelta:
    """``90s``, ``1h30m``, ``7d``, at most :data:`LONGEST`. Raises typer.BadParameter (exit code 2)."""
    try:
        seconds = durations.parse_finite(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if seconds > LONGEST.total_seconds():
        raise typer.BadParameter(f"{text!r} is too long; at most {LONGEST.days}d")
    return timedelta(seconds=seconds)


def parse_expiry(text: str) -> timedelta:
    """A duration after which a state ends by itself: not 0, which ends it at once. Raises typer.BadParameter."""
    found = parse_duration(text)
    if not found:
        raise typer.BadParameter(f"{text!r} is over at once; write 90s, 15m, 24h or 7d")
    return found


def parse_since(text: str | None) -> datetime | None:
    """A point in time: a duration back from now, a day's first moment, an ISO time. Raises typer.BadParameter."""
    if text is None:
        return None
    from decnet_tui.model.days import parse_moment

    try:
        return parse_moment(text, datetime.now(UTC))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return str(value)


def to_json(value: Any) -> str:
    """JSON with ISO times; ASCII only, so that attacker text stays harmless."""
    return json.dumps(value, default=_plain, ensure_ascii=True)


def _cell(value: Any, width: int = 60) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, (list, tuple)):
        return visible(" ".join(map(str, value)), width)
    return visible(value, width)


def print_rows(
    rows: Sequence[Mapping[str, Any]],
    columns: Iterable[str],
    as_json: bool,
    empty: str,
    widths: Mapping[str, int] | None = None,
) -> None:
    """Rows as one JSON array, or as an aligned table of ``columns``; ``empty`` says what would fill it.

    A cell of text has 60 characters, or as many as ``widths`` gives its column.
    """
    if as_json:
        typer.echo(to_json([dict(row) for row in rows]))
        return
    if not rows:
        typer.echo(empty)
        return
    names = list(columns)
    most = widths or {}
    table = [names, *([_cell(row.get(name), most.get(name, 60)) for name in names] for row in rows)]
    wide = [max(len(line[i]) for line in table) for i in range(len(names))]
    for line in table:
        typer.echo("  ".join(text.ljust(width) for text, width in zip(line, wide, strict=True)).rstrip())
