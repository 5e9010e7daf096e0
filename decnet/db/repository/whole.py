"""The repository as a whole: all subjects in one class."""

from __future__ import annotations

from decnet.db.repository.attribution.alertpage import AlertPageMixin
from decnet.db.repository.attribution.alerts import AlertsMixin
from decnet.db.repository.attribution.linking import LinkingMixin
from decnet.db.repository.attribution.states import StatesMixin
from decnet.db.repository.baits import BaitsMixin
from decnet.db.repository.behave import BehaveMixin
from decnet.db.repository.canary import CanaryMixin
from decnet.db.repository.fleet import FleetMixin
from decnet.db.repository.ignored import IgnoredMixin
from decnet.db.repository.intel import IntelMixin
from decnet.db.repository.journal import JournalMixin
from decnet.db.repository.lists.actorpage import ActorPageMixin
from decnet.db.repository.lists.campaigns import CampaignsMixin
from decnet.db.repository.lists.coverage import CoverageMixin
from decnet.db.repository.lists.find import FindMixin
from decnet.db.repository.lists.linked import LinkedMixin
from decnet.db.repository.lists.members import MembersMixin
from decnet.db.repository.lists.pages import PagesMixin
from decnet.db.repository.lists.samples import SamplesMixin
from decnet.db.repository.lists.session import SessionMixin
from decnet.db.repository.lists.since import SinceMixin
from decnet.db.repository.lists.stats import StatsMixin
from decnet.db.repository.lists.told import ToldMixin
from decnet.db.repository.lists.uses import UsesMixin
from decnet.db.repository.notes import NotesMixin
from decnet.db.repository.owndecoys import OwnDecoysMixin
from decnet.db.repository.recorder.attackers import AttackersMixin
from decnet.db.repository.recorder.facts import FactsMixin
from decnet.db.repository.recorder.naming import NamingMixin
from decnet.db.repository.recorder.replay import ReplayMixin
from decnet.db.repository.recorder.sessions import SessionsMixin
from decnet.db.repository.runtime.due import DueMixin
from decnet.db.repository.runtime.hours import HoursMixin
from decnet.db.repository.runtime.names import NamesMixin
from decnet.db.repository.runtime.owners import OwnersMixin
from decnet.db.repository.runtime.publish import PublishMixin
from decnet.db.repository.runtime.retention import RetentionMixin
from decnet.db.repository.runtime.work import WorkMixin
from decnet.db.repository.ttp.mails import MailsMixin
from decnet.db.repository.ttp.parts import PartsMixin
from decnet.db.repository.ttp.rules import RulesMixin
from decnet.db.repository.ttp.stories import StoriesMixin
from decnet.db.repository.ttp.tags import TagsMixin
from decnet.db.repository.ttp.windows import WindowsMixin


class BaseRepository(
    SinceMixin,
    SessionMixin,
    FleetMixin,
    FindMixin,
    ActorPageMixin,
    CoverageMixin,
    RetentionMixin,
    DueMixin,
    FactsMixin,
    IgnoredMixin,
    IntelMixin,
    WorkMixin,
    PublishMixin,
    HoursMixin,
    NamesMixin,
    OwnersMixin,
    StatesMixin,
    AlertsMixin,
    AlertPageMixin,
    AttackersMixin,
    ReplayMixin,
    LinkingMixin,
    SessionsMixin,
    NamingMixin,
    TagsMixin,
    PartsMixin,
    RulesMixin,
    PagesMixin,
    JournalMixin,
    StatsMixin,
    SamplesMixin,
    ToldMixin,
    LinkedMixin,
    MembersMixin,
    CampaignsMixin,
    MailsMixin,
    WindowsMixin,
    StoriesMixin,
    BehaveMixin,
    CanaryMixin,
    NotesMixin,
    UsesMixin,
    BaitsMixin,
    OwnDecoysMixin,
):
    """Rows of one database, free or bound to a transaction; see :mod:`decnet.db.repository.base`."""
