"""The recorder: alone in writing the rows of attackers, identities, sessions, commands, credentials.

A batch becomes a few bulk statements, always in the same order of tables, so that engines which
share the stream cannot deadlock. The effects are commutative and idempotent; the repository sees to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from decnet.bounds import bitten
from decnet.bus import topics
from decnet.bus.base import BaseBus
from decnet.config import Settings, load_settings
from decnet.db.repository.runtime.due import widened
from decnet.errors import BusError
from decnet.events.identity import Formed
from decnet.events.session import SessionEnded
from decnet.ids import event_id
from decnet.logs import get_logger
from decnet.recorder.derive import USERS_CAPPED, derive_due
from decnet.recorder.plan import JUDGED, TOPICS, Plan, plan_of
from decnet.runtime.naming import under_stored_names
from decnet.runtime.received import Received
from decnet.runtime.worker import Job, Transaction, Worker

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository

log = get_logger(__name__)
RECORDINGS_EVERY_S = 5.0
RECORDINGS_AT_ONCE = 20
LEFT_OUT = ("commands_dropped", "items_dropped")
"""What a sensor had to leave out of a session, as the session itself says it."""
IDENTITY_FORMED = topics.identity(topics.IDENTITY_FORMED)


class RecorderWorker(Worker):
    """Writes what attackers did, and tells of each new identity once."""

    name = "recorder"
    topics = (*TOPICS, *JUDGED)
    keeps = TOPICS  # faults of the others are told of by who judges them

    def __init__(self, settings: Settings | None = None) -> None:
        settings = settings or load_settings()
        self.settings = settings.recorder
        self.keep_clear = settings.credentials.keep_clear
        self.bus: BaseBus | None = None
        self.recordings_waiting = 0
        self.derived = 0
        self.left_out = Counter[str]()
        every = self.settings.derive_interval_s
        copies = (RECORDINGS_EVERY_S, copy_recordings, "recorder.recordings")
        self.jobs = (
            Job("recordings", *copies, by_data=True, due=lambda repo: repo.missing_recordings(1)),
            Job(
                "derive", every, self._derive, "recorder.derive", by_data=True,
                due=lambda repo: repo.due_take(self.name, 1),
            ),
        )  # fmt: skip

    async def start(self, repo: BaseRepository, bus: BaseBus) -> None:
        """Keeps the bus for its object store."""
        self.bus = bus
        log.info("recorder worker started", topics=len(self.topics))

    async def handle(self, batch: Sequence[Received], tx: Transaction) -> None:
        """Writes the rows of a batch; events that cannot be read are dead-lettered one by one.

        Two engines that each read a part of one session's lines number them alike: whoever is second has to see what
        the first one stored, or its commands would be taken for those.
        """
        await tx.repo.hold_sessions(_told_of(batch))
        plan = plan_of(await under_stored_names(batch, tx.repo))
        for event, reason in plan.refused:
            tx.dead_letter(event, reason)
        await self._write(plan, tx.repo)
        await _announce(plan, tx)
        self._note_left_out(plan)
        await self._copy(plan.recordings, tx.repo)

    def _note_left_out(self, plan: Plan) -> None:
        """What the sensors say that the sessions of a batch lack; said once more when a session comes once more."""
        for row in plan.sessions:
            for name in LEFT_OUT:
                if isinstance(count := row.get(name), int):
                    self.left_out[name] += count

    async def _derive(self, repo: BaseRepository, _bus: BaseBus) -> None:
        self.derived += await derive_due(repo, self.settings.score_thresholds)

    async def _write(self, plan: Plan, repo: BaseRepository) -> None:
        ignored = plan.ignored(await repo.ignore_set())
        await repo.upsert_attackers(plan.sightings, ignored, plan.mentions)
        await repo.upsert_sessions(plan.sessions)
        await repo.insert_command_rows(plan.commands)
        await repo.upsert_credentials([self._allowed(row) for row in plan.credentials])
        await repo.upsert_intel(plan.intel)
        for fingerprint in plan.fingerprints:
            await repo.upsert_fingerprint(*fingerprint)
        await repo.due_mark(widened(plan.changed))
        await repo.link_mark(_to_link(plan))

    def _allowed(self, credential: dict[str, Any]) -> dict[str, Any]:
        """The clear text of a secret goes no further than the operator wants, whoever sent it."""
        return credential if self.keep_clear else {**credential, "secret": None}

    async def _copy(self, wanted: dict[str, str], repo: BaseRepository) -> None:
        """A bus that is away costs no batch: the job copies later what is missing."""
        if self.bus is None or not wanted:
            return
        try:
            for key, session_id in wanted.items():
                await copy_recording(repo, self.bus, key, session_id)
        except BusError as error:
            self.recordings_waiting += 1
            log.info("recordings are copied later", error=str(error))

    def health(self) -> dict[str, Any]:
        """How often recordings had to wait for the bus, events told from stored rows, and what sessions lack."""
        return {
            "recordings_waiting": self.recordings_waiting,
            "derived": self.derived,
            **{name: self.left_out[name] for name in LEFT_OUT},
            **bitten(USERS_CAPPED),
        }

    async def stop(self) -> None:
        """Lets the bus go."""
        self.bus = None
        log.info("recorder worker stopped")


def _to_link(plan: Plan) -> set[str]:
    """Sessions of whose end or log-ins a batch tells: what links addresses has to look at them."""
    ended = {str(row["session_id"]) for row in plan.sessions if row.get("ended_at") is not None}
    return ended | {str(row["session_id"]) for row in plan.credentials if row.get("session_id")}


def _told_of(batch: Sequence[Received]) -> set[str]:
    """The honeypots' sessions that a batch has something of, by decky and the honeypot's own id where there is one."""
    sessions = (one.record for one in batch if isinstance(one.record, SessionEnded))
    return {
        f"{session.decky_id}|{session.sensor_session}" if session.sensor_session else session.session_id
        for session in sessions
    }


async def _announce(plan: Plan, tx: Transaction) -> None:
    """identity.formed, only for identities whose row this transaction wrote."""
    for identity, attacker in await tx.repo.form_identities(plan.attackers):
        await tx.bus.publish(
            IDENTITY_FORMED,
            Formed(identity_uuid=identity, attacker_uuids=[attacker]).build(),
            event_type="formed",
            event_id=event_id("recorder", identity),
            ts=plan.formed_at[attacker],
        )


async def copy_recording(repo: BaseRepository, bus: BaseBus, key: str, session_id: str) -> bool:
    """Copies one recording from the bus to the database; False when the bus has none. Raises BusError."""
    data = await bus.get_blob(key)
    if data is None:
        return False
    await repo.upsert_recording(key, session_id, data)
    return True


async def copy_recordings(repo: BaseRepository, bus: BaseBus) -> None:
    """Copies recordings that sessions name and the database lacks, the newest first."""
    for key, session_id in await repo.missing_recordings(RECORDINGS_AT_ONCE):
        try:
            await copy_recording(repo, bus, key, session_id)
        except BusError as error:
            log.info("recordings are copied later", error=str(error))
            return
