"""Commands by which an operator says who is one hand: of two marked actors, of a page and its line, or of two names."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from decnet.errors import DecnetError
from decnet.hostile import visible
from decnet_tui.actions.links import LinkForm, meant
from decnet_tui.commands.base import Command
from decnet_tui.model.access import need_store, store_errors
from decnet_tui.screens.actor import ActorLevel
from decnet_tui.screens.actors import ActorsView
from decnet_tui.screens.compare import CompareLevel
from decnet_tui.screens.levels import LevelsView

if TYPE_CHECKING:
    from decnet_tui.commands.context import Context

_HOW = "mark two actors with space, or go to another address on an actor's page, or name two: {} A B"
_VERBS = {True: "link", False: "unlink", None: "unsay"}


def say(same: bool | None, console: Context, text: str) -> None:
    """The form that says of two actors that they are one hand, are not, or takes that back."""
    names = text.split() or _shown(console)
    if len(names) != 2:
        console.say(_HOW.format(_VERBS[same]), bad=True)
        return
    console.work(partial(_propose, console, same, names), "link", instead=True)


def _shown(console: Context) -> list[str]:
    """The two that the screen is about: those that are compared, a page and its line, or two marked ones."""
    level = console.view.level if isinstance(console.view, LevelsView) else None
    if isinstance(level, ActorLevel):
        other = level.other()
        return [level.attacker, other] if other else []
    rows: Any = level.pair if isinstance(level, CompareLevel) else None
    if rows is None and level is console.view_of(ActorsView).actors:
        rows = console.view_of(ActorsView).pair()
    return [row["attacker_uuid"] for row in rows or ()]


async def _propose(console: Context, same: bool | None, names: list[str]) -> None:
    try:
        repo = need_store(console.session)
        one, other = [await meant(repo, name) for name in names]
        if one.attacker == other.attacker:
            raise DecnetError(f"{one.address} is both: name two addresses")
        if same is None and await repo.word_on_link(one.attacker, other.attacker) is None:
            raise DecnetError(f"nobody has said anything of {one.address} and {other.address}")
    except store_errors() as error:
        console.say(visible(error, 300), bad=True)
        return
    console.propose(LinkForm(one.address, other.address, (one.attacker, other.attacker), same))


COMMANDS = (
    Command("identity.link", "say that two actors are one hand", "Changes", partial(say, True), name="link",
            argument="[A B]", changes=True),
    Command("identity.unlink", "say that two actors are not one hand", "Changes", partial(say, False), name="unlink",
            argument="[A B]", changes=True),
    Command("identity.unsay", "take back what was said of two actors", "Changes", partial(say, None), name="unsay",
            argument="[A B]", changes=True),
)  # fmt: skip
