"""What an operator says of two addresses: the same hand, or not; and taking that back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from decnet.errors import DecnetError
from decnet.hostile import visible
from decnet.ids import attacker_id
from decnet_tui.actions.changes import Change, Outcome
from decnet_tui.actions.forms import Field, Form
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.feed import Feed
from decnet_tui.model.identities import identity_meant
from decnet_tui.model.journal import End

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository

KIND = "identity.link"
WORDS = {True: "the same", False: "not the same", None: "as the evidence has it"}


class Meant(NamedTuple):
    """An address that is meant, and its attacker."""

    address: str
    attacker: str


async def meant(repo: BaseRepository, text: str) -> Meant:
    """The address that is named, or the first one of the identity that is. Raises DecnetError for nobody."""
    uuid, _ = await identity_meant(repo, text)
    members = await repo.members_seen(uuid)
    own = [one for one in members if text in (one["attacker_ip"], one["attacker_uuid"])]
    known = [one for one in (own or members) if one["attacker_ip"]]
    if not known:
        raise DecnetError(f"{visible(text, 60)} has no address that could be linked")
    return Meant(str(known[0]["attacker_ip"]), known[0]["attacker_uuid"])


@dataclass
class LinkWord(Change):
    """Says of two addresses that they are one hand, that they are not, or (None) nothing any more."""

    one: str
    other: str
    """Addresses."""
    attackers: tuple[str, str]
    same: bool | None
    reason: str | None = None
    kind = KIND

    @property
    def target(self) -> str:  # type: ignore[override]
        """Both addresses."""
        return f"{self.one} {self.other}"

    @property
    def what(self) -> str:
        """Short enough for a line of the journal."""
        return f"{self.one} and {self.other}: {WORDS[self.same]}"

    async def before(self, session: Session) -> dict[str, Any] | None:
        """What was said of them."""
        word = await need_store(session).word_on_link(*self.attackers)
        return {"same": None, "reason": None} if word is None else {"same": word[0], "reason": word[1]}

    def after(self) -> dict[str, Any]:
        """What is said of them."""
        return {"same": self.same, "reason": None if self.same is None else self.reason or ""}

    async def send(self, session: Session) -> None:
        """Keeps the word. Raises DecnetError for one and the same address."""
        store = need_store(session)
        if self.attackers[0] == self.attackers[1]:
            raise DecnetError(f"{self.one} and {self.other} are one address")
        if self.same is None:
            await store.unsay_of_link(*self.attackers)
            return
        await store.say_of_link(
            *self.attackers, same=self.same, reason=self.reason or "", by=session.operator
        )

    async def held(self, session: Session) -> str:
        """Empty when the store holds the word."""
        word = await need_store(session).word_on_link(*self.attackers)
        held = None if word is None else word[0]
        return "" if held == self.same else f"the store reads back: {WORDS[held]}"

    def reported(self, feed: Feed, sent_at: float) -> Outcome | None:
        """The word is kept; who belongs together then follows with the next look of the engine."""
        return Outcome(End.VERIFIED, "kept; identities follow within seconds")


def undo(entry: Mapping[str, Any]) -> LinkWord:
    """Says again what was said before."""
    one, _, other = str(entry["target"]).partition(" ")
    before = entry["before"] or {}
    attackers = (attacker_id(one), attacker_id(other))
    change = LinkWord(one, other, attackers, before.get("same"), before.get("reason"))
    change.undoes = entry["id"]
    return change


class LinkForm(Form):
    """Two addresses, and why they are (not) one hand."""

    def __init__(self, one: str, other: str, attackers: tuple[str, str], same: bool | None) -> None:
        super().__init__([Field("reason", free=True)])
        self.one, self.other, self.attackers, self.same = one, other, attackers, same
        verb = {True: "LINK", False: "CUT", None: "TAKE BACK what was said of"}[same]
        self.title = f"{verb} {one} and {other}"

    def effect(self) -> list[str]:
        """What follows."""
        return {
            True: ["they are one identity from now on, above every score; tags and profiles follow"],
            False: ["they are never one identity again, above every score; tags and profiles follow"],
            None: ["the evidence alone decides again"],
        }[self.same]

    def question(self) -> str:
        """What ``y`` does."""
        return f"say that they are {WORDS[self.same]}"

    def change(self, now: float) -> Change:
        """The change."""
        return LinkWord(self.one, self.other, self.attackers, self.same, self.value("reason").strip() or None)
