"""``sensors formats`` and ``sensors try``: which logs of other programs can be read, and what comes out of a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from decnet.errors import SensorError
from decnet.hostile import visible
from decnet_tui.cli import common

if TYPE_CHECKING:
    from decnet.config import Settings
    from decnet.sensors.formats.table import Table
    from decnet.sensors.trying import Tried

Formats = Annotated[
    Path | None,
    typer.Option("--formats", metavar="DIR", help="Folder with your own tables (sensor.formats)."),
]
File = Annotated[Path, typer.Argument(metavar="FILE", help="A log, or a table of your own (.yaml).")]
Shown = Annotated[int, typer.Option("--events", min=0, help="At most so many events; 0 is all.")]
_COLUMNS = ("format", "lines", "gives", "own", "title")
_SAID = ("event", "attacker_ip", "decky_id", "service", "ts")
_WIDTHS = {"title": 70, "gives": 50}


def settings_with(config: Path | None, data_dir: Path | None, formats: Path | None) -> Settings:
    """Settings of the command, with the folder of tables that it names."""
    settings = common.settings_of(config, data_dir=data_dir)
    if formats is None:
        return settings
    sensor = settings.sensor.model_copy(update={"formats": formats})
    return settings.model_copy(update={"sensor": sensor})


def formats(
    as_json: common.AsJson = False,
    formats: Formats = None,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
) -> None:
    """Every format that there is a table for, what its lines give, and what is wrong with tables of yours."""
    from decnet.sensors.formats.shelf import shelf_of

    shelf = shelf_of(settings_with(config, data_dir, formats).sensor.formats)
    rows = [{**_row(table), "own": name in shelf.own} for name, table in shelf.tables.items()]
    faults = [f"{flaw.place}: {flaw.message}" for flaw in shelf.errors]
    if as_json:
        typer.echo(common.to_json({"formats": rows, "errors": faults}))
    else:
        common.print_rows(
            [{**row, "own": "own" if row["own"] else ""} for row in rows], _COLUMNS, False, "", _WIDTHS
        )
        for fault in faults:
            typer.echo(f"x {visible(fault)}")
    if faults:
        raise typer.Exit(1)


def _row(table: Table) -> dict[str, Any]:
    gives = dict.fromkeys(row.words.get("type") or row.called for row in table.rows)
    return {
        "format": table.name,
        "title": table.title,
        "source": table.source,
        "file": table.file,
        "lines": table.shape,
        "gives": list(gives),
        "leaves": dict(table.leave),
        "beside": [one.why for one in table.beside],
    }


def try_file(
    file: File,
    as_json: common.AsJson = False,
    events: Shown = 20,
    formats: Formats = None,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
) -> None:
    """Which reader takes a file, and the first events; of a table: all that is wrong with it, and its own test."""
    if file.suffix in (".yaml", ".yml"):
        _try_table(file, as_json)
        return
    from decnet.sensors import trying

    settings = settings_with(config, data_dir, formats)
    try:
        tried = trying.try_file(file, settings)
    except SensorError as error:
        common.fail(str(error))
    told = _told(tried, events)
    if as_json:
        typer.echo(common.to_json({"file": str(file), **told}))
        return
    part = "" if tried.whole else ", the beginning of the file"
    typer.echo(f"{visible(str(file), 500)}: {tried.kind}, {_count(tried.lines, 'line')}{part}")
    for event in told["events"]:
        typer.echo(f"  {_line(event)}")
    for text in _beside(tried, len(told["events"])):
        typer.echo(visible(text, 1000))


def _told(tried: Tried, limit: int) -> dict[str, Any]:
    from decnet.sensors.formats.selftest import summary

    found = [one for event in tried.events if (one := summary(event)) is not None]
    return {
        "kind": tried.kind,
        "lines": tried.lines,
        "whole": tried.whole,
        "events": found[: limit or None],
        "event_count": len(found),
        "refused": dict(tried.refused),
        "last_refusal": tried.last_refusal,
        "left_out": dict(tried.left_out),
        "unknown": dict(tried.unknown),
        "not_derived": tried.not_derived,
        "elements_dropped": tried.elements_dropped,
    }


def _beside(tried: Tried, shown: int) -> list[str]:
    """What else there is to say, a line each."""
    named = (("refused", tried.refused), ("left out", tried.left_out), ("kinds not known", tried.unknown))
    lines = [
        f"{name}: {', '.join(f'{what} {count}' for what, count in counts.items())}"
        for name, counts in named
        if counts
    ]
    if tried.refused:
        lines.append(f"last line refused: {tried.last_refusal}")
    if tried.not_derived:
        lines.append(f"{_count(tried.not_derived, 'value')} from which no fingerprint follows")
    if tried.elements_dropped:
        lines.append(f"{_count(tried.elements_dropped, 'element')} not read")
    if not shown:
        lines.append("no event comes of it")
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _line(event: dict[str, Any]) -> str:
    """One event in a line: what it is, of whom, and what it says."""
    head = "  ".join(visible(event[key], 60) for key in _SAID if event.get(key))
    rest = (
        f"{key}={visible(value, 200)}"
        for key, value in event.items()
        if key not in _SAID and _is_short(value)
    )
    return f"{head}  {' '.join(rest)}".rstrip()


def _is_short(value: Any) -> bool:
    """Whether a value is worth its place in a line: texts, numbers, and lists of texts."""
    return isinstance(value, (str, int, float)) or (isinstance(value, list) and isinstance(value[0], str))


def _try_table(file: Path, as_json: bool) -> None:
    from decnet.sensors.formats.selftest import faults_of
    from decnet.sensors.formats.shelf import load

    table, flaws = load(file)
    faults = [f"{flaw.place}: {flaw.message}" for flaw in flaws]
    if table is not None:
        faults += [f"{file}: {fault}" for fault in faults_of(table)]
    name = None if table is None else table.name
    if as_json:
        typer.echo(common.to_json({"file": str(file), "format": name, "errors": faults}))
    elif not faults and table is not None:
        count = len(table.expected.events)
        typer.echo(
            f"{visible(str(file), 500)}: {name}: the sample gives the {_count(count, 'event')} it says"
        )
    for fault in () if as_json else faults:
        typer.echo(visible(fault), err=True)
    if faults:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Adds the commands to the group of ``sensors``."""
    app.command("formats")(formats)
    app.command("try")(try_file)
