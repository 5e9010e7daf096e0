"""Keeps whom one follows whole: all addresses of the identity or campaign, as the store has them now.

Following begins with what a line names; the rest is read from the store at once, and again with each piece of news that
two identities became one or parted. Without a store the news alone are gone by.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from decnet.errors import DecnetError
from decnet.hostile import visible
from decnet.ids import attacker_id
from decnet_tui.model.access import store_errors
from decnet_tui.model.identities import identity_label
from decnet_tui.model.keys import key
from decnet_tui.model.scope import Scope, campaign_scope, scope_of
from decnet_tui.model.words import addresses_text

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet_tui.commands.context import Context

UUID_CHARS = 36
MOST = 5000
"""Addresses that are followed at most: each is looked for in every event and asked for in queries."""


class Following:
    """Whom one console follows."""

    def __init__(self, console: Context) -> None:
        self._console = console
        self.scope: Scope | None = None
        """Who is followed in all views; None: everybody is shown."""
        self._reading = False
        self._campaign_news = 0

    def follow(self, scope: Scope | None, *, anew: bool = True) -> None:
        """Shows one actor only in all views, or everybody again; not ``anew`` when it is over more or fewer names."""
        self.scope = scope
        for view in self._console.views.values():
            view.set_scope(scope)
        self._console.say(
            f"following {scope.title} in all views; {key('follow')} ends it"
            if scope
            else "everybody is shown again"
        )
        if anew:
            self.look()
        self._console.repaint()

    def follow_name(self, name: str) -> None:
        """Follows an address, an id or its beginning, the actor of a session, or what lists call an identity or campaign."""
        if any(c in name for c in ".:"):
            self.follow(scope_of({"attacker_ip": name}))
        elif len(name) == UUID_CHARS or not self.named(name):
            self.follow(scope_of({"attacker_uuid": name}))

    def look(self) -> None:
        """Reads the store for who belongs to whom is followed; one read at a time, the last one after the last news."""
        if self._console.session.repo is None or self.scope is None or self._reading:
            return
        self._reading = True
        self._console.work(partial(self._look, self.scope), "follow")

    async def _look(self, scope: Scope) -> None:
        repo = self._console.session.repo
        assert repo is not None
        try:
            found = await whole(repo, scope)
        except store_errors() as error:
            self._console.say(
                f"only what is seen of {scope.label} is followed: {visible(error, 200)}", bad=True
            )
            return
        finally:
            self._reading = False
        if self.scope is not scope:
            self.look()
        elif found.names != scope.names or found.addresses != scope.addresses:
            self.follow(found, anew=False)

    def named(self, name: str) -> bool:
        """Follows what the store knows by a name (``i-3f2a``, ``c-2979``, an id, a session's); False without a store."""
        if self._console.session.repo is None:
            return False
        self._console.work(partial(self._named, name), "follow-named")
        return True

    async def _named(self, name: str) -> None:
        repo = self._console.session.repo
        assert repo is not None
        try:
            scope = await called(repo, name)
        except store_errors() as error:
            self._console.say(visible(error, 300), bad=True)
            return
        if scope is None:
            self._console.say(f"nothing stored is called {visible(name, 60)}", bad=True)
        else:
            self.follow(scope)

    def take_news(self) -> None:
        """Identities that became one, parted, or were found in a campaign, as far as one follows them."""
        feed, touched = self._console.feed, False
        while feed.merges:
            winner, loser = feed.merges.popleft()
            said = f"{loser[:8]} was merged into {winner[:8]}: following both"
            touched |= self._turn_to(self.scope and self.scope.merged(winner, loser), said)
        while feed.partings:
            own, winner = feed.partings.popleft()
            scope = self.scope
            said = f"{own[:8]} is no longer one with {winner[:8]}: following {scope.label if scope else ''}"
            touched |= self._turn_to(scope and scope.parted(winner, own), said)
        scope, news = self.scope, feed.by_root["campaign"]
        touched |= scope is not None and bool(scope.campaign) and news != self._campaign_news
        self._campaign_news = news
        if touched:
            self.look()

    def _turn_to(self, scope: Scope | None, said: str) -> bool:
        """Follows what news made of the scope; whether they made anything of it."""
        if scope is None or scope is self.scope:
            return False
        self.follow(scope, anew=False)
        self._console.say(said)
        return True


async def whole(repo: BaseRepository, scope: Scope) -> Scope:
    """The same scope over all that belongs to it now. Raises what the store raises, and DecnetError for too many."""
    if scope.campaign:
        return await _campaign(repo, scope.campaign) or scope
    if not scope.anchor:
        return scope
    identity = (await repo.identities_now([scope.anchor])).get(scope.anchor, scope.anchor)
    members = await repo.names_of_identity(identity)
    if not members:
        return scope
    names = [n for one in members for n in (one["attacker_ip"], one["attacker_uuid"], one["identity_uuid"], one["canonical"])]  # fmt: skip
    return scope.of(names, sum(one["attacker_uuid"] is not None for one in members))


async def called(repo: BaseRepository, name: str) -> Scope | None:
    """Whom lists call so: a campaign (``c-2979``), an identity (``i-3f2a``), an address alone, an id, the actor of a session.

    None when nothing stored is called so. Raises what the store raises, and DecnetError for too many addresses.
    """
    if name.startswith("c-"):
        return await _campaign(repo, name)
    if not any(c in name for c in ".:"):
        return await _anybody(repo, name)
    own = attacker_id(name)
    address = (await repo.addresses_of_attackers([own])).get(own)
    return Scope(visible(address, 45), frozenset([own]), own) if address is not None else None


async def _campaign(repo: BaseRepository, name: str) -> Scope | None:
    found = await repo.campaign_named(name)
    rows = await repo.list_campaigns(limit=1, ignored=True, campaign=found[0]) if found is not None else []
    if not rows:
        return None
    refuse_too_many(rows[0]["attacker_uuids"])
    return campaign_scope(rows[0])


async def _anybody(repo: BaseRepository, name: str) -> Scope | None:
    """The identity of that name, or the actor of the session that has it."""
    if (found := await _identity(repo, name)) is not None:
        return found
    session = await repo.session_named(name)
    if session is None:
        return None
    payload = await repo.session_payload(session)
    return await whole(repo, scope) if payload and (scope := scope_of({**payload})) else None


async def _identity(repo: BaseRepository, name: str) -> Scope | None:
    found = await repo.identity_named(name)
    if found is None:
        return None
    return await whole(repo, Scope(identity_label(found[0]), frozenset([found[0]]), found[0]))


def refuse_too_many(attackers: list[str]) -> None:
    """Raises DecnetError for more addresses than can be followed."""
    if len(attackers) > MOST:
        raise DecnetError(f"{addresses_text(len(attackers))} are too many to follow: {MOST} at most")
