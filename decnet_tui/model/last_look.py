"""When an operator last left the console, for "Since you last looked"; a private file in the data directory."""

from __future__ import annotations

import json
import time
from pathlib import Path

from decnet.bus.connection import write_private

FILE_NAME = "last-look.json"


def read(data_dir: Path, operator: str) -> float | None:
    """Epoch seconds, or None when the operator was never here or the file cannot be read."""
    value = _all(data_dir).get(operator)
    return float(value) if isinstance(value, (int, float)) else None


def write(data_dir: Path, operator: str, now: float | None = None) -> None:
    """Remembers this moment. Raises OSError."""
    looks = {**_all(data_dir), operator: time.time() if now is None else now}
    write_private(data_dir / FILE_NAME, json.dumps(looks))


def _all(data_dir: Path) -> dict[str, object]:
    try:
        found = json.loads((data_dir / FILE_NAME).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
