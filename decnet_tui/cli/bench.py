"""``bench``: measures this host with a made log, each figure beside what the parts do without us."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from decnet_tui.bench.figures import Bench, Figure
from decnet_tui.cli import common

_HEAD = f"{'figure':<52}{'value':>12} {'unit':<6}{'floor':>12} {'times':>6}  {'bar':>8}"


def bench(
    as_json: common.AsJson = False,
    sessions: Annotated[
        int, typer.Option(min=1, help="Sessions of the made log, ten commands each.")
    ] = 1_000,
    lines: Annotated[int, typer.Option(min=1, help="Lines given to `tag`.")] = 50_000,
    runs: Annotated[int, typer.Option(min=1, help="Measurements of each figure; the median is shown.")] = 1,
) -> None:
    """Measures this host: engine, `tag` and start-up, each beside its floor of the same run.

    Works in a throw-away directory with servers of its own on loopback; some minutes of two cores.
    """
    rows: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="decnet-bench-") as folder:
        if not as_json:
            typer.echo(_HEAD)
        try:
            for row in Bench(Path(folder), sessions, lines, runs).figures():
                rows.append(row)
                if not as_json:
                    typer.echo(line_of(row))
        except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", b"") or b""
            common.fail(f"{error}\n{said.decode('utf-8', 'replace')[-2000:]}".strip())
    if as_json:
        typer.echo(common.to_json(rows))
        return
    missed = [row["figure"] for row in rows if row["met"] is False]
    typer.echo(f"\nbelow the bar of a quiet machine of two cores: {', '.join(missed) or 'none'}")


def line_of(row: Figure) -> str:
    """One row of the table."""
    floor = "" if row["floor_value"] is None else _short(row["floor_value"])
    times = "" if row["ratio"] is None else f"{row['ratio']:.1f}"
    bar = "" if row["bar"] is None else _short(row["bar"])
    mark = "" if row["met"] is not False else " <" if row["unit"] == "/s" else " >"
    return f"{row['figure']:<52}{_short(row['value']):>12} {row['unit']:<6}{floor:>12} {times:>6}  {bar:>8}{mark}".rstrip()


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("bench")(bench)
