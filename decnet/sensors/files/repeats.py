"""Facts that were read before: a shipper sends a line twice, two files overlap, a file has two names.

What happened at one moment of one session and says the same is one fact. Bounded: of very old ones it is not known any
longer that they were read; the ids of what they say are the same all the same.
"""

from __future__ import annotations

import base64
import hashlib
import marshal
from collections import OrderedDict
from typing import Any

KEPT = 32_768
"""Facts that are remembered."""
_BYTES = 8


class Repeats:
    """Remembers the newest facts by a digest of each."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self.count = 0
        """Facts that came again."""

    def seen(self, fact: tuple[Any, ...]) -> bool:
        """Whether a fact (texts, numbers, lists and dicts of such) was there before."""
        digest = hashlib.blake2b(marshal.dumps(fact, 0), digest_size=_BYTES, usedforsecurity=False).digest()
        if digest in self._seen:
            self.count += 1
            self._seen.move_to_end(digest)
            return True
        self._seen[digest] = None
        if len(self._seen) > self._kept:
            self._seen.popitem(last=False)
        return False

    def to_state(self) -> dict[str, object]:
        """Plain JSON for a checkpoint."""
        return {"count": self.count, "seen": base64.b64encode(b"".join(self._seen)).decode()}

    def restore(self, state: dict[str, object]) -> None:
        """Takes up the state of :meth:`to_state`."""
        self.count = int(str(state.get("count", 0)))
        packed = base64.b64decode(str(state.get("seen", "")))
        self._seen = OrderedDict.fromkeys(packed[i : i + _BYTES] for i in range(0, len(packed), _BYTES))
