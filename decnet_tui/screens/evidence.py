"""Levels that show evidence: sessions of an actor, a session's commands with their tags, tags of a technique."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.style import Style

from decnet.attack.catalogue import load_catalogue
from decnet.db.rows import JsonObject
from decnet.db.rows.lists import ListedSession, ListedTag, TagBehind
from decnet.db.rows.recorder import EndedPayload
from decnet.events.ttp import SEVERITIES
from decnet.hostile import visible
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.export import plain_value
from decnet_tui.model.feed import Feed
from decnet_tui.model.identities import identity_label
from decnet_tui.model.keys import key
from decnet_tui.model.scope import Scope, scope_of
from decnet_tui.model.session_page import SessionData, TaggedCommand, fact_lines, head_lines, read_session
from decnet_tui.model.words import addresses_text, clock, counted, lasted
from decnet_tui.screens.base import TIME_WIDTHS, View
from decnet_tui.screens.levels import Level, TableLevel
from decnet_tui.screens.playback import PlaybackLevel
from decnet_tui.screens.table import Column
from decnet_tui.widgets.strips import BAD, BOLD, FAINT, KEY, PLAIN, WARN, Line

MAX_ROWS = 1000
_RANKS = {name: rank for rank, name in enumerate(SEVERITIES)}
_VIEWS = {"command": "one command of the line", "line": "the line"}


def technique_of(tag: ListedTag | TagBehind) -> str:
    """The sub-technique where there is one."""
    return tag["sub_technique_id"] or tag["technique_id"]


def tag_lines(tag: ListedTag | TagBehind) -> list[str]:
    """Why one tag was given: technique, rule, confidence, field, span and matched text."""
    evidence = tag["evidence"] or {}
    technique = technique_of(tag)
    place = evidence.get("span")
    at = f" at {place[0]}-{place[1]}" if isinstance(place, (list, tuple)) and len(place) == 2 else ""
    name = str(evidence.get("view") or "")
    view = f" of {_VIEWS.get(name, name)}" if name else ""
    lines = [
        f"{technique} {load_catalogue().name(technique)}  ({load_catalogue().tactic_name(tag['tactic'])})",
        f"  rule {tag['rule_id']}  confidence {tag['confidence']:.2f}",
    ]
    if "matched" in evidence:
        lines.append(f"  matched {evidence['matched']}  ({evidence.get('field', 'field')}{at}{view})")
    rest = {
        k: v for k, v in evidence.items() if k not in ("matched", "field", "span", "view", "command_text")
    }
    return [*lines, *(f"  {name}: {_brief(value)}" for name, value in rest.items())]


def severity_style(severity: str) -> Style:
    """How a severity looks."""
    return {"critical": BAD, "high": BAD, "medium": WARN}.get(severity, PLAIN)


def _brief(value: object) -> str:
    """Evidence beside the match, for people: lists as their members, the rest as JSON."""
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, default=plain_value)


def _when(form: str, moment: datetime | None) -> str:
    if moment is None:
        return "-"
    return clock(moment.timestamp(), "date" if form == "clock" else form)


class SessionsLevel(TableLevel[ListedSession]):
    """The sessions of one attacker, newest first."""

    unit = "sessions"
    stored = True

    def __init__(self, feed: Feed, attacker: str, label: str) -> None:
        super().__init__(feed)
        self.attacker, self.crumb = attacker, label
        self.columns = (
            Column("started_at", "started", TIME_WIDTHS["date"], text=lambda r: _when(self.time_format, r["started_at"])),
            Column("severity", "severity", 8, style=lambda r: severity_style(r["severity"] or ""),
                   sort=lambda r: -_RANKS.get(r["severity"] or "", len(_RANKS))),
            Column("decky_id", "decoy", 10, grow=True),
            Column("service", "service", 7),
            Column("duration_s", "lasted", 7, text=lambda r: lasted(r["ended_at"], r["duration_s"]), right=True),
            Column("command_count", "cmds", 5, right=True),
            Column("tag_count", "tags", 5, right=True),
            Column("session_id", "session", 9, text=lambda r: str(r["session_id"])[:8]),
            Column("end_reason", "end", 6, wide=True),
            Column("sensor_session", "its own id", 12, wide=True),
            Column("story_line", "story", 40, wide=True),
        )  # fmt: skip

    def row_key(self, row: ListedSession) -> Any:
        """The session's id."""
        return row["session_id"]

    async def fetch(self, session: Session) -> list[ListedSession]:
        """The attacker's sessions. Raises what the store raises."""
        repo = need_store(session)
        rows = await repo.list_sessions(attacker=self.attacker, limit=MAX_ROWS, ignored=True)
        self.recorded = await repo.recorded(row["session_id"] for row in rows)
        return rows

    def unfilled(self) -> list[str]:
        """No session yet."""
        return ["No session of this source is stored: it was seen, but has not logged in."]

    def below(self) -> View | None:
        """Its commands."""
        if self.current is None:
            return None
        return CommandsLevel(self.feed, str(self.current["session_id"]))

    def about(self) -> str:
        """What can be opened."""
        return f"{key('open')}: commands  {key('fired')}: rules"


