"""Finds the terminal recording that a session's end names and puts it on the bus as a blob."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from decnet.bus.base import BaseBus, Event
from decnet.bus.wire import MAX_BLOB_BYTES
from decnet.logs import get_logger
from decnet.sensors.files.listing import RECORDING

_log = get_logger(__name__)
_LEVELS_UP = 4
TOO_LARGE = "too large"
MISSING = "not found"


def candidates(log: Path, ttylog: str) -> list[Path]:
    """Where a recording may lie: Cowrie names it relative to its own home, which the log is below.

    No file with another name than Cowrie's recordings have is opened, whatever a log line says.
    """
    here = log if log.is_dir() else log.parent
    named = Path(ttylog)
    name = named.name
    if not RECORDING.match(name):
        return []
    found = [here / "tty" / name]
    if not named.is_absolute() and ".." not in named.parts:
        found += [up / named for up in [here, *here.absolute().parents[:_LEVELS_UP]]]
    elif named.parent.name == "tty" and ".." not in named.parts:
        found.append(named)
    return found


def read_recording(log: Path, ttylog: str, max_bytes: int) -> bytes | None:
    """The bytes of a recording of at most ``max_bytes``; None when there is none to be read."""
    for path in candidates(log, ttylog):
        try:
            if path.is_file() and 0 < path.stat().st_size <= max_bytes:
                return path.read_bytes()
        except (OSError, ValueError):
            _log.debug("recording not readable", path=str(path), exc_info=True)
    return None


async def attach_recording(event: Event, bus: BaseBus, log: Path, max_bytes: int) -> str:
    """Replaces ``ttylog`` in the payload by ``keystrokes_ref``, once the blob is stored; why there is none, or empty.

    No bus takes more than ``MAX_BLOB_BYTES``. Raises BusUnavailable or BusFull; then nothing has changed.
    """
    ttylog = event.payload.get("ttylog")
    if not isinstance(ttylog, str):
        return ""
    data = await asyncio.to_thread(read_recording, log, ttylog, min(max_bytes, MAX_BLOB_BYTES))
    if data is not None:
        key = hashlib.sha256(data).hexdigest()
        await bus.put_blob(key, data)
        event.payload["keystrokes_ref"] = key
    del event.payload["ttylog"]
    if data is not None:
        return ""
    return TOO_LARGE if await asyncio.to_thread(_is_there, log, ttylog) else MISSING


def _is_there(log: Path, ttylog: str) -> bool:
    """Whether there is a recording with something in it, which then is too large or may not be read."""
    try:
        return any(path.is_file() and path.stat().st_size > 0 for path in candidates(log, ttylog))
    except (OSError, ValueError):
        return False
