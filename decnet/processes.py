"""Processes of this host: whether one runs, and a mark that tells it from a later one with the same id."""

from __future__ import annotations

import os
from pathlib import Path


def process_mark(pid: int) -> str:
    """Boot and start of a process: ids are used again, most of all in containers. Empty where it cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot}:{_stat(pid)[19]}"
    except (OSError, IndexError):
        return ""


def process_alive(pid: int) -> bool:
    """Whether a process with this id runs; one that ended and is not yet collected does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    try:
        return _stat(pid)[0] != "Z"
    except (OSError, IndexError):
        return True


def _stat(pid: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` after the name, the state first (proc(5)). Raises OSError."""
    return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
