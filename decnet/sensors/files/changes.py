"""What happens to the files of a sensor while it reads them, counted and told with the time: rotations, truncations,
files that vanish, and the bytes that were lost with them unread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

from decnet.sensors.files.names import is_live
from decnet.sensors.files.rotation import FileRecord, FoundFile

_LOSSES = {"truncated": "truncations", "vanished": "vanished"}
"""What is told when no file goes on with what was read → the counter of it."""
TOLD = 20
"""Changes that are told one by one; older ones are only counted."""


class Changes:
    """Counts and the latest changes of one sensor; ``clock`` gives epoch seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.rotations = 0
        self.truncations = 0
        self.vanished = 0
        self.lost_bytes = 0
        """Bytes that were seen on disk and were gone before they could be read."""
        self._amended = 0
        """How often a loss was told of before the copy was found that it went to."""
        self.joined = 0
        """Lines that a rotation had cut in two."""
        self.latest: deque[dict[str, Any]] = deque(maxlen=TOLD)

    @property
    def count(self) -> int:
        """All changes so far."""
        return self.rotations + self.truncations + self.vanished + self._amended

    def moved(self, record: FileRecord, file: FoundFile) -> None:
        """A file that was read goes on in another place: a rotation if it was the live one."""
        if record.cut or record.gone:
            self._take_back(record)
        if record.path != file.path and is_live(record.path) and not is_live(file.path):
            self.rotations += 1
            how = "renamed" if (record.dev, record.inode) == file.inode_key else "copied"
            self._log_change(f"rotated ({how})", record.path, to=file.path)

    def lost(self, records: Iterable[FileRecord], there: Mapping[str, FoundFile], hidden: Set[str]) -> None:
        """Records that no file goes on with: what became of each; ``hidden`` are paths that cannot be looked at."""
        for record in records:
            if record.cut or record.gone or record.path in hidden:
                continue
            self._lost(record, there.get(record.path))

    def _lost(self, record: FileRecord, now: FoundFile | None) -> None:
        unread = 0 if record.done else max(record.size - record.offset, 0)
        self.lost_bytes += unread
        more = {"unread_bytes": unread} if unread else {}
        if now is None or (now.inode_key != (record.dev, record.inode) and not is_live(record.path)):
            record.gone = True
            if unread or is_live(record.path):
                self.vanished += 1
                self._log_change("vanished", record.path, **more)
        elif now.inode_key == (record.dev, record.inode):
            record.cut = True
            self.truncations += 1
            self._log_change("truncated", record.path, **more)
        else:
            record.cut = True
            self.rotations += 1
            self._log_change("replaced", record.path, **more)

    def _take_back(self, record: FileRecord) -> None:
        """What was told of a file before the copy that goes on with it was there: nothing was lost by it."""
        told = next(
            (c for c in reversed(self.latest) if c["path"] == record.path and c["what"] in _LOSSES), None
        )
        if told is None:
            return
        self.latest.remove(told)
        counter = _LOSSES[told["what"]]
        setattr(self, counter, getattr(self, counter) - 1)
        self.lost_bytes -= told.get("unread_bytes", 0)
        self._amended += 1

    def _log_change(self, what: str, path: str, **more: Any) -> None:
        self.latest.append({"what": what, "path": path, "ts": self._clock(), **more})

    def to_state(self) -> dict[str, Any]:
        """Plain JSON for a checkpoint."""
        return {
            "rotations": self.rotations, "truncations": self.truncations, "vanished": self.vanished,
            "lost_bytes": self.lost_bytes, "joined": self.joined, "latest": list(self.latest),
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes up the state of :meth:`to_state`."""
        self.rotations = int(state.get("rotations", 0))
        self.truncations = int(state.get("truncations", 0))
        self.vanished = int(state.get("vanished", 0))
        self.lost_bytes = int(state.get("lost_bytes", 0))
        self.joined = int(state.get("joined", 0))
        self.latest.extend(state.get("latest", ()))
