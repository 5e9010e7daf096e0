"""The one door to the rows: everything that reads or writes them goes through this class."""

from __future__ import annotations

from decnet.db.repository.alerts import AlertsMixin
from decnet.db.repository.attackers import ActorsMixin
from decnet.db.repository.attribution import AttributionMixin
from decnet.db.repository.coverage import CoverageMixin
from decnet.db.repository.find import FindMixin
from decnet.db.repository.fleet import FleetMixin
from decnet.db.repository.ignore import IgnoreMixin
from decnet.db.repository.journal import JournalMixin
from decnet.db.repository.lifters import LiftersMixin
from decnet.db.repository.lists import ListsMixin
from decnet.db.repository.naming import NamingMixin
from decnet.db.repository.observations import ObservationsMixin
from decnet.db.repository.producers import ProducersMixin
from decnet.db.repository.queue import QueueMixin
from decnet.db.repository.replay import ReplayMixin
from decnet.db.repository.retention import RetentionMixin
from decnet.db.repository.rules import RulesMixin
from decnet.db.repository.sessions import SessionsMixin
from decnet.db.repository.summary import SummaryMixin
from decnet.db.repository.tagging import WindowsMixin
from decnet.db.repository.tags import TagsMixin


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
    NamingMixin,
    TagsMixin,
    RulesMixin,
    ListsMixin,
    JournalMixin,
    SummaryMixin,
    LiftersMixin,
    WindowsMixin,
    ObservationsMixin,
):
    """Rows of one database, free or bound to a transaction; see :mod:`decnet.db.repository.base`."""
