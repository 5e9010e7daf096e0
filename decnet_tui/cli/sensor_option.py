"""``--sensor KIND=PATH[,from=start|end|DATE]``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from decnet.config import SensorSpec

KINDS = ("cowrie", "opencanary", "jsonl", "table", "tpot", "dshield", "inbox")
"""Kinds of log, and systems whose top directory is given; ``table`` is any format that there is a table for."""
_TABLE = re.compile(r"table:[a-z][a-z0-9_]{0,39}")


def parse_sensors(texts: Sequence[str] | None) -> tuple[SensorSpec, ...] | None:
    """Specs of all ``--sensor`` options, None without any. Raises typer.BadParameter (exit code 2)."""
    return tuple(parse_sensor(text) for text in texts) if texts else None


def parse_sensor(text: str) -> SensorSpec:
    """One spec; the path becomes absolute."""
    kind, eq, rest = text.partition("=")
    if not eq or not rest:
        raise typer.BadParameter(
            f"--sensor {text!r}: write KIND=PATH, for example cowrie=/var/log/cowrie/cowrie.json"
        )
    if kind not in KINDS and not _TABLE.fullmatch(kind):
        known = ", ".join((*KINDS, "table:NAME"))
        raise typer.BadParameter(f"--sensor {text!r}: unknown kind {kind!r}; known: {known}")
    path, sep, option = rest.rpartition(",from=")
    start = option if sep else "start"
    if start not in ("start", "end"):
        _check_date(text, start)
    from decnet.config import SensorSpec  # here: settings load a library that --version needs not

    try:
        place = Path(path if sep else rest).expanduser().absolute()
    except RuntimeError:
        raise typer.BadParameter(
            f"--sensor {text!r}: nobody knows the home that ~ means; write the whole path"
        ) from None
    return SensorSpec(kind=kind, path=place, start=start)


def _check_date(text: str, date: str) -> None:
    try:
        datetime.fromisoformat(date)
    except ValueError:
        raise typer.BadParameter(
            f"--sensor {text!r}: from= takes start, end or an ISO date, not {date!r}"
        ) from None
