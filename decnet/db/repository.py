"""The one door to the rows: everything that reads or writes them goes through this class."""

from __future__ import annotations

from decnet.db.repo_alerts import AlertsMixin
from decnet.db.repo_attackers import ActorsMixin
from decnet.db.repo_attribution import AttributionMixin
from decnet.db.repo_coverage import CoverageMixin
from decnet.db.repo_find import FindMixin
from decnet.db.repo_fleet import FleetMixin
from decnet.db.repo_ignore import IgnoreMixin
from decnet.db.repo_journal import JournalMixin
from decnet.db.repo_lifters import LiftersMixin
from decnet.db.repo_lists import ListsMixin
from decnet.db.repo_observations import ObservationsMixin
from decnet.db.repo_producers import ProducersMixin
from decnet.db.repo_queue import QueueMixin
from decnet.db.repo_replay import ReplayMixin
from decnet.db.repo_retention import RetentionMixin
from decnet.db.repo_rules import RulesMixin
from decnet.db.repo_sessions import SessionsMixin
from decnet.db.repo_summary import SummaryMixin
from decnet.db.repo_tagging import WindowsMixin
from decnet.db.repo_tags import TagsMixin


class BaseRepository(
    FleetMixin,
    FindMixin,
    CoverageMixin,
    RetentionMixin,
    ProducersMixin,
    IgnoreMixin,
    QueueMixin,
    AttributionMixin,
    AlertsMixin,
    ActorsMixin,
    ReplayMixin,
    SessionsMixin,
    TagsMixin,
    RulesMixin,
    ListsMixin,
    JournalMixin,
    SummaryMixin,
    LiftersMixin,
    WindowsMixin,
    ObservationsMixin,
):
    """Rows of one database, free or bound to a transaction; see :mod:`decnet.db.base`."""
