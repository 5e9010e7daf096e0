"""What others are told of links: identities that became one or went apart, campaigns and whose they are; pure but for
the publishing, which goes into the outbox of a transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

from decnet.attribution.linking import Change, Linker, Reason
from decnet.attribution.linking import linker as kinds
from decnet.bounds import bit
from decnet.events.campaign import CampaignAssigned, CampaignFormed, CampaignMerged
from decnet.events.identity import LINKING, Merged, Unmerged
from decnet.events.record import Record
from decnet.hostile import visible
from decnet.ids import event_id
from decnet.runtime.worker import TxBus

SOURCE = LINKING
"""Who says so: what others say of merges comes back to the worker, this does not."""
MAX_IDENTITIES = 500
"""Identities named in one event."""
TOLD_CAPPED = "identities_left_out"
MAX_TEXT = 200


class News(NamedTuple):
    """One event, and what its id is derived from beside the version of the write."""

    topic: str
    record: Record
    key: str
    step: int
    """Order among the news of one key in one write: first apart, then together."""


def of_identities(changes: Iterable[Change]) -> list[News]:
    """News of identities."""
    out = []
    for change in changes:
        reasons = [_said(reason) for reason in change.reasons]
        reasons += [f"{one.weight:+.1f} against: {one.family}" for one in change.against]
        if change.kind == kinds.UNMERGED:
            apart = Unmerged(
                resurrected=change.about, former_winner=change.other, reasons=reasons, source=SOURCE
            )
            out.append(News(change.kind, apart, change.about, 0))
        else:
            merged = Merged(winner_uuid=change.about, loser_uuid=change.other, reasons=reasons, source=SOURCE)
            out.append(News(change.kind, merged, change.other, 1))
    return out


def of_campaigns(linker: Linker, changes: Sequence[Change]) -> list[News]:
    """News of campaigns; an identity of several addresses is told once of each.

    A campaign's name is looked for among all that it has: once, however many are told of it.
    """
    name_of = cache(linker.kits.name_of)
    roots = {group.uuid: root for root, group in linker.kits.campaigns.groups.items()} if changes else {}
    out: dict[tuple[str, str, str], News] = {}
    for change in changes:
        now = linker.kits.now(change.about)
        root = roots.get(now)
        if root is None:
            continue
        why = [visible(f"{name_of(root)} at {_members(linker, root)} addresses", MAX_TEXT)]
        news: Record
        if change.kind == kinds.CAMPAIGN_MERGED:
            other = change.other
            news = CampaignMerged(winner_uuid=now, loser_uuid=other, reasons=why)
        elif change.kind == kinds.CAMPAIGN_FORMED:
            other = ""
            if now != change.about:
                continue  # it is part of another one already
            news = CampaignFormed(
                campaign_uuid=now,
                name=visible(name_of(root), MAX_TEXT),
                identity_uuids=_identities(linker, root),
                reasons=why,
            )
        else:
            member = linker.index.members.get(change.other)
            if member is None:
                continue
            other = linker.uuid(linker.group(member)[0])
            news = CampaignAssigned(campaign_uuid=now, identity_uuid=other, reasons=why)
        key = (change.kind, now, other)
        out[key] = News(change.kind, news, f"{now}|{other}", 0)
    return list(out.values())


def _members(linker: Linker, root: int) -> int:
    return len(linker.kits.campaigns.groups[root].members)


def _identities(linker: Linker, root: int) -> list[str]:
    found = {linker.uuid(linker.group(one)[0]) for one in linker.kits.campaigns.groups[root].members}
    bit(TOLD_CAPPED, max(0, len(found) - MAX_IDENTITIES))
    return sorted(found)[:MAX_IDENTITIES]


def _said(reason: Reason) -> str:
    return visible(
        f"{reason.weight:+.1f} {reason.family} {reason.value} at {reason.addresses} addresses", MAX_TEXT
    )


async def publish(bus: TxBus, news: Iterable[News], version: int) -> None:
    """Puts news into the outbox; of one key the later has the greater ``seq``."""
    for one in news:
        seq = 2 * version + one.step
        payload = {**one.record.build(), "seq": seq}
        ident = event_id("attribution.linking", f"{one.topic}|{one.key}", seq)
        await bus.publish(one.topic, payload, event_type=one.topic.rpartition(".")[2], event_id=ident)
