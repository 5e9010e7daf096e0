"""A wall clock that jumps: what the program takes for now is moved, for everything of ours that is loaded."""

from __future__ import annotations

import datetime as real
import sys
import time
from typing import Any

import pytest

HOUR, DAY = 3600.0, 86_400.0


class _AsEver(type(real.datetime)):  # type: ignore[misc]
    def __instancecheck__(cls, one: object) -> bool:
        return isinstance(one, real.datetime)


class Jumps:
    """``by`` seconds are added to the clock, now or later; ``monotonic`` clocks go on as they do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.by = 0.0
        jumps, clock = self, time.time

        class Moved(real.datetime, metaclass=_AsEver):
            """The time of now, moved; whatever it makes otherwise is of the plain kind."""

            @classmethod
            def now(cls, tz: real.tzinfo | None = None) -> Any:
                return real.datetime.fromtimestamp(clock() + jumps.by, tz)

            @classmethod
            def fromtimestamp(cls, seconds: float, tz: real.tzinfo | None = None) -> Any:
                return real.datetime.fromtimestamp(seconds, tz)

            @classmethod
            def fromisoformat(cls, text: str) -> Any:
                return real.datetime.fromisoformat(text)

        monkeypatch.setattr(time, "time", lambda: clock() + jumps.by)
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] == "decnet" and getattr(module, "datetime", None) is real.datetime:
                monkeypatch.setattr(module, "datetime", Moved)
