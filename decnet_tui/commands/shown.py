"""What a command without a name acts on: what is on the screen, never a row of a view that is hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from decnet_tui.screens.alerts import AlertLine, AlertsView
from decnet_tui.screens.fleet import DeckyLine, FleetView
from decnet_tui.screens.rules import RuleLine, RulesView
from decnet_tui.screens.workers import WorkersView

if TYPE_CHECKING:
    from decnet_tui.commands.context import Context
    from decnet_tui.screens.sections import Entry


def rule(console: Context) -> RuleLine | None:
    """The rule under the cursor, or the one that the line shown names; None before the rules are read."""
    rules = console.view_of(RulesView)
    if console.view is rules:
        return rules.current
    named = console.view.record().get("rule_id")
    return rules.find(named) if named else None


def alert(console: Context) -> AlertLine | None:
    """The alert under the cursor or on the page, or the one that the line shown is."""
    alerts = console.view_of(AlertsView)
    if console.view is alerts:
        return alerts.chosen
    record = console.view.record()
    return cast("AlertLine", record) if record.get("alert_id") and record.get("state") else None


def decoy(console: Context) -> DeckyLine | None:
    """The decoy under the cursor, or the one that the line shown names."""
    fleet = console.view_of(FleetView)
    if console.view is fleet:
        return fleet.decoy_here
    named = console.view.record().get("decky_id")
    return fleet.decoy(str(named)) if named else None


def health_line(console: Context) -> Entry | None:
    """The line of workers, sensors and letters under the cursor."""
    workers = console.view_of(WorkersView)
    return workers.current if console.view is workers else None
