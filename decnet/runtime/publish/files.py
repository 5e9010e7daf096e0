"""Messages as JSON lines in a file that turns over at a size."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from decnet.publish_settings import FileSettings
from decnet.runtime.publish.messages import Message, NotDelivered


class JsonFile:
    """The channel to one file. It is opened for each round, so that others may move it away."""

    def __init__(self, settings: FileSettings) -> None:
        self._settings = settings

    async def send(self, messages: Sequence[Message]) -> None:
        """All of them, on the disk when this returns."""
        try:
            await asyncio.to_thread(
                self._append, "".join(f"{message.body}\n" for message in messages).encode()
            )
        except OSError as error:
            raise NotDelivered(error.strerror or type(error).__name__) from error

    async def close(self) -> None:
        """Nothing stays open."""

    def _append(self, text: bytes) -> None:
        path = self._settings.path
        if path.exists() and 0 < path.stat().st_size > self._settings.max_bytes - len(text):
            self._turn_over(path)
        with os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600), "ab"
        ) as file:
            began = file.tell()
            try:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.truncate(file.fileno(), began)  # half a line would make the next one unreadable too
                raise

    def _turn_over(self, path: Path) -> None:
        for number in range(self._settings.keep, 1, -1):
            older = path.with_name(f"{path.name}.{number - 1}")
            if older.exists():
                older.replace(path.with_name(f"{path.name}.{number}"))
        path.replace(path.with_name(f"{path.name}.1"))
