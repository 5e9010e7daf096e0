"""Alerts: when one identity looks like several operators. Claim first, then evidence for and against."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from decnet.db.rows.attribution import Alert, Explanation, Support
from decnet.db.rows.recorder import EndedPayload, SessionFacts
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.actor_names import addresses
from decnet_tui.model.feed import Feed
from decnet_tui.model.identities import identity_label
from decnet_tui.model.ids import names
from decnet_tui.model.keys import key
from decnet_tui.model.scope import Scope, scope_of
from decnet_tui.model.words import addresses_text, clock, counted, lasted
from decnet_tui.screens.base import TIME_WIDTHS, View
from decnet_tui.screens.levels import LevelsView, TableLevel, left_out
from decnet_tui.screens.session import CommandsLevel
from decnet_tui.screens.table import Column, WordsColumn
from decnet_tui.widgets import glyphs
from decnet_tui.widgets.states import alert_state
from decnet_tui.widgets.strips import GOOD, WARN

MAX_ALERTS = 500


class AlertLine(Alert):
    """An alert with the address of its actor, when it is known."""

    attacker_ip: str | None


class SideLine(SessionFacts):
    """A session behind an alert with its side; unlike in ``session.ended`` its start is a time."""

    side: str
    started_at: datetime | None


def label_of(row: AlertLine) -> str:
    """The address when it is known, else the identity's beginning."""
    return str(row.get("attacker_ip") or f"id:{str(row['identity_uuid'])[:8]}")


def whose(row: AlertLine) -> str:
    """The identity that is alerted, and over how many addresses it is told of."""
    count = len(row["attacker_uuids"] or ())
    return identity_label(row["identity_uuid"]) + (f" {addresses_text(count)}" if count > 1 else "")


class AlertsLevel(TableLevel[AlertLine]):
    """Every alert, newest first."""

    unit = "alerts"
    stored = True

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.ignored = 0
        self.columns = (
            Column("ts", "when", TIME_WIDTHS["date"], text=self._time),
            Column("label", "actor", 15, text=label_of),
            Column(
                "state",
                "state",
                14,
                text=lambda r: alert_state(r["state"])[0],
                style=lambda r: alert_state(r["state"])[1],
            ),
            Column("confidence", "conf", 4, right=True),
            Column("sizes", "sides", 7, text=_sizes, right=True),
            WordsColumn("families", "what differs", 14, grow=True),
        )

    def _time(self, row: AlertLine) -> str:
        form = "date" if self.time_format == "clock" else self.time_format
        return clock(row["ts"].timestamp(), form) if row["ts"] else "-"

    def row_key(self, row: AlertLine) -> Any:
        """The alert's id."""
        return row["alert_id"]

    async def fetch(self, session: Session) -> list[AlertLine]:
        """Alerts with their actors' addresses. Raises what the store raises."""
        repo = need_store(session)
        rows = await repo.list_alerts(limit=MAX_ALERTS)
        self.ignored = 0 if rows else len(await repo.ignored_sources())
        known = await addresses(repo, rows)
        return [
            {
                **row,
                "attacker_ip": next((known[a] for a in row["attacker_uuids"] or () if known.get(a)), None),
            }
            for row in rows
        ]

    def load(self, data: Sequence[AlertLine]) -> None:
        """Rows, and the header's badge."""
        self.fill(data)
        self.feed.alerts_open = sum(row["state"] == "open" for row in data)

    def unfilled(self) -> list[str]:
        """No alert is good news."""
        return [
            "No alert: no identity looks like several operators.",
            f"It takes 6 sessions of one identity and two kinds of evidence that agree; view {key('view.actors')} has the profiles.",
            *left_out(self.ignored),
        ]

    def about(self) -> str:
        """What can be done."""
        return f"{key('open')}: sessions by side  {key('detail')}: for and against"

    def gutter(self, index: int) -> str:
        """An open alert."""
        return glyphs.current().stale if self.rows[index]["state"] == "open" else super().gutter(index)

    def below(self) -> View | None:
        """The sessions by side."""
        return None if self.current is None else SidesLevel(self.feed, self.current)

    def row_detail(self, row: AlertLine) -> list[str]:
        """Why, what speaks against it, who did what to it."""
        return alert_lines(row)


def alert_lines(row: AlertLine) -> list[str]:
    """An alert as sentences: claim, evidence, counter-evidence, what it cannot tell apart, who did what to it."""
    why: Explanation = row["explanation"] or {}
    sides = row["sides"] or []
    lines = [
        f"{label_of(row)}: {why.get('claim') or 'several operators, or one with two toolkits'}",
        f"confidence {row['confidence']:.2f}  strength {_odds(why.get('score'))} (asked: {_odds(why.get('threshold'))})",
        f"{counted(why.get('sessions'), 'session')}, side changes {counted(why.get('switches'), 'time')},"
        f" {' and '.join(str(len(side)) for side in sides)} on each side",
        "",
        "for it:",
        *(_support(item) for item in why.get("support") or ()),
        "",
        "against it:",
        *(f"  {text}" for text in why.get("against") or ["nothing found"]),
        *_link(why),
        "",
        "cannot be told apart:",
        *(f"  {text}" for text in why.get("cannot_tell") or ()),
    ]
    acts = (
        ("acknowledged", row["acknowledged_by"], row["acknowledged_at"]),
        ("resolved", row["resolved_by"], row["resolved_at"]),
    )
    done = [f"{what} by {who} {_stamp(when)}" for what, who, when in acts if who]
    named = f"identity {row['identity_uuid']}  {addresses_text(len(row['attacker_uuids'] or ()))}"
    return [*lines, *done, f"{named}  alert {row['alert_id']}"]


