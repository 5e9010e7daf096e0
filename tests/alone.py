"""One process at a time: tests that run side by side share environments and system users that are made once."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(what: str) -> Iterator[None]:
    """Waits until no other process of this user makes ``what``."""
    with (Path(tempfile.gettempdir()) / f"decnet-{what}-{os.getuid()}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
