"""Where the names of sensors are kept: the database, or a small file beside the checkpoints of a remote host.

Logs are read in threads, names are claimed on the event loop or in the file, and whoever asks waits for it: a
line has no session before its sensor has a name.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from pathlib import Path
from typing import Protocol

from decnet.errors import SensorError
from decnet.names import NameBook, surest

MAX_NAMES = 10_000
"""Names that are kept; beyond, a token is the digest of its name, and so needs no keeping."""
FILE = "names.json"


class Names(Protocol):
    """Gives every name its own token; called from any thread but the event loop's."""

    def token(self, name: str) -> str:
        """The token of a name, now and later. Raises DatabaseError or SensorError while it cannot be kept."""
        ...


class _Repo(Protocol):
    async def name_claim(self, name: str) -> str: ...


class RepoNames:
    """Names in the database, which several engines share."""

    def __init__(self, repo: _Repo, loop: asyncio.AbstractEventLoop) -> None:
        self._repo, self._loop = repo, loop
        self._known: dict[str, str] = {}

    def token(self, name: str) -> str:
        """The token that the database gave, asked for once. Raises DatabaseError."""
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= MAX_NAMES:
                return surest(name)
            claim = asyncio.run_coroutine_threadsafe(self._repo.name_claim(name), self._loop)
            known = self._known[name] = claim.result()
        return known


class FileNames:
    """Names in one file of a directory, for a host without a database."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE
        self._lock = threading.Lock()
        self._book: NameBook | None = None

    def token(self, name: str) -> str:
        """The token of a name, written down before it is used. Raises SensorError."""
        with self._lock:
            if self._book is None:
                self._book = self._load()
            if name not in self._book.tokens:
                if len(self._book.tokens) >= MAX_NAMES:
                    return surest(name)
                self._keep(self._book, name)
            return self._book.tokens[name]

    def _keep(self, book: NameBook, name: str) -> None:
        book.token(name)
        try:
            self._save(book.tokens)
        except OSError as error:
            self._book = None
            raise SensorError(f"{self._path}: name not kept: {error.strerror or error}") from error

    def _load(self) -> NameBook:
        book = NameBook()
        try:
            found = json.loads(self._path.read_bytes())
            for name, token in found.items():
                book.take(str(name), str(token))
        except FileNotFoundError:
            return book
        except (OSError, ValueError, AttributeError) as error:
            raise SensorError(f"{self._path}: not a readable list of names: {error}") from error
        return book

    def _save(self, tokens: dict[str, str]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self._path.with_suffix(".new")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(json.dumps(tokens).encode())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
