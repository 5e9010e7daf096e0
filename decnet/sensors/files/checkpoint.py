"""Where a sensor's state is kept between runs: the database, or a small file on a remote host."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import zlib
from pathlib import Path
from typing import Any, Protocol

from decnet.config import SensorSpec
from decnet.db.rows import JsonObject
from decnet.errors import SensorError

State = dict[str, Any]
VERSION = 1


class CheckpointStore(Protocol):
    """Loads and saves one JSON state for each sensor key."""

    async def load(self, key: str) -> State | None:
        """The saved state, or None."""
        ...

    async def save(self, key: str, state: State) -> None:
        """Replaces the saved state, whole or not at all."""
        ...


class _Repo(Protocol):
    async def checkpoint_load(self, sensor_key: str) -> JsonObject | None: ...
    async def checkpoint_save(self, sensor_key: str, state: JsonObject) -> None: ...


class RepoStore:
    """Checkpoints in the database."""

    def __init__(self, repo: _Repo) -> None:
        self._repo = repo

    async def load(self, key: str) -> State | None:
        """The saved state, or None. Raises DatabaseError."""
        state = await self._repo.checkpoint_load(key)
        return None if state is None else dict(state)

    async def save(self, key: str, state: State) -> None:
        """Replaces the saved state. Raises DatabaseError."""
        await self._repo.checkpoint_save(key, state)


class FileStore:
    """Checkpoints as small files in one directory."""

    def __init__(self, directory: Path) -> None:
        self._dir = directory

    def _path(self, key: str) -> Path:
        return self._dir / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"

    async def load(self, key: str) -> State | None:
        """The saved state, or None. Raises SensorError when the file cannot be read."""
        return await asyncio.to_thread(self._load, self._path(key))

    async def save(self, key: str, state: State) -> None:
        """Replaces the saved state. Raises SensorError when the file cannot be written."""
        await asyncio.to_thread(self._save, self._path(key), state)

    @staticmethod
    def _load(path: Path) -> State | None:
        try:
            state = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise SensorError(f"{path}: not a readable checkpoint: {error}") from error
        return state if isinstance(state, dict) else None

    def _save(self, path: Path, state: State) -> None:
        draft = path.with_suffix(".new")
        try:
            self._dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(json.dumps(state).encode())
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError as error:
            raise SensorError(f"{path}: checkpoint not written: {error.strerror or error}") from error


def sensor_key(spec: SensorSpec) -> str:
    """Key of a sensor's checkpoint: kind and absolute path; where it started does not matter later."""
    return f"{spec.kind}={Path(os.path.abspath(spec.path))}"


def pack(files: State, source: State) -> State:
    """One checkpoint: file positions in the clear, the rest compressed, since open sessions can be many."""
    blob = zlib.compress(json.dumps(source, separators=(",", ":")).encode(), 1)
    return {"v": VERSION, **files, "source": base64.b64encode(blob).decode()}


def unpack(state: State) -> tuple[State, State]:
    """The two halves of :func:`pack`. Raises SensorError for anything else."""
    try:
        if state["v"] != VERSION:
            raise SensorError(f"checkpoint of version {state['v']!r:.20}; this program knows {VERSION}")
        source = json.loads(zlib.decompress(base64.b64decode(state["source"])))
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise SensorError(f"damaged checkpoint: {error}") from error
    return state, source
