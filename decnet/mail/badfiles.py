"""A list of files that are known to be bad: SHA-256, one a line, as many publish it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 64 * 2**20
_SHA256: Final = re.compile(rb"\b[0-9a-fA-F]{64}\b")


def known_bad(path: Path | None) -> frozenset[str]:
    """The SHA-256 in a file, in lower case; none without one. Raises OSError, for a file that is too large too."""
    if path is None:
        return frozenset()
    if path.stat().st_size > MAX_BYTES:
        raise OSError(f"{path}: more than {MAX_BYTES} bytes of hashes")
    return frozenset(found.decode().lower() for found in _SHA256.findall(path.read_bytes()))
