"""Leases: jobs that must run on one engine at a time hold a row in the database. Here is who an owner is."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from uuid import uuid4

from decnet.processes import process_alive

OWNER = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
"""Who this process is in lease rows: host, process, and a token that no other process has."""


def site_of(data_dir: Path) -> str:
    """Where processes and ports of an engine are: its host, and its data directory there."""
    return f"{socket.gethostname()}:{data_dir.absolute()}"


def is_dead(owner: str) -> bool:
    """Whether ``host:pid:token`` names a process of this host that does not run; others' leases just run out."""
    host, pid, token = (*owner.split(":", 2), "", "")[:3]
    return (
        host == socket.gethostname()
        and token != ""
        and pid.isdigit()
        and int(pid) != os.getpid()
        and not process_alive(int(pid))
    )