def render_notes(payload: EndedPayload) -> str:
    """What found no room in a session, and the honeypot's own id of it."""
    lost = ((payload.get("commands_dropped"), "command"), (payload.get("items_dropped"), "item"))
    native = payload["sensor_session"]
    return "".join(f"{counted(count, what)} found no room  " for count, what in lost if count) + (
        f"{visible(native, 24)}  " if native else ""
    )


class CommandsLevel(TableLevel[TaggedCommand]):
    """A session's commands in order, with the techniques they were tagged with."""

    unit = "commands"
    stored = True

    def __init__(self, feed: Feed, session_id: str, command: str | None = None) -> None:
        super().__init__(feed)
        self.session_id, self.crumb = session_id, f"session {session_id[:8]}"
        self.auth: JsonObject = {}
        self.has_recording: bool | None = None
        """None until the session is read: who asks sooner is not told that there is none."""
        self._first = command
        self._told = ""
        self._logged: list[str] = []
        self._others: list[ListedTag] = []
        self._head: list[str] = []
        self._severity = ""
        self._of: dict[str, Any] = {}
        self.columns = (
            Column("ts", "at", 8, text=lambda r: clock(r["ts"], self.time_format) if r.get("ts") else "-"),
            Column("command_text", "command", 30, grow=True),
            Column("techniques", "techniques", 22, text=_techniques, style=lambda r: KEY if r["tags"] else PLAIN,
                   sort=lambda r: len(r["tags"])),
        )  # fmt: skip

    def row_key(self, row: TaggedCommand) -> Any:
        """The command's id."""
        return row["id"]

    async def fetch(self, session: Session) -> SessionData:
        """The session with its tags. Raises what the store raises."""
        return await read_session(session, self.session_id)

    def load(self, data: SessionData) -> None:
        """Commands joined with their tags; tags of the whole session stand in the detail."""
        self.auth = (data.payload["auth"] if data.payload is not None else None) or {}
        self._told = render_notes(data.payload) if data.payload is not None else ""
        self._logged = [line for _, line in fact_lines(data.payload or {}, data.services)]
        self.has_recording = data.recording is not None
        self._others = data.own_tags()
        self._own(data)
        self._head, self._severity = head_lines(data.told), str(data.told.get("severity") or "")
        self.fill(data.commands())
        if self._first is not None and self.go_to(self._first):
            self._first = None

    def _own(self, data: SessionData) -> None:
        """Whose session it is."""
        if data.payload is None:
            return
        names = {
            "attacker_ip": data.payload.get("attacker_ip"),
            "attacker_uuid": data.payload.get("attacker_uuid"),
        }
        self._of = {**names, "identity_uuid": data.identity, "addresses": data.addresses}
        self.attacker = str(names["attacker_uuid"] or "")

    def unfilled(self) -> list[str]:
        """A session without commands is the usual one."""
        auth = self.auth
        return [
            "No command was typed in this session.",
            f"Log-ins: {auth.get('fail_count', 0)} refused, {'one' if auth.get('success') else 'none'} accepted.",
            *(line for tag in self._others for line in tag_lines(tag)),
            *self._logged,
        ]

    def intro(self, width: int) -> list[Line]:
        """What the session amounts to."""
        styles = (severity_style(self._severity), PLAIN, FAINT)
        lines = [*self._whose_lines(), *zip(self._head, styles, strict=False)]
        return [[(f" {visible(text, max(width - 2, 1))}", style)] for text, style in lines]

    def _whose_lines(self) -> list[tuple[str, Style]]:
        if not self._of.get("attacker_ip"):
            return []
        identity = self._of["identity_uuid"]
        size = f"  {addresses_text(self._of['addresses'])}" if self._of["addresses"] > 1 else ""
        return [
            (
                f"{self._of['attacker_ip']}  {identity_label(identity)}{size}"
                if identity
                else str(self._of["attacker_ip"]),
                BOLD,
            )
        ]

    def about(self) -> str:
        """Which rules can be seen, and whether it can be watched."""
        own = f"{counted(len(self._others), 'session tag')}  " if self._others else ""
        plays = "no recording" if self.has_recording is False else f"{key('watch')}: play"
        return f"{own}{self._told}{key('fired')}: rules  {plays}"

    def tags(self) -> Sequence[ListedTag]:
        """Of the command; where no command is tagged, of the session itself."""
        own = self.current["tags"] if self.current else ()
        return own or (() if any(row["tags"] for row in self.rows) else self._others)

    def row_detail(self, row: TaggedCommand) -> list[str]:
        """The command whole, then each of its tags with the span that matched; then the session's."""
        lines = [row["command_text"], ""]
        if not row["tags"]:
            lines.append("no rule fired on this command")
        for tag in row["tags"]:
            lines += tag_lines(tag)
        if self._others:
            lines += ["", "the session itself:"]
            lines += [line for tag in self._others for line in tag_lines(tag)]
        if self._logged:
            lines += ["", "logged beside the commands:", *self._logged]
        return lines

    def actor(self) -> Scope | None:
        """Whose session it is."""
        return scope_of(self._of)

    def watch(self) -> Level:
        """Its recording, played."""
        return PlaybackLevel(self.feed, self.session_id)


