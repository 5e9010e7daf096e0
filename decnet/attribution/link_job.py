"""The job that links: takes sessions in as they are stored, and writes who belongs together.

One engine does it at a time: it holds a lease for as long as it lives, since what linking knows is in its memory. A
write that fails, or that another engine got ahead of, throws that memory away; it is made again from the rows.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from decnet.attribution.link_news import News, of_campaigns, of_identities
from decnet.attribution.link_store import Written, load, write, write_evidence
from decnet.attribution.linking import (
    Change,
    Features,
    Linker,
    Login,
    Thresholds,
    changes_of,
    features_of,
    identities_of,
    state_of,
    term_id,
)
from decnet.attribution.linking.clusters import Pair, pair
from decnet.attribution.linking.journal import CAMPAIGN
from decnet.attribution.linking.numbers import CAPPED
from decnet.bounds import bitten
from decnet.bus.base import BaseBus
from decnet.config import LinkingSettings, Settings
from decnet.db.repository import BaseRepository
from decnet.db.rows.linktables import LinkableSession, LinkedAddress, LinkVersion
from decnet.errors import DatabaseError, MalformedEvent
from decnet.events.session import SessionEnded
from decnet.hostile import visible
from decnet.logs import get_logger
from decnet.runtime.leases import OWNER

log = get_logger(__name__)
LEASE = "attribution.linking"
BATCH = 400
"""Sessions between two commits."""
SWEPT = 500
"""Pairs that are looked at again between two looks at the clock."""
BUSY_S, IDLE_S = 0.2, 2.0
"""Seconds of one run for what changed for everybody: beside sessions that came in, and without any."""
NOBODY = "unknown"
"""The address of a session that never told one."""
T = TypeVar("T")


def thresholds_of(settings: LinkingSettings) -> Thresholds:
    """What an operator may change of what linking decides by."""
    return Thresholds(
        join=settings.join,
        hold=min(settings.hold, settings.join),
        hard=settings.hard,
        second=settings.second,
        members=settings.members,
        hub=settings.hub,
        similar=settings.similar,
    )


class Before(NamedTuple):
    """Whose ids addresses and assets have while all is read anew."""

    addresses: list[LinkedAddress]
    assets: dict[tuple[str, str], tuple[float, str]]
    """Family and value → when its campaign began, and its id."""

    @classmethod
    async def of(cls, repo: BaseRepository) -> Before:
        """As the rows have it."""
        addresses = [row async for page in repo.link_addresses() for row in page]
        campaigns = {
            row["root"]: (row["founded_at"], row["campaign_uuid"])
            async for page in repo.link_groups()
            for row in page
            if row["kind"] == CAMPAIGN and row["campaign_uuid"] is not None
        }
        assets = {
            (row["family"], row["value"]): campaigns[row["campaign_root"]]
            async for page in repo.link_terms()
            for row in page
            if row["campaign_root"] in campaigns
        }
        return cls(addresses, assets)

    def winners_in(self, linker: Linker) -> dict[int, int]:
        """Who is part of whose identity, by the members of a linker."""
        members = {row["identity_uuid"]: linker.index.members[row["address"]] for row in self.addresses}
        into = {
            members[row["identity_uuid"]]: members[row["linked_into"]]
            for row in self.addresses
            if row["linked_into"] in members
        }
        return into | {winner: winner for winner in into.values()}

    def campaigns_in(self, linker: Linker) -> dict[int, tuple[float, str]]:
        """Asset of a linker → when its campaign began, and its id."""
        numbers = ((linker.index.value_id(*asset), known) for asset, known in self.assets.items())
        return {number: known for number, known in numbers if linker.kits.campaigns.holds(number)}


class LinkJob:
    """Linking of one engine; :meth:`run` is called again and again."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings.linking
        self.thresholds = thresholds_of(settings.linking)
        self.ttl = max(3 * settings.linking.interval_s, settings.runtime.lease_s)
        self.mine = False
        self.waiting = self.linked = self.unread = self.homeless = self.contradictions = 0
        self.behind = False
        """Whether what changed for everybody is not followed to its end."""
        self.relinking: tuple[int, int] | None = None
        self._linker: Linker | None = None
        self._version = 0
        self._held_at = 0.0
        self._strange = Counter[tuple[str, str]]()
        self._last_unread = ""

    async def run(self, repo: BaseRepository, _bus: BaseBus | None = None) -> bool:
        """Links all that is due, if this engine is the one to do it.

        False when nothing is left to do until a row is written; whoever is not the one may become it any time.
        """
        if not self.settings.enabled:
            return False
        try:
            if await self._holds(repo):
                await self._all(repo)
        except BaseException:
            self._linker = None  # it may be ahead of the rows
            raise
        finally:
            self.waiting = await repo.link_due_count()
        return not self.mine or self.behind or self.waiting > 0

    async def keep(self, repo: BaseRepository) -> None:
        """For ever: whoever links stays the one while there is nothing to link; another one would read all first."""
        while True:
            await asyncio.sleep(self.ttl / 2)
            if self.mine:
                await self._holds(repo)

    async def leave(self, repo: BaseRepository) -> None:
        """Another engine may go on at once."""
        self._linker = None
        if self.mine:
            self.mine = False
            await repo.lease_release(LEASE, OWNER)

    async def _holds(self, repo: BaseRepository) -> bool:
        """Whether this engine is the one that links; the lease is written anew at a third of its time."""
        if self.mine and time.monotonic() - self._held_at < self.ttl / 3:
            return True
        self._held_at = time.monotonic()
        self.mine = await repo.lease_acquire(LEASE, OWNER, self.ttl)
        if not self.mine:
            self._linker, self.behind = None, False
        return self.mine

    async def _all(self, repo: BaseRepository) -> None:
        known = await repo.link_version()
        if known.relink > known.relinked:
            await self._relink(repo, known)
            known = await repo.link_version()
        if self._linker is None or self._version != known.version:
            self._linker, self._version = await self._loaded(repo), known.version
        linker = self._linker
        await self._heard(repo, linker)
        busy = False
        while await self._batch(repo, linker) and await self._holds(repo):
            busy = True
        await self._followed(repo, linker, BUSY_S if busy else IDLE_S)

    async def _loaded(self, repo: BaseRepository) -> Linker:
        """What linking knew. Rows that contradict each other are not believed: all is read anew with the next run."""
        try:
            return await load(repo, self.thresholds)
        except KeyError as error:
            self.contradictions += 1
            await repo.link_wish_relink()
            raise DatabaseError(
                f"rows of linking contradict each other ({error}); all is read anew"
            ) from error

    # --- what came in

    async def _batch(self, repo: BaseRepository, linker: Linker) -> bool:
        """Links some sessions that are due; False when there are none."""
        gone, marks = await repo.link_gone(BATCH), await repo.link_due(BATCH)
        if not gone and not marks:
            return False
        leave = await repo.linked_addresses_of(gone)
        found = await repo.linkable_sessions([mark.session_id for mark in marks])

        def judged() -> Written:
            for address in leave.values():
                linker.forget(address)
            read = self._features(found)
            changes = linker.add_all(features for _, features in read)
            return self._written(linker, changes, _assets(linker, read))

        written = await asyncio.to_thread(judged)
        written.marks, written.gone = marks, gone
        await self._write(repo, linker, written)
        self.linked += len(found)
        return True

    def _features(self, found: Sequence[LinkableSession]) -> list[tuple[str, Features]]:
        """What sessions bring, by session; what cannot be read, and who has no address, is counted."""
        out = []
        for one in found:
            logins = [
                Login(login["username"] or "", login["secret_hmac"] or "", login["secret_kind"] or "password")
                for login in one.logins
            ]
            if one.payload["attacker_ip"] in (None, "", NOBODY):
                self.homeless += 1
                continue
            try:
                part = SessionEnded.parse({**one.payload, "commands": one.lines}, [], self._strange)
                out.append((part.session_id, features_of([part], logins)))
            except (MalformedEvent, ValueError) as error:
                self.unread += 1
                self._last_unread = visible(f"{one.payload['session_id']}: {error}", 200)
                log.warning("a stored session cannot be linked", reason=self._last_unread)
        return out

    def _written(
        self, linker: Linker, changes: Sequence[Change], assets: dict[str, tuple[str, str]] | None = None
    ) -> Written:
        campaigns = [change for change in changes if change.kind.startswith("campaign.")]
        news: list[News] = of_identities(linker.moved()) + of_campaigns(linker, campaigns)
        moved = {*linker.journal.before, *linker.journal.gone}
        return Written(
            changes_of(linker), news, sorted(linker.uuid(one) for one in moved), assets=assets or {}
        )

    async def _write(self, repo: BaseRepository, linker: Linker, written: Written) -> None:
        self._version = await write(repo, written, self._version)
        linker.journal.clear()

    # --- what operators say, and what follows slowly

    async def _heard(self, repo: BaseRepository, linker: Linker) -> None:
        """Takes over what operators say now of addresses that are known."""
        said = await self._words(repo, linker)
        spoken = {one for known in (said, linker.musts, linker.cannots) for both in known for one in both}
        await self._write_if(repo, linker, lambda: linker.heard(said), spoken)

    async def _words(self, repo: BaseRepository, linker: Linker) -> dict[Pair, tuple[bool, str]]:
        """What operators say of pairs of addresses that are known."""
        rows, members = await repo.said_of_links(), linker.index.members
        known = await repo.linked_addresses_of({who for row in rows for who in (row["one"], row["other"])})
        return {
            pair(members[known[row["one"]]], members[known[row["other"]]]): (row["same"], row["reason"])
            for row in rows
            if known.get(row["one"]) in members and known.get(row["other"]) in members
        }

    async def _followed(self, repo: BaseRepository, linker: Linker, seconds: float) -> None:
        """Follows what changed for everybody for so long; the next run goes on."""

        def followed() -> list[Change]:
            changes, until = list[Change](), time.monotonic() + seconds
            while not linker.settled and time.monotonic() < until:
                changes += linker.follow(SWEPT)
            return changes

        await self._write_if(repo, linker, followed)
        self.behind = not linker.settled

    async def _write_if(
        self,
        repo: BaseRepository,
        linker: Linker,
        do: Callable[[], list[Change]],
        about: Collection[int] = (),
    ) -> None:
        """Does something, and writes what that changed; merges of others that it is ``about`` are looked at again too."""

        def judged() -> Written | None:
            changes = do()
            if linker.journal.empty:
                return None
            written = self._written(linker, changes)
            written.moved = sorted({*written.moved, *map(linker.uuid, about)})
            return written

        if (written := await asyncio.to_thread(judged)) is not None:
            await self._write(repo, linker, written)

    # --- everything anew

    async def _relink(self, repo: BaseRepository, known: LinkVersion) -> None:
        """Reads all stored sessions anew; ids, and what operators said, stay. Broken off, it begins again."""
        log.info("linking anew", wish=known.relink)
        linker = Linker(self.thresholds)
        before = await Before.of(repo)
        for row in before.addresses:
            linker.index.member_of(row["address"], row["attacker_uuid"], row["founded_at"])
        total, done, last = await repo.ended_count(), 0, ""
        while ids := await repo.ended_sessions(last, BATCH):
            found = await repo.linkable_sessions(ids)
            assets = await asyncio.to_thread(self._learnt, linker, found)
            async with repo.transaction() as bound:
                await bound.link_sessions(assets)
            done, last = done + len(ids), ids[-1]
            self.relinking = (done, total)
            if not await self._holds(repo):
                raise DatabaseError("another engine links now")
        words = await self._words(repo, linker)
        written = await self._while_held(repo, lambda: self._renewed(before, words, linker))
        rows = await asyncio.to_thread(state_of, linker)
        why = await asyncio.to_thread(lambda: list(identities_of(linker)))
        written.changes.addresses = rows["addresses"]
        self._version = await repo.link_claim(known.version)
        await write_evidence(
            repo,
            {"terms": rows["terms"], "values": rows["values"], "groups": rows["groups"], "identities": why},
        )
        self._version = await write(repo, written, self._version)
        await repo.link_relinked(known.relink)
        linker.journal.clear()
        self._linker, self.relinking = linker, None
        log.info("linked anew", sessions=done, identities=len(linker.identities()))

    def _learnt(self, linker: Linker, found: Sequence[LinkableSession]) -> dict[str, tuple[str, str]]:
        read = self._features(found)
        for _, features in read:
            linker.learn(features)
        return _assets(linker, read)

    def _renewed(self, before: Before, words: Mapping[Pair, tuple[bool, str]], linker: Linker) -> Written:
        """Judges all that was learnt, with the ids of before; what that changes."""
        linker.kits.keep_ids(before.campaigns_in(linker))
        for said, (same, why) in words.items():
            (linker.musts if same else linker.cannots)[said] = why
        linker.journal.clear()
        linker.take(before.winners_in(linker))
        linker.settle()
        return self._written(linker, ())

    async def _while_held(self, repo: BaseRepository, do: Callable[[], T]) -> T:
        """Something long in a thread, while the lease is renewed."""
        task = asyncio.ensure_future(asyncio.to_thread(do))
        while not (await asyncio.wait([task], timeout=self.ttl / 3))[0]:
            if not await self._holds(repo):
                raise DatabaseError("another engine links now")
        return task.result()

    def health(self) -> dict[str, Any]:
        """Whether this engine links, what waits, what could not be read or has no address, what found no room."""
        found: dict[str, Any] = {
            "linking": self.mine,
            "linking_behind": self.behind,
            "linking_waiting": self.waiting,
            "sessions_linked": self.linked,
            "sessions_unlinkable": self.unread,
            "sessions_without_address": self.homeless,
            "linking_contradictions": self.contradictions,
            **bitten(CAPPED),
        }
        if self._last_unread:
            found["last_unlinkable"] = self._last_unread
        if self.relinking is not None:
            found["relinking"] = "{} of {} sessions".format(*self.relinking)
        return found


def _assets(linker: Linker, read: Iterable[tuple[str, Features]]) -> dict[str, tuple[str, str]]:
    """Session → its attacker and the id of its first asset, of those that have one."""
    named = ((session, features, linker.asset_of(features)) for session, features in read)
    return {one: (features.attacker_uuid, term_id(*asset)) for one, features, asset in named if asset}
