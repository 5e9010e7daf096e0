"""What the recorder tells from stored rows: scores and reused credentials.

Both are recomputed for attackers that are marked as due; what was told once is not told again, so that
redelivery, replay and a second engine change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

from decnet.bounds import bit
from decnet.bus import topics
from decnet.bus.base import Event
from decnet.events.attacker import Scored
from decnet.events.credential import ReuseDetected
from decnet.events.fields import Epoch
from decnet.ids import event_id
from decnet.recorder.scores import crossed, score

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.rows.recorder import ReusedCredential, ScoreCounts
    from decnet.db.rows.runtime import DueMark

SCORED = topics.attacker(topics.ATTACKER_SCORED)
REUSED = topics.credential(topics.CREDENTIAL_REUSE_DETECTED)
AT_ONCE = 100
"""Attackers in one transaction."""
MAX_USERS = 500
"""Rows looked at to name who else tried a credential, and where."""
MAX_NAMED = 50
USERS_CAPPED = "users_capped"
"""The name in health of looks at a secret that had MAX_USERS users or more."""
_CREDENTIAL_NS = uuid5(NAMESPACE_URL, "decnet:reused_credential:v1")


async def derive_due(repo: BaseRepository, thresholds: Sequence[float]) -> int:
    """Works off the attackers that are due; how many events went to the outbox."""
    told = 0
    while marks := await repo.due_take("recorder", AT_ONCE):
        async with repo.transaction() as bound:
            events = await _derive(bound, marks, thresholds)
            await bound.outbox_add_many(events)
            await bound.due_done("recorder", marks)
        told += len(events)
        if len(marks) < AT_ONCE:
            break
    return told


async def _derive(repo: BaseRepository, marks: Sequence[DueMark], thresholds: Sequence[float]) -> list[Event]:
    times = {mark["attacker_uuid"]: float(mark["until"]) for mark in marks}
    since = min(float(mark["since"]) for mark in marks)
    return await _scored(repo, times, thresholds) + await _reused(repo, times, since)


async def _scored(repo: BaseRepository, times: dict[str, float], thresholds: Sequence[float]) -> list[Event]:
    counts = await repo.score_counts(sorted(times))
    news = {
        f"scored|{uuid}|{threshold:g}": (uuid, threshold)
        for uuid, found in counts.items()
        for threshold in crossed(score(found), thresholds)
    }
    fresh = await repo.announce({key: times[uuid] for key, (uuid, _) in news.items()})
    return [_score_event(key, *news[key], counts[news[key][0]], times[news[key][0]]) for key in fresh]


def _score_event(key: str, uuid: str, threshold: float, counts: ScoreCounts, ts: float) -> Event:
    told = Scored(attacker_uuid=uuid, score=score(counts), threshold=threshold, **counts)
    return Event(SCORED, told.build(), "scored", event_id("recorder", key), ts)


def reused_id(row: ReusedCredential) -> str:
    """Id of one attacker's login name and secret, which is also the tag's source."""
    parts = (row["attacker_uuid"], row["username"] or "", row["secret_kind"] or "", row["secret_hmac"])
    return str(uuid5(_CREDENTIAL_NS, "|".join(parts)))


def level(targets: int) -> int:
    """The greatest power of two in a count: reuse is told again whenever it has doubled."""
    return 1 << (targets.bit_length() - 1)


async def _reused(repo: BaseRepository, times: dict[str, float], since: float) -> list[Event]:
    """News of reuse: it has doubled, or was begun earlier than was known when it was told of."""
    found = {reused_id(row): row for row in await repo.reused_credentials(sorted(times), since)}
    keys = {name: (_doubled(name, row), _begun(name, row)) for name, row in found.items()}
    told = {key: times[found[name]["attacker_uuid"]] for name, both in keys.items() for key in both}
    fresh = set(await repo.announce(told))
    news = {name: next((key for key in both if key in fresh), None) for name, both in sorted(keys.items())}
    return [
        await _reuse_event(repo, key, found[name], times[found[name]["attacker_uuid"]])
        for name, key in news.items()
        if key is not None
    ]


def _doubled(name: str, row: ReusedCredential) -> str:
    return f"reuse|{name}|{level(int(row['target_count']))}"


def _begun(name: str, row: ReusedCredential) -> str:
    moment = row["first_seen"]
    return f"reuse|{name}|since|{'' if moment is None else f'{moment.timestamp():.6f}'}"


async def _reuse_event(repo: BaseRepository, key: str, row: ReusedCredential, ts: float) -> Event:
    """``credential.reuse.detected``: whose reuse it is, where, and who else tried the same."""
    users = await repo.credential_users(row["username"], row["secret_kind"], row["secret_hmac"], MAX_USERS)
    bit(USERS_CAPPED, len(users) >= MAX_USERS)
    own = [user for user in users if user["attacker_uuid"] == row["attacker_uuid"]]
    told = ReuseDetected(
        credential_id=reused_id(row),
        attacker_uuid=row["attacker_uuid"],
        username=row["username"],
        secret_kind=row["secret_kind"],
        reuse_count=int(row["target_count"]) - 1,
        target_count=int(row["target_count"]),
        attacker_uuids=_named(user["attacker_uuid"] for user in users),
        deckies=_named(user["decky_id"] for user in own),
        services=_named(user["service"] for user in own),
        first_seen=None if row["first_seen"] is None else Epoch(row["first_seen"].timestamp()),
    )
    return Event(REUSED, told.build(), "reuse", event_id("recorder", key), ts)


def _named(values: Iterable[str | None]) -> list[str]:
    return sorted({value for value in values if value})[:MAX_NAMED]
