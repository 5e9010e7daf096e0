"""One view, one file; this list is the order of the keys. A new view is added here and nowhere else."""

from __future__ import annotations

from decnet_tui.screens.actors import ActorsView
from decnet_tui.screens.alerts import AlertsView
from decnet_tui.screens.base import View
from decnet_tui.screens.campaigns import CampaignsView
from decnet_tui.screens.coverage import CoverageView
from decnet_tui.screens.fleet import FleetView
from decnet_tui.screens.journal import JournalView
from decnet_tui.screens.rules import RulesView
from decnet_tui.screens.since import SinceView
from decnet_tui.screens.traffic import TrafficView
from decnet_tui.screens.workers import WorkersView

VIEWS: tuple[type[View], ...] = (
    SinceView,
    TrafficView,
    AlertsView,
    ActorsView,
    RulesView,
    FleetView,
    WorkersView,
    CoverageView,
    JournalView,
    CampaignsView,
)
