"""Alerts: when one identity looks like several operators. The list; each alert has a page below it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from decnet.db.rows.attribution import Alert
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.actor_names import addresses
from decnet_tui.model.alert_page import all_lines, of_row
from decnet_tui.model.feed import Feed, WorkerModel
from decnet_tui.model.ids import names
from decnet_tui.model.keys import key
from decnet_tui.model.words import clock, span
from decnet_tui.screens.alert import AlertLevel
from decnet_tui.screens.base import TIME_WIDTHS, View
from decnet_tui.screens.levels import LevelsView, TableLevel, left_out
from decnet_tui.screens.table import Column, WordsColumn
from decnet_tui.widgets import glyphs
from decnet_tui.widgets.states import alert_state

MAX_ALERTS = 500


class AlertLine(Alert):
    """An alert with the address of its actor, when it is known."""

    attacker_ip: str | None


def label_of(row: AlertLine) -> str:
    """The address when it is known, else the identity's beginning."""
    return str(row.get("attacker_ip") or f"id:{str(row['identity_uuid'])[:8]}")


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
            Column("state", "state", 16, text=lambda r: alert_state(r["state"], r["verdict"])[0],
                   style=lambda r: alert_state(r["state"])[1]),
            Column("confidence", "conf", 4, right=True),
            Column("sizes", "sides", 5, text=_sizes, right=True),
            WordsColumn("families", "what differs", 14, grow=True),
        )  # fmt: skip

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
        """No alert is good news, once somebody has looked."""
        model = self.feed.workers.get("attribution")
        if model is not None and model.payload.get("alerts_checked") is False:
            return [f"Not checked yet: the next look at all identities is {_next_look(model, time.time())}."]
        return [
            "No alert: no identity looks like several operators.",
            f"It takes 6 sessions of one identity and two kinds of evidence that agree; view {key('view.actors')} has the profiles.",
            *left_out(self.ignored),
        ]

    def about(self) -> str:
        """What can be done."""
        return f"{key('open')}: page  {key('detail')}: for and against"

    def known(self) -> Sequence[AlertLine]:
        """All alerts, shown or not."""
        return tuple(self._all)

    def gutter(self, index: int) -> str:
        """An open alert."""
        return glyphs.current().stale if self.rows[index]["state"] == "open" else super().gutter(index)

    def below(self) -> View | None:
        """The alert's page."""
        return None if self.current is None else AlertLevel(self.feed, self.current, label_of(self.current))

    def row_detail(self, row: AlertLine) -> list[str]:
        """Why, what speaks against it, who did what to it."""
        return alert_lines(row)


def alert_lines(row: AlertLine) -> list[str]:
    """An alert as sentences: claim, evidence, counter-evidence, what it cannot tell apart, who did what to it."""
    return all_lines(of_row(row, {}), label_of(row))


def _next_look(model: WorkerModel, now: float) -> str:
    """In how many seconds, by its last heartbeat."""
    told = model.payload.get("next_check_s")
    left = told - model.age(now) if isinstance(told, (int, float)) and not isinstance(told, bool) else 0.0
    return f"in {span(left)}" if left >= 1 else "due"


def _sizes(row: Alert) -> str:
    return "/".join(str(len(side)) for side in row["sides"] or ()) or "-"


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

    def named(self, text: str) -> AlertLine | None:
        """The one alert whose id begins so, shown or not."""
        found = [row for row in self.alerts.known() if row["alert_id"].startswith(text)]
        return found[0] if len(found) == 1 else None

    @property
    def chosen(self) -> AlertLine | None:
        """The alert that is meant: the one under the cursor, or the one whose page is open."""
        page = next((one for one in self.levels if isinstance(one, AlertLevel)), None)
        if page is None:
            return self.alerts.current
        return (
            {**page.alert, "attacker_ip": page.row.get("attacker_ip")}
            if page.row
            else self.alerts.find(page.alert["alert_id"])
        )
