"""Linking's rows: a linker made again from them, and what it changed written down with its news; one transaction each.

What is decided is :mod:`decnet.attribution.linking`'s, when it is done that of :mod:`decnet.attribution.link_job`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from decnet.attribution.link_news import News, publish
from decnet.attribution.linking import Linker, Restoring, Thresholds
from decnet.attribution.linking.journal import CAMPAIGN, KIT
from decnet.attribution.linking.state import Changes
from decnet.attribution.regrouped import follow
from decnet.db.repository import BaseRepository
from decnet.db.rows.linktables import DueSession, LinkRow
from decnet.runtime.worker import transaction

KEYS = {
    "terms": ("term_id",),
    "values": ("attacker_uuid", "term_id"),
    "groups": ("kind", "root"),
    "identities": ("identity_uuid",),
}
"""What rows are named by."""
AT_ONCE = 2_000
"""Rows of one transaction where all is written anew."""


@dataclass(slots=True)
class Written:
    """What is written together: rows, news, and marks that are done."""

    changes: Changes
    news: list[News]
    moved: list[str] = field(default_factory=list)
    """Identities that are part of another one than before."""
    assets: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Session → its attacker and the id of its first asset."""
    marks: Sequence[DueSession] = ()
    gone: Sequence[str] = ()


async def load(repo: BaseRepository, thresholds: Thresholds) -> Linker:
    """What linking knew when it last wrote."""
    making = Restoring(thresholds)
    async for addresses in repo.link_addresses():
        await asyncio.to_thread(making.addresses, addresses)
    async for terms in repo.link_terms():
        await asyncio.to_thread(making.terms, terms)
    async for values in repo.link_values():
        await asyncio.to_thread(making.values, values)
    async for groups in repo.link_groups():
        await asyncio.to_thread(making.groups, groups)
    merged, said = await repo.merged_campaigns(), await repo.said_of_links()
    return await asyncio.to_thread(making.finish, merged, said)


async def write(repo: BaseRepository, what: Written, version: int) -> int:
    """Writes all of it, or nothing; the new version. Raises DatabaseError when another engine wrote since ``version``."""
    async with transaction(repo) as tx:
        version = await tx.repo.link_claim(version)
        await _rows(tx.repo, what.changes)
        await tx.repo.link_sessions(what.assets)
        if what.moved:
            await follow(tx.repo, tx.bus, await tx.repo.regroup_identities(what.moved))
        await publish(tx.bus, what.news, version)
        await tx.repo.link_done(what.marks, what.gone)
    return version


async def _rows(repo: BaseRepository, changes: Changes) -> None:
    if changes.attackers_gone:
        await repo.link_forget(changes.attackers_gone)
    for kind in (CAMPAIGN, KIT):
        await repo.link_reroot(kind, [(before, now) for of, before, now in changes.rooted if of == kind])
    await repo.link_upsert("terms", changes.terms)
    await repo.link_upsert("addresses", changes.addresses)
    await repo.link_upsert("values", changes.values)
    await repo.link_upsert("groups", changes.groups)
    await repo.link_upsert("identities", changes.identities)
    await repo.link_delete("values", changes.values_gone)
    await repo.link_delete("groups", changes.groups_gone)
    await repo.link_delete("identities", [(one,) for one in changes.identities_gone])
    await repo.link_campaigns_merged(changes.campaigns)


async def write_evidence(repo: BaseRepository, rows: dict[str, Sequence[LinkRow]]) -> None:
    """Writes all rows of some kinds anew, a few thousand a transaction; those that are no more go last.

    Each kind stands after those that its rows name.
    """
    for what, some in rows.items():
        for start in range(0, len(some), AT_ONCE):
            await repo.link_upsert(what, some[start : start + AT_ONCE])
    for what, some in reversed(rows.items()):
        await _sweep_out(repo, what, some)


async def _sweep_out(repo: BaseRepository, what: str, kept: Iterable[LinkRow]) -> None:
    """Takes out rows of a kind that are not among those that stay."""
    names = KEYS[what]
    known = {tuple(str(row[name]) for name in names) for row in kept}
    async for page in repo.link_keys(what):
        gone = [key for key in page if key not in known]
        for start in range(0, len(gone), AT_ONCE):
            await repo.link_delete(what, gone[start : start + AT_ONCE])
