"""Baits that were read: a fact of the session that did it (``bait.read``), kept so that a trip later has its reader.

Sessions tell of their commands when they end, and as live news before that. Both may come twice and in any order: a
session has read a token once, at the earliest time that is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from decnet.bus import topics
from decnet.bus.base import BaseBus
from decnet.config import Settings
from decnet.db.rows.canary import TokenRow
from decnet.decoys.canary.reading import reads_of
from decnet.errors import DatabaseError, MalformedEvent
from decnet.events.session import SessionEnded, SessionProgress
from decnet.logs import get_logger
from decnet.runtime.received import Received
from decnet.runtime.worker import Transaction

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository

log = get_logger(__name__)
FIGURE: Final = "bait_reads"
TOPICS: Final = (topics.attacker(topics.ATTACKER_SESSION_ENDED),)
NEWS: Final = topics.attacker(topics.ATTACKER_SESSION_PROGRESS)
FRESH_S: Final = 5.0
"""Seconds for which the list of laid tokens stands while live news is looked at."""


def has_tokens(settings: Settings) -> bool:
    """Whether there may be tokens that somebody could read: the settings say where they come back."""
    own = settings.decoys
    listens = own.canary_http.enabled or own.canary_dns.enabled
    return bool(listens or own.watch_keys or own.canary_http.base_url or own.canary_dns.zone)


async def take(tx: Transaction, batch: Iterable[Received]) -> Counter[str]:
    """Keeps what sessions of a batch read; figures by their names in health."""
    ended = [(one.record, one.event.ts) for one in batch if isinstance(one.record, SessionEnded)]
    if not any(record.commands for record, _ in ended):
        return Counter()
    laid = await tx.repo.canary_laid()
    rows = [row for record, ts in ended for row in reads_of(record, ts, laid)]
    return Counter({FIGURE: await tx.repo.bait_reads_keep(rows)} if rows else {})


async def follow(repo: BaseRepository, bus: BaseBus, counts: Counter[str], clock: Any) -> None:
    """For ever: what sessions read that have not ended; what is missed here comes with their ends."""
    laid: list[TokenRow] = []
    asked = float("-inf")
    async with bus.subscribe(NEWS) as news:
        async for event in news:
            try:
                if clock() - asked >= FRESH_S:
                    laid, asked = await repo.canary_laid(), clock()
                rows = list(reads_of(SessionProgress.parse(event.payload), event.ts, laid)) if laid else []
                counts[FIGURE] += await repo.bait_reads_keep(rows) if rows else 0
            except (MalformedEvent, DatabaseError) as error:
                log.debug("news of a session not looked at", reason=str(error))


async def first_trip(repo: BaseRepository, token: TokenRow, at: datetime) -> Mapping[str, Any]:
    """What is told with the first trip of a token: what it is, where it lies, and who read it there last before."""
    said: dict[str, Any] = {name: token[name] for name in ("kind", "decky_id", "path", "memo") if token[name]}
    before = await repo.bait_reads(token_id=token["token_id"], until=at, limit=1)
    if before:
        said["read_session_id"] = before[0]["session_id"]
        said["read_ip"], said["read_uuid"] = before[0]["attacker_ip"], before[0]["attacker_uuid"]
        said["read_at"] = before[0]["at"].timestamp()
    return said
