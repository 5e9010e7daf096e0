"""The multi-actor tick: looks at identities with new sessions, keeps the verdicts, raises and closes alerts.

An alert stands for an identity and its set of primitives. Another set is told again; below two
primitives the alert is closed and armed anew. All of it are rows, so that a restart repeats nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from decnet.attribution import thresholds as th
from decnet.attribution.doubt import attackers_by_side, doubt_of, doubt_said
from decnet.attribution.multi_actor import CLAIM, Verdict, examine, verdict_row
from decnet.attribution.states import MAX_ATTACKERS
from decnet.bus import topics
from decnet.db.repository import BaseRepository
from decnet.db.rows.attribution import Alert, AlertFacts, Explanation, SessionFeatures, VerdictRow
from decnet.events.attribution import MultiActorSuspected
from decnet.events.fields import Epoch
from decnet.ids import event_id
from decnet.logs import get_logger
from decnet.runtime.worker import TxBus

log = get_logger(__name__)
SUSPECTED = topics.attribution(topics.ATTRIBUTION_PROFILE_MULTI_ACTOR_SUSPECTED)
AT_ONCE = 50
"""Identities that are examined between two commits."""
MAX_SIDE = 500


async def examine_due(repo: BaseRepository) -> set[str]:
    """Examines every identity to which sessions came since its last verdict; the identities looked at."""
    done: set[str] = set()
    while due := await repo.due_identities(AT_ONCE):
        members: dict[str, list[tuple[str, int]]] = {}
        for own, canonical, version in due:
            members.setdefault(canonical, []).append((own, version))
        verdicts = [await _examined(repo, identity) for identity in sorted(members)]
        seen = [mark for marks in members.values() for mark in marks]
        await repo.store_verdicts(verdicts, seen)
        if members.keys() <= done:
            break  # sessions come faster than they are looked at: the next tick goes on
        done |= members.keys()
    return done


async def _examined(repo: BaseRepository, identity: str) -> VerdictRow:
    sessions = await repo.session_features(identity, th.MULTI_ACTOR_SESSIONS)
    verdict = await asyncio.to_thread(examine, sessions)
    last = sessions[-1]["ended_at"] if sessions else None
    row = verdict_row(identity, verdict)
    doubt = await _doubted(repo, identity, sessions, verdict) if verdict.suspected else Explanation()
    return {**row, "verdict": {**row["verdict"], **doubt, "ts": last}}


async def _doubted(
    repo: BaseRepository, identity: str, sessions: Sequence[SessionFeatures], verdict: Verdict
) -> Explanation:
    """What to add when the sides are different addresses: it may be the link between them that is wrong."""
    if (attackers := attackers_by_side(sessions, verdict.sides)) is None:
        return Explanation()
    known = await repo.addresses_of_attackers(uuid for side in attackers for uuid in side)
    doubt = doubt_of(attackers, known, await repo.why_one(identity))
    return {"link": doubt, "against": (*verdict.against, doubt_said(doubt))}


async def settle(
    bus: TxBus, repo: BaseRepository, fired: Mapping[str, frozenset[str]], fresh: set[str], now: float
) -> dict[str, frozenset[str]]:
    """Alerts after the verdicts, against those that ``fired`` before; what stands now.

    Alerts of ``fresh`` identities whose set did not change get their newest sessions, in silence.
    """
    rows = await repo.list_multi_actor_identities()
    standing = {row["identity_uuid"]: frozenset(row["primitives"] or ()) for row in rows}
    standing = {k: v for k, v in standing.items() if len(v) >= th.MULTI_ACTOR_MIN_PRIMITIVES}
    gone = sorted(set(fired) - set(standing))
    if gone:
        await repo.close_alerts(gone, "attribution")
        log.info("multi-actor alerts closed", identities=gone)
    for identity, primitives in sorted(standing.items()):
        changed = fired.get(identity) != primitives
        if not changed and identity not in fresh:
            continue
        alert = await _alert(repo, identity, primitives)
        if changed:
            raised = await repo.raise_alert(alert)
            if not await _ignored(repo, alert["attacker_uuids"]):
                await _publish_alert(bus, raised, now)
        else:
            await repo.refresh_alert(alert)
    return standing


async def _ignored(repo: BaseRepository, attackers: Sequence[str]) -> bool:
    """Whether all attackers of an identity are ignored sources: their alert is kept, and nobody is told."""
    return bool(attackers) and await repo.ignored_attackers(attackers) == set(attackers)


async def _alert(repo: BaseRepository, identity: str, primitives: frozenset[str]) -> AlertFacts:
    verdict = await repo.verdict_of(identity) or Explanation()
    attackers = await repo.attackers_of_identity(identity)
    return {
        "identity_uuid": identity,
        "attacker_uuids": attackers[:MAX_ATTACKERS],
        "primitives": sorted(primitives),
        "families": sorted(verdict.get("families", ())),
        "sides": [list(side)[:MAX_SIDE] for side in verdict.get("sides", ())],
        "confidence": float(verdict.get("confidence", 0.0)),
        "ts": verdict.get("ts"),
        "explanation": verdict,
    }


async def _publish_alert(bus: TxBus, alert: Alert, now: float) -> None:
    primitives, families = alert["primitives"] or [], alert["families"] or []
    sides, told = alert["sides"] or [], alert["explanation"] or Explanation()
    news = MultiActorSuspected(
        identity_uuid=alert["identity_uuid"],
        attacker_uuids=alert["attacker_uuids"] or [],
        primitives=primitives,
        families=families,
        sides=sides,
        against=list(told.get("against", ())),
        cannot_tell=list(told.get("cannot_tell", ())),
        evidence_summary=f"{len(primitives)} primitives flagged multi_actor: {CLAIM} "
        f"({', '.join(families)}; sides of {' and '.join(str(len(s)) for s in sides)} sessions)",
        confidence=alert["confidence"],
        alert_id=alert["alert_id"],
        ts=Epoch(now),
    )
    log.info("multi-actor suspected", identity=alert["identity_uuid"], primitives=alert["primitives"])
    ident = event_id("attribution.alert", alert["alert_id"], alert["revision"])
    await bus.publish(SUSPECTED, news.build(), event_type="multi_actor_suspected", event_id=ident, ts=now)
