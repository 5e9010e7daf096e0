"""The page of one alert: both sides as values, what speaks against, then the sessions; keys act on the alert's actor."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from decnet.db.rows.alertpage import AlertPage, SideSession
from decnet.db.rows.attribution import Alert
from decnet.hostile import visible
from decnet_tui.model import alert_page as told
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.actor_names import actor_label
from decnet_tui.model.feed import Feed
from decnet_tui.model.identities import identity_label
from decnet_tui.model.keys import key
from decnet_tui.model.notes import note_line
from decnet_tui.model.scope import Scope, scope_of
from decnet_tui.model.words import counted
from decnet_tui.screens.base import View
from decnet_tui.screens.pages import PageLevel
from decnet_tui.screens.sections import Entry, heading
from decnet_tui.screens.session import SessionLevel
from decnet_tui.widgets.strips import BOLD, FAINT, PLAIN, WARN, Line

SESSIONS, EVIDENCE = "sessions", "evidence"
SIDES = ("", "A", "B")
MAX_NOTES = 5
"""The newest notes on the page; the detail has all."""


class AlertLevel(PageLevel):
    """The page; ``alert`` is the row that led here."""

    first_section = SESSIONS

    def __init__(self, feed: Feed, alert: Alert, label: str) -> None:
        super().__init__(feed, f"{label} {identity_label(alert['identity_uuid'])}")
        self.alert, self.label = alert, label
        self.side = SIDES[0]
        """The side whose sessions are shown alone; empty for both."""
        self._page: AlertPage | None = None

    async def fetch(self, session: Session) -> AlertPage | None:
        """The alert with its sessions and notes. Raises what the store raises."""
        return await need_store(session).alert_page(self.alert["alert_id"], clear=session.keep_clear)

    def load(self, data: AlertPage | None) -> None:
        """Evidence, then sessions."""
        self._page = data
        if data is None:
            self.lose("This alert is not stored any more.")
            return
        self.alert, self.label = data["alert"], actor_label(data["alert"], data["addresses"])
        self.crumb = f"{self.label} {identity_label(self.alert['identity_uuid'])}"
        ip = next(
            (
                data["addresses"][one]
                for one in self.alert["attacker_uuids"] or ()
                if one in data["addresses"]
            ),
            None,
        )
        self.row = {**told.plain(data, self.label), "attacker_ip": ip}
        self.recorded = frozenset(one["session_id"] for one in data["sessions"] if one["recorded"])
        self._fill(data)

    def _fill(self, page: AlertPage) -> None:
        self.say(told.head_lines(page, self.label, time.time()), [*_evidence(page), *self._sessions(page)])

    def _sessions(self, page: AlertPage) -> list[Entry]:
        """The sessions of both sides, or of the one that was chosen; in order of time."""
        sides, odd = told.sides_of(self.alert), told.breaking(self.alert)
        shown = [one for one in page["sessions"] if self.side in ("", sides.get(one["session_id"]))]
        several = len(self.alert["attacker_uuids"] or ()) > 1

        def line(one: SideSession) -> str:
            return told.session_line(
                one, sides.get(one["session_id"], "?"), one["session_id"] in odd, sources=several
            )

        def data(one: SideSession) -> Mapping[str, Any]:
            return {**one, "key": one["session_id"], "side": sides.get(one["session_id"])}

        def session(one: SideSession) -> View:
            return SessionLevel(self.feed, one["session_id"])

        gone = sum(len(side) for side in self.alert["sides"] or ()) - len(page["sessions"])
        lost = (
            [heading(SESSIONS, "", [(f"  {counted(gone, 'session')} not stored any more", FAINT)])]
            if gone > 0
            else []
        )
        rows = self.listed(SESSIONS, "", shown, line, data, session)
        return [*([_titles(self.side, several)] if rows else []), *rows[1:], *lost]

    def next_part(self) -> str | None:
        """The next side: both, A alone, B alone; what is shown now."""
        self.side = SIDES[(SIDES.index(self.side) + 1) % len(SIDES)]
        if self._page is not None:
            self._fill(self._page)
        return f"side {self.side} alone" if self.side else "both sides"

    def actor(self) -> Scope | None:
        """Whom the alert is about."""
        return scope_of(self.row or dict(self.alert))

    def detail(self) -> list[str]:
        """The session under the cursor, then the alert whole."""
        if self._page is None:
            return []
        notes = [note_line(one) for one in self._page["notes"]]
        rest = [*told.all_lines(self._page, self.label), *(["", "notes:", *notes] if notes else [])]
        entry = self.current
        one = next(
            (s for s in self._page["sessions"] if entry is not None and s["session_id"] == entry.key), None
        )
        return [*_session_detail(one, self.alert), "", *rest] if one is not None else rest

    def detail_key(self) -> object:
        """The session, and the alert with its notes."""
        return super().detail_key(), hash(repr(self.row))

    def records(self) -> list[Any]:
        """The alert, then the sessions that are shown."""
        return [self.row, *super().records()] if self.row else []

    def about(self) -> str:
        """What can be done."""
        return f"{key('open')}: session  {key('pane.next')}: sides"


def _titles(side: str, several: bool) -> Entry:
    """The titles of the sessions; the side that is shown alone stands in capitals."""
    shown = f"{side} only" if side else "side"
    return heading(SESSIONS, "", [(f" {shown:<5}{told.session_head(sources=several)}", BOLD)])


def _evidence(page: AlertPage) -> list[Entry]:
    """What the alert rests on, in lines that the cursor passes over."""
    alert = page["alert"]
    lines: list[Line] = [
        [(f" {text}", WARN if broken else PLAIN if number else FAINT)]
        for number, (text, broken) in enumerate(told.table_lines(page))
    ]
    lines += [[(f" {visible(text, 300)}", PLAIN)] for text in told.days_lines(page)]
    lines.append([(f" {told.strength_line(alert)}", PLAIN)])
    lines += _said("AGAINST", [*told.against_lines(alert), *told.link_lines(alert)], WARN)
    limits = told.limits_line(alert)
    lines += _said("CANNOT TELL", [limits] if limits else [], PLAIN)
    notes: Sequence[str] = [note_line(one) for one in page["notes"][-MAX_NOTES:]]
    lines += _said("NOTE", notes, PLAIN)
    return [heading(EVIDENCE, "", line) for line in lines]


def _said(title: str, texts: Sequence[str], style: Any) -> list[Line]:
    """A title and its lines, the first of them beside it."""
    return [
        [(f" {title if not number else '':<11} ", BOLD), (visible(text, 300), style)]
        for number, text in enumerate(texts)
    ]


def _session_detail(one: SideSession, alert: Alert) -> list[str]:
    """A session as sentences: whose side, where, with what, as whom, and what was typed first."""
    odd = told.breaking(alert).get(one["session_id"])
    client = one["client"] or {}
    return [
        f"side {told.sides_of(alert).get(one['session_id'], '?')}  session {one['session_id']}"
        + (f"  ! the other side by {' '.join(odd)}" if odd else ""),
        f"{one['started_at']:%Y-%m-%d %H:%M:%S}Z" if one["started_at"] else "start not known",
        f"{one['decky_id'] or '-'} {one['service'] or '-'}  client {told.client_of(one) or '-'}  hassh {client.get('hassh') or '-'}",
        f"login {' '.join(one['logins']) or '-'}  refused {(one['auth'] or {}).get('fail_count', 0)}",
        *(one["lines"] or ["no command was typed"]),
    ]  # fmt: skip
