"""The folder with the messages that were sent to the decoy: each body once, named by its hash, within a bound."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Literal

END = ".eml"
_DRAFT = ".new"
Kept = Literal["kept", "known", "full"]


class MailFolder:
    """Messages as files that only their owner reads; may be used from several threads."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path, self._max = path, max_bytes
        self._lock = threading.Lock()
        self.bytes = 0
        """Bytes of all messages in it."""

    def open(self) -> None:
        """Makes the folder, counts what is in it and removes what was not written to its end. Raises OSError."""
        self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.bytes = 0
        for entry in os.scandir(self._path):
            if entry.name.endswith(_DRAFT):
                os.unlink(entry.path)
            elif entry.name.endswith(END):
                self.bytes += entry.stat(follow_symlinks=False).st_size

    def keep(self, digest: str, data: bytes) -> Kept:
        """Keeps a message under the hash of its body (hex); whether there was room, or one already. Raises OSError."""
        with self._lock:
            path = self._path / f"{digest}{END}"
            if path.exists():
                return "known"
            if self.bytes + len(data) > self._max:
                return "full"
            self._write(path, data)
            self.bytes += len(data)
            return "kept"

    def _write(self, path: Path, data: bytes) -> None:
        draft = path.with_suffix(_DRAFT)
        try:
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
