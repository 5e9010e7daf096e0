"""Writes what a view shows to a private file: JSON lines, ASCII only, so that no reader is harmed."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def plain_value(value: Any) -> Any:
    """A value for JSON: times as ISO text."""
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)


async def write(data_dir: Path, name: str, records: Sequence[Any]) -> tuple[Path, int]:
    """Writes records (bytes that are JSON, or JSON values); the new file's path and its lines.

    Raises OSError. The file is new, of mode 0600, in ``<data_dir>/exports``.
    """
    return await asyncio.to_thread(_write, data_dir / "exports", name, list(records))


def _write(folder: Path, name: str, records: list[Any]) -> tuple[Path, int]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    descriptor, path = _fresh(folder, f"{name}-{stamp}")
    with os.fdopen(descriptor, "wb") as file:
        for record in records:
            file.write(_line(record) + b"\n")
    return path, len(records)


def _fresh(folder: Path, stem: str) -> tuple[int, Path]:
    """A file that was not there before, also when two exports fall into one second."""
    for number in range(1000):
        path = folder / f"{stem}{f'-{number}' if number else ''}.jsonl"
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), path
        except FileExistsError:
            continue
    raise FileExistsError(17, "too many exports within a second", str(folder))


def _line(record: Any) -> bytes:
    if isinstance(record, bytes):
        return record
    return json.dumps(record, default=plain_value, ensure_ascii=True).encode()
