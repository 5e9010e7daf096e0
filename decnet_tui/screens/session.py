"""The page of one session: whose it is and what it achieved, its steps in order, why a step is tagged, its indicators, its like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from decnet.db.rows.lists import ListedTag
from decnet.db.rows.session import SessionRows
from decnet.hostile import visible
from decnet_tui.model.access import Session
from decnet_tui.model.feed import Feed
from decnet_tui.model.iocs import Indicators, Ioc
from decnet_tui.model.keys import key
from decnet_tui.model.marks import mark_of
from decnet_tui.model.places import country_text, network_text
from decnet_tui.model.scope import Of, Scope, scope_of
from decnet_tui.model.session_page import (
    client_line,
    evidence_of,
    fact_lines,
    like_lines,
    next_line,
    read_session,
    verdict_line,
    where_line,
    who_line,
)
from decnet_tui.model.steps import COMMAND, Step, steps_of, strip_of
from decnet_tui.model.struck import struck_text
from decnet_tui.model.tag_text import brief_why, rests_on, tag_lines, underlined
from decnet_tui.model.words import clock
from decnet_tui.screens.levels import Level, TableLevel
from decnet_tui.screens.playback import PlaybackLevel
from decnet_tui.screens.table import Column, WordsColumn
from decnet_tui.widgets import glyphs
from decnet_tui.widgets.states import severity_style
from decnet_tui.widgets.strips import BOLD, FAINT, KEY, PLAIN, Line

if TYPE_CHECKING:
    from decnet_tui.model.whereabouts import Whereabouts

MAX_IOCS = 4
"""Lines of indicators on the page; the list of them has all."""


class Read(NamedTuple):
    """What one read of the store brings."""

    rows: SessionRows | None
    where: Whereabouts


class SessionLevel(TableLevel[Step]):
    """The page; ``command`` is the step that the cursor begins on."""

    unit = "steps"
    stored = True
    is_page = True

    def __init__(self, feed: Feed, session_id: str, command: str | None = None) -> None:
        super().__init__(feed)
        self.session_id, self.crumb = session_id, f"session {session_id[:8]}"
        self.has_recording: bool | None = None
        """None until the session is read: who asks sooner is not told that there is none."""
        self.told: SessionRows | None = None
        self.iocs: list[Ioc] = []
        self._first = command
        self._missing = False
        self._where: Whereabouts | None = None
        self.columns = (
            Column("at", "at", 8, text=self._at, sort=lambda r: r["ts"]),
            Column("stage", "stage", 7),
            Column("what", "what", 30, text=lambda r: visible(r["what"]), grow=True),
            WordsColumn("techniques", "techniques", 13, text=lambda r: " ".join(r["techniques"]),
                        style=lambda r: KEY if r["tags"] else PLAIN, sort=lambda r: len(r["tags"])),
        )  # fmt: skip

    def _at(self, row: Step) -> str:
        if self.time_format == "clock":
            at = row["at"]
            return "" if at is None else f"+{int(at) // 60}:{int(at) % 60:02d}"
        return (
            clock(row["ts"], "clock" if self.time_format == "date" else "age")
            if row["ts"] is not None
            else "-"
        )

    def row_key(self, row: Step) -> Any:
        """The step's own."""
        return row["key"]

    async def fetch(self, session: Session) -> Read:
        """The session with everything beside it. Raises what the store raises."""
        session.whereabouts.begin()
        return Read(await read_session(session, self.session_id), session.whereabouts)

    def load(self, data: Read) -> None:
        """Steps with their tags."""
        self.told, self._where, self._missing = data.rows, data.where, data.rows is None
        if data.rows is None:
            self.fill([])
            return
        rows = data.rows
        self.session_id = rows.payload["session_id"]
        self.attacker = rows.payload["attacker_uuid"]
        self.has_recording = rows.recording is not None
        found = Indicators()
        found.add(evidence_of(rows))
        self.iocs = found.rows()
        begun = not self.loaded_at
        self.fill(steps_of(rows))
        if self._first is not None and self.go_to(self._first):
            self._first = None
        elif begun:
            self.cursor = next((n for n, row in enumerate(self.rows) if row["tags"]), 0)

    # --- what it is about

    def own(self) -> dict[str, Any]:
        """The session, as its lists and marks know it."""
        if self.told is None:
            return {"session_id": self.session_id}
        payload, told = self.told.payload, self.told.told
        return {
            "session_id": payload["session_id"],
            "sensor_session": payload["sensor_session"],
            "attacker_uuid": payload["attacker_uuid"],
            "attacker_ip": payload["attacker_ip"],
            "identity_uuid": self.told.identity,
            "decky_id": payload["decky_id"],
            "service": payload["service"],
            "started_at": payload["started_at"],
            "ended_at": payload["ended_at"],
            "severity": told["severity"],
            "severity_reason": told["severity_reason"],
            "story_line": told["story_line"],
            "playbook": told["playbook"],
        }

    def mark(self) -> str:
        """What marks it as read."""
        return mark_of(self.own()) if self.told is not None else ""

    def actor(self) -> Scope | None:
        """Whose session it is."""
        return scope_of(self.own()) if self.told is not None else None

    def record(self) -> dict[str, Any]:
        """The session, with the step under the cursor."""
        row = self.current
        step = (
            {} if row is None else {n: row[n] for n in ("kind", "line", "ts", "stage", "what", "techniques")}
        )
        return {**self.own(), "step": step}

    def records(self) -> list[Any]:
        """The session, then its steps (the marked ones, or all that are shown) and its indicators."""
        own = {"section": "session", **self.own()}
        steps = [{"section": "step", **row} for row in super().records()]
        return [own, *steps, *({"section": "indicator", **row} for row in self.iocs)] if self.told else []

    def copy_text(self) -> str:
        """The marked steps or the one under the cursor, as they were typed."""
        marked = [row for row in self.rows if self.row_key(row) in self.marked]
        rows = marked or ([self.current] if self.current is not None else [])
        return "\n".join(row["what"] for row in rows)

    def indicators_of(self) -> Of | None:
        """Its own."""
        return Of(f"session {self.session_id[:8]}", session=self.session_id)

    def tags(self) -> Sequence[ListedTag]:
        """Of the step; where no step is tagged, none."""
        return self.current["tags"] if self.current else ()

    def watch(self) -> Level:
        """Its recording, played."""
        return PlaybackLevel(self.feed, self.session_id)

    # --- painting

    def titles(self, width: int) -> Line | None:
        """None while the order is that of time: the rows explain themselves."""
        return super().titles(width) if self.sort_by else None

    def intro(self, width: int) -> list[Line]:
        """What the session amounts to."""
        rows = self.told
        if rows is None:
            return []
        style = severity_style(rows.told["severity"] or "")
        lines = [
            (who_line(rows, self._place(rows), rows.new), BOLD),
            (where_line(rows), PLAIN),
            (client_line(rows), PLAIN),
            *([(f"keys {struck_text(rows.struck)}", PLAIN)] if rows.struck is not None else []),
            (verdict_line(rows), style),
        ]
        strip = strip_of(self._all, rows.payload["duration_s"], width - 3, glyphs.current().rule)
        shown: list[Line] = [[(f" {visible(text, max(width - 2, 1))}", style)] for text, style in lines]
        if strip:
            shown.append([(f" {strip}", FAINT)])
        elif rows.told["story_line"]:
            shown.append([(f" {visible(rows.told['story_line'], max(width - 2, 1))}", FAINT)])
        return shown

    def _place(self, rows: SessionRows) -> str:
        if self._where is None:
            return ""
        place = self._where.of(rows.payload["attacker_ip"])
        return f"{country_text(place)} {network_text(place)}".strip()

    def outro(self, width: int, room: int) -> list[Line]:
        """Why the step under the cursor is tagged; the indicators; what is like it. What does not fit gives way from the end."""
        if self.told is None:
            return []
        rule: Line = [(f" {glyphs.current().rule * max(width - 3, 1)}", FAINT)]
        lines, like = [rule, *self._why(width)][:room], self._like(width)
        left = room - len(lines)
        lines += self._indicators(width, left - 1)
        return lines + like[: max(room - len(lines), 0)]

    def _why(self, width: int) -> list[Line]:
        row = self.current
        if row is None:
            return []
        if not row["tags"]:
            return [[(" no rule fired on this step", FAINT)]]
        tag, more = row["tags"][0], len(row["tags"]) - 1
        also = f"   +{more} more ({key('open')})" if more else ""
        lines: list[Line] = [[(f" {visible(brief_why(tag) + also, max(width - 2, 1))}", PLAIN)]]
        because, number = next((found for one in row["tags"] if (found := rests_on(one))[0]), ("", None))
        shown, under = underlined(tag, visible(row["what"]), max(width - 6, 10))
        if under:
            lines += [[(f"   {visible(shown)}", PLAIN)], [(f"   {under} matched here", KEY)]]
        elif shown and not because:
            lines.append([(f"   matched {visible(shown, max(width - 12, 1))}", PLAIN)])
        if because:
            jump = f"  ({key('cause')} goes there)" if number is not None else ""
            lines.append(
                [(f"   {visible(f'because: {because}', max(width - 4 - len(jump), 1))}{jump}", PLAIN)]
            )
        return lines

    def _indicators(self, width: int, room: int) -> list[Line]:
        """The files and where they came from first; all of them where there is room, else how many more there are."""
        if not self.iocs or room < 2:
            return []
        first = {"sha256": 0, "url": 1, "path": 2, "host": 3}
        rows = sorted(self.iocs, key=lambda ioc: first.get(ioc["kind"], 4))
        most = min(MAX_IOCS, room - 1)
        shown = rows if len(rows) <= most else rows[: most - 1]
        title = f" IOCs of this session: {len(rows)} ({key('indicators')} lists and copies them)"
        lines: list[Line] = [[(title, PLAIN)]]
        lines += [
            [(f"   {row['kind']:<6} {visible(row['value'], max(width - 12, 1))}", PLAIN)] for row in shown
        ]
        if len(shown) < len(rows):
            rest = "  ".join(f"{row['kind']} {row['value']}" for row in rows[len(shown) :])
            lines.append([(f"   {visible(rest, max(width - 5, 1))}", FAINT)])
        return lines

    def _like(self, width: int) -> list[Line]:
        assert self.told is not None
        texts = [*like_lines(self.told), *([step] if (step := next_line(self.told)) else [])]
        return [[(f" {visible(text, max(width - 2, 1))}", PLAIN)] for text in texts]

    def unfilled(self) -> list[str]:
        """No such session, or nothing in it."""
        if self._missing:
            return [f"No session {visible(self.session_id, 60)} is stored."]
        return ["Nothing was logged in this session."]

    def about(self) -> str:
        """Whether it can be watched."""
        plays = "no recording" if self.has_recording is False else f"{key('watch')}: play"
        return f"{key('fired')}: rules  {plays}"

    def row_detail(self, row: Step) -> list[str]:
        """The step whole, then each of its tags with the span that matched; then whatever else was logged."""
        lines = [row["what"], ""]
        if not row["tags"]:
            lines.append("no rule fired on this step")
        for tag in row["tags"]:
            lines += tag_lines(tag)
        if self.told is None:
            return lines
        others = [
            tag for step in self._all if step["kind"] != COMMAND and step is not row for tag in step["tags"]
        ]
        if others:
            lines += ["", "beside the commands:", *(line for tag in others for line in tag_lines(tag))]
        logged = [line for _, line in fact_lines(self.told.payload, self.told.services)]
        return [*lines, *(["", "logged beside the commands:", *logged] if logged else [])]

    def has_cause(self) -> bool:
        """Whether a tag of the step under the cursor rests on another line."""
        return any(rests_on(tag)[1] is not None for tag in self.tags())

    def to_cause(self) -> str:
        """The cursor to the line that the tag under it rests on; what became of that."""
        tags = self.tags()
        found = next((number for tag in tags if (number := rests_on(tag)[1]) is not None), None)
        if found is None:
            return "the tag rests on this line alone" if tags else "no rule fired on this step"
        at = next((n for n, row in enumerate(self.rows) if row["line"] == found), None)
        if at is None:
            return f"line {found} is not shown"
        self.cursor = at
        return f"line {found}: what the tag rests on"
