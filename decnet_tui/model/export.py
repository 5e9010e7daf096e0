"""Writes what a view shows to a private file: JSON lines of all that is behind the rows, CSV or text of its columns.

JSON is ASCII only, so that no reader is harmed; cells of CSV and text are visible text, and none is a formula.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from decnet.hostile import visible

Format = Literal["csv", "json", "text"]
FORMATS: tuple[Format, ...] = get_args(Format)
_SUFFIX: dict[Format, str] = {"csv": "csv", "json": "jsonl", "text": "txt"}
_FORMULA = frozenset("=+-@\t\r")
"""A cell that begins so is a formula to a spreadsheet, whoever wrote it."""
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
MAX_NAME = 80
"""Characters of a file's name in front of its date."""


class Sheet(NamedTuple):
    """What is shown, as a table: titles, and a row of values for each line."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


class Shown(NamedTuple):
    """What is to be written: ``parts`` say what it is, from the view to what is open in it."""

    parts: Sequence[str]
    records: Sequence[Any]
    """JSON values, or bytes that are JSON already."""
    sheet: Sheet


def plain_value(value: Any) -> Any:
    """A value for JSON: times as ISO text."""
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)


def sheet_of(records: Sequence[Any]) -> Sheet:
    """The table of some JSON values: their keys in the order in which they come, one value each."""
    rows = [_object(record) for record in records]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return Sheet(columns, [[row.get(name) for name in columns] for row in rows])


def _object(record: Any) -> dict[str, Any]:
    value = json.loads(record) if isinstance(record, bytes) else record
    return value if isinstance(value, dict) else {"value": value}


def file_stem(parts: Sequence[str]) -> str:
    """The name of a file that says what is in it, of harmless characters only: attackers name campaigns and users."""
    words = [_NOT_IN_NAMES.sub("_", part).strip("._-") for part in parts]
    return "-".join(word for word in words if word)[:MAX_NAME].rstrip("._-") or "export"


async def write(data_dir: Path, shown: Shown, how: Format) -> tuple[Path, int]:
    """Writes it; the new file's path and its lines.

    Raises OSError. The file is new, of mode 0600, in ``<data_dir>/exports``.
    """
    return await asyncio.to_thread(_write, data_dir / "exports", shown, how)


def _write(folder: Path, shown: Shown, how: Format) -> tuple[Path, int]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    body = (
        b"".join(_line(record) + b"\n" for record in shown.records)
        if how == "json"
        else _table(shown.sheet, how)
    )
    descriptor, path = _fresh(folder, f"{file_stem(shown.parts)}-{stamp}", _SUFFIX[how])
    with os.fdopen(descriptor, "wb") as file:
        file.write(body)
    return path, len(shown.records if how == "json" else shown.sheet.rows)


def _fresh(folder: Path, stem: str, suffix: str) -> tuple[int, Path]:
    """A file that was not there before, also when two exports fall into one second."""
    for number in range(1000):
        path = folder / f"{stem}{f'-{number}' if number else ''}.{suffix}"
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), path
        except FileExistsError:
            continue
    raise FileExistsError(17, "too many exports within a second", str(folder))


def _line(record: Any) -> bytes:
    if isinstance(record, bytes):
        return record
    return json.dumps(record, default=plain_value, ensure_ascii=True).encode()


def _table(sheet: Sheet, how: Format) -> bytes:
    cells = [[cell_of(value) for value in row] for row in sheet.rows]
    if how == "csv":
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(sheet.columns)
        writer.writerows([[_harmless(text, value) for text, value in zip(row, values, strict=True)]
                          for row, values in zip(cells, sheet.rows, strict=True)])  # fmt: skip
        return out.getvalue().encode()
    table = [list(map(visible, sheet.columns)), *cells]
    widths = [max(len(row[i]) for row in table) for i in range(len(sheet.columns))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def cell_of(value: object) -> str:
    """A value as visible text: lists by their elements, times in ISO 8601, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, (list, tuple)):
        return " ".join(map(cell_of, value))
    if isinstance(value, dict):
        return visible(json.dumps(value, default=plain_value, ensure_ascii=False))
    return visible(value)


def _harmless(text: str, value: object) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"'{text}" if not number and text[:1] in _FORMULA else text
