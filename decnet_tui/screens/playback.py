"""The level that plays a session's terminal recording inside the console."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from decnet_tui.model.access import Session
from decnet_tui.model.feed import Feed
from decnet_tui.model.playback import Player, screen_size
from decnet_tui.model.session_page import commands_of, read_session, tagged_at
from decnet_tui.model.words import clock, span
from decnet_tui.screens.levels import Level
from decnet_tui.widgets.strips import PLAIN, Line

if TYPE_CHECKING:
    from decnet.db.rows.lists import ListedTag
    from decnet.db.rows.session import SessionRows


class PlaybackLevel(Level):
    """The emulated screen; tagged commands can be jumped to."""

    has_cursor = False
    stored = True
    crumb = "recording"

    def __init__(self, feed: Feed, session_id: str) -> None:
        super().__init__(feed)
        self.session_id = session_id
        self.player: Player | None = None
        self.none = ""
        self._typed: dict[float, str] = {}
        self._lines: list[str] = []
        self._last = 0.0

    def keys_of(self) -> str:
        """Its own wherever it plays: elsewhere n is another key."""
        return "recording"

    async def fetch(self, session: Session) -> SessionRows | None:
        """The session, once. Raises what the store raises."""
        return None if self.player is not None or self.none else await read_session(session, self.session_id)

    def load(self, data: SessionRows | None) -> None:
        """Begins to play."""
        self.problem, self.loaded_at = "", time.monotonic()
        if data is None:
            return
        size = (data.payload["client"] or {}).get("size")
        self._typed = {
            c["ts"]: f": {_techniques(c['tags'])}  {c['command_text']}"
            for c in commands_of(data)
            if c["tags"] and c.get("ts")
        }
        self.player = Player(data.recording or b"", screen_size(size), tagged_at(data))
        if not self.player.frames:
            self.player, self.none = None, "This session has no recording of its terminal."
        self._last = time.monotonic()

    def sync(self, now: float) -> bool:
        """Plays on; the lines only change when output came."""
        if self.player is None:
            return False
        moment = time.monotonic()
        changed = self.player.advance(moment - self._last)
        self._last = moment
        if changed or not self._lines:
            self._lines = self.player.lines()
        return changed

    def pause(self) -> bool:
        """Holds the recording, or plays on; from the beginning when it has ended."""
        player = self.player
        if player is None:
            return False
        if player.ended and player.at >= player.length:
            player.restart()
        else:
            player.paused = not player.paused
        self._last = time.monotonic()
        return player.paused

    def faster(self, by: int) -> str | None:
        """Another speed."""
        return "no recording" if self.player is None else f"speed {self.player.faster(by):g}x"

    def next_tagged(self) -> str:
        """Jumps to the next command with a tag, round and round."""
        mark = self.player.next_mark() if self.player is not None else None
        if mark is None:
            return "no command of this session has a tag"
        return f"tagged command at {clock(mark, 'date')}{self._typed.get(mark, '')}"

    def count(self) -> int:
        """The screen's lines."""
        return len(self._lines)

    def line(self, index: int, width: int) -> Line:
        """One of them."""
        return [(self._lines[index][:width], PLAIN)]

    def empty(self, width: int) -> list[str]:
        """Nothing to play, or not yet."""
        return [self.none or (f"This cannot be read: {self.problem}" if self.problem else "Reading ...")]

    def settle(self, rows: int) -> None:
        """The end of the screen is what matters when it does not fit."""
        used = max((i + 1 for i, line in enumerate(self._lines) if line), default=0)
        self.top = (
            max(min(self.top, used - rows), 0) if self.player and self.player.paused else max(used - rows, 0)
        )

    def move(self, by: int, rows: int) -> None:
        """Scrolls while paused."""
        self.top = max(self.top + by, 0)
        self.settle(rows)

    def status(self) -> tuple[str, str]:
        """SourcePosition, speed, and the keys."""
        player = self.player
        if player is None:
            return "", ""
        state = "paused" if player.paused else "ended" if player.ended else "playing"
        moment = clock(player.moment, "date") if player.moment else "-"
        cut = "  (cut: too long or torn)" if player.cut else ""
        right = f"{state} {player.speed:g}x {span(player.at)}/{span(player.length)} {moment[11:]}"
        return f"< > speed  n next tagged{cut}", right

    def copy_text(self) -> str:
        """The screen as it stands."""
        return "\n".join(self._lines).rstrip()

    def records(self) -> list[Any]:
        """The screen as it stands, a line each."""
        return [{"line": line} for line in self.copy_text().split("\n")]


def _techniques(tags: Sequence[ListedTag]) -> str:
    names = (str(tag.get("sub_technique_id") or tag["technique_id"]) for tag in tags)
    return " ".join(dict.fromkeys(names))