def _link(why: Explanation) -> list[str]:
    """The addresses of each side, when it may be the link between them that is wrong."""
    link = why.get("link")
    sides = link["sides"] if link else []
    return [
        f"  link in doubt: {' '.join(side)} on side {number}" for number, side in enumerate(sides, start=1)
    ]


def _sizes(row: Alert) -> str:
    return "/".join(str(len(side)) for side in row["sides"] or ()) or "-"


def _odds(power: object) -> str:
    """Odds, of which the power of ten is known."""
    return f"10^{power:.1f} to 1" if isinstance(power, (int, float)) else "?"


def _support(item: Support) -> str:
    return f"  {item.get('family')}: agrees with the sides in {100 * (item.get('agreement') or 0):.0f}% of sessions"


def _stamp(moment: datetime | None) -> str:
    return f"{clock(moment.timestamp(), 'date')}Z" if moment is not None else ""


class SidesLevel(TableLevel[SideLine]):
    """The sessions behind one alert, in order of time, each with its side."""

    unit = "sessions"
    stored = True

    def __init__(self, feed: Feed, alert: AlertLine) -> None:
        super().__init__(feed)
        self.alert, self.crumb = alert, f"{label_of(alert)} {whose(alert)}"
        self._side = {s: "AB"[i] for i, side in enumerate((alert["sides"] or [])[:2]) for s in side}
        self.columns = (
            Column("side", "side", 4, style=lambda r: GOOD if r["side"] == "A" else WARN),
            Column("started_at", "started", TIME_WIDTHS["date"], text=lambda r: _stamp(r["started_at"])[:-1]),
            Column("decky_id", "decoy", 10),
            Column("duration_s", "lasted", 7, text=_lasted, right=True),
            Column("command_count", "cmds", 5, right=True),
            Column("client", "client", 20, text=_client, grow=True),
            Column("users", "user", 10, text=_users),
        )

    def row_key(self, row: SideLine) -> Any:
        """The session's id."""
        return row["session_id"]

    async def fetch(self, session: Session) -> list[EndedPayload]:
        """The sessions of both sides. Raises what the store raises."""
        repo = need_store(session)
        self.recorded = await repo.recorded(self._side)
        return await repo.session_payloads(list(self._side))

    def load(self, data: Sequence[EndedPayload]) -> None:
        """Rows with their side."""
        self.fill([
            {**row, "side": self._side[row["session_id"]], "started_at": _aware(row["started_at"])} for row in data
        ])  # fmt: skip

    def actor(self) -> Scope | None:
        """Whom the alert is about."""
        return scope_of(dict(self.alert))

    def unfilled(self) -> list[str]:
        """Sessions may have been purged."""
        return ["The sessions behind this alert are not stored any more."]

    def about(self) -> str:
        """What can be opened."""
        return f"{key('open')}: commands"

    def row_detail(self, row: SideLine) -> list[str]:
        """The session as sentences: whose side, where, with what, as whom, and what was typed."""
        client = row.get("client") or {}
        typed = [str(c.get("command_text")) for c in row.get("commands") or ()]
        return [
            f"side {row['side']}  session {row['session_id']}",
            f"{_stamp(row['started_at'])}  {row.get('decky_id')} {row.get('service')}  lasted {_lasted(row)}",
            f"client {_client(row)}  hassh {client.get('hassh') or '-'}",
            f"user {_users(row)}  refused log-ins {(row.get('auth') or {}).get('fail_count', 0)}",
            "",
            *(typed or ["no command was typed"]),
        ]

    def below(self) -> View | None:
        """The session's commands."""
        return None if self.current is None else CommandsLevel(self.feed, str(self.current["session_id"]))


def _aware(ts: Any) -> datetime | None:
    return datetime.fromtimestamp(ts, UTC) if isinstance(ts, (int, float)) else ts


def _lasted(row: SideLine) -> str:
    return lasted(row["ended_at"], row["duration_s"])


def _client(row: SideLine) -> str:
    client = row.get("client") or {}
    return str(client.get("version") or row.get("protocol") or "-")


def _users(row: SideLine) -> str:
    names = (row["auth"] or {}).get("usernames")
    return " ".join(map(str, names)) if isinstance(names, list) and names else "-"


class AlertsView(LevelsView):
    """The view; ``go_to`` takes an alert's or an identity's id."""

    name = "alerts"
    title = "Alerts"
    key = "2"
    says = "Alerts: one identity that looks like several operators"
    roots = ("attribution",)

    def __init__(self, feed: Feed) -> None:
        self.alerts = AlertsLevel(feed)
        super().__init__(feed, self.alerts)

    def go_to(self, key: Any) -> bool:
        """The row of an alert, or the newest one of an identity."""
        self.home()
        wanted = str(key).removeprefix("i-")
        found = next((r for r in self.alerts.rows if names(wanted, r["alert_id"], r["identity_uuid"])), None)
        return found is not None and self.alerts.go_to(found["alert_id"])

    @property
    def chosen(self) -> AlertLine | None:
        """The alert that is meant: the one under the cursor, or the one whose sessions are shown."""
        level = self.level
        return level.alert if isinstance(level, SidesLevel) else self.alerts.current
