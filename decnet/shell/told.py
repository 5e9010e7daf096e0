"""What a session tells about one simple command, and what a sensor tells a session's script: plain records, pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Transfer(NamedTuple):
    """A file that the sensor saw come: ``kind`` is fetched or uploaded, ``name`` a path or a base name."""

    kind: str
    name: str
    source: str = ""
    sha256: str = ""
    ts: float | None = None
    """When (epoch seconds); None where the sensor does not say."""

    @property
    def reason(self) -> str:
        """How it is known, in words."""
        return f"the sensor saw {self.name} come ({self.kind})"


@dataclass(slots=True)
class Facts:
    """What the session tells about one simple command."""

    values: dict[str, Any] = field(default_factory=dict)
    """Name of a field for rules → its value; absent where there is nothing to say."""
    because: dict[str, str] = field(default_factory=dict)
    """Name of a field → why, with the number of the line (from 1) that it comes from."""

    def say(self, name: str, origins: Mapping[str, str]) -> None:
        """A field that lists how files came."""
        if origins:
            self.values[name] = list(origins)
            self.because[name] = next(iter(origins.values()))