def _techniques(row: TaggedCommand) -> str:
    return " ".join(dict.fromkeys(technique_of(tag) for tag in row["tags"])) or "-"


class TagsLevel(TableLevel[TagBehind]):
    """The tags behind a technique, newest first."""

    unit = "tags"
    stored = True

    def __init__(
        self,
        feed: Feed,
        technique: str,
        tactic: str | None,
        since: float,
        names: frozenset[str] | None,
        until: float = 0.0,
    ) -> None:
        super().__init__(feed)
        self.technique, self.tactic, self.names = technique, tactic, names
        self.since, self.until = since, until
        self.crumb = f"{technique} {load_catalogue().name(technique)}"
        self.columns = (
            Column("seen", "seen", TIME_WIDTHS["date"], text=lambda r: _when(self.time_format, r["seen"])),
            Column("attacker_ip", "source", 15),
            Column("rule_id", "rule", 6),
            Column("confidence", "conf", 4, right=True),
            Column("matched", "matched", 20, text=_matched, grow=True),
        )

    def row_key(self, row: TagBehind) -> Any:
        """The tag's id."""
        return row["uuid"]

    async def fetch(self, session: Session) -> list[TagBehind]:
        """The newest tags. Raises what the store raises."""
        repo = need_store(session)
        rows = await repo.tags_behind(
            self.technique, self.tactic, self.since or None, self.names, MAX_ROWS, until=self.until or None
        )
        self.recorded = await repo.recorded(row["session_id"] for row in rows if row["session_id"])
        return rows

    def unfilled(self) -> list[str]:
        """Nothing behind the cell."""
        return [f"No tag names {self.technique} here."]

    def about(self) -> str:
        """Where the row leads."""
        return f"{key('open')}: session  {key('fired')}: rule"

    def tags(self) -> Sequence[TagBehind]:
        """The row is one."""
        return [] if self.current is None else [self.current]

    def below(self) -> View | None:
        """The session that it was seen in."""
        row = self.current
        if row is None or not row["session_id"]:
            return None
        return CommandsLevel(self.feed, row["session_id"], row["source_id"])

    def row_detail(self, row: TagBehind) -> list[str]:
        """Why the tag was given, and the whole command."""
        text = row["command_text"]
        return [*([text, ""] if text else []), *tag_lines(row)]


class RuleTagsLevel(TagsLevel):
    """The tags that one rule gave, newest first; those of a followed actor alone when one is followed."""

    def __init__(self, feed: Feed, rule_id: str, name: str, names: frozenset[str] | None) -> None:
        super().__init__(feed, "", None, 0.0, names)
        self.rule_id, self.crumb = rule_id, f"tags of {rule_id} {name}".rstrip()
        technique: Column[TagBehind] = Column("technique", "technique", 10, text=technique_of)
        self.columns = tuple(technique if c.id == "rule_id" else c for c in self.columns)

    async def fetch(self, session: Session) -> list[TagBehind]:
        """The newest tags. Raises what the store raises."""
        repo = need_store(session)
        rows = await repo.tags_of_rule(self.rule_id, self.names, MAX_ROWS)
        self.recorded = await repo.recorded(row["session_id"] for row in rows if row["session_id"])
        return rows

    def unfilled(self) -> list[str]:
        """It may be new, or the past was not judged by it."""
        return [
            f"{self.rule_id} has given no tag yet.",
            f"{key('rule.backfill')} on it in view {key('view.rules')} judges the past by it.",
        ]


def _matched(row: TagBehind) -> str:
    evidence = row["evidence"] or {}
    return str(evidence.get("because") or evidence.get("matched") or row["command_text"] or "-")
