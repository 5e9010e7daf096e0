"""What is read of one attacker beside its row: the profile of its identity, and what others say of its address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from decnet.db.rows.attribution import ListedState
from decnet.db.rows.lists import ListedAttacker
from decnet.events.intel import Answer
from decnet.hostile import visible
from decnet_tui.model.reputation import told_by
from decnet_tui.model.words import clock

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository

MAX_PRIMITIVES = 200


class Known(NamedTuple):
    """The profile of its identity, and what providers say of the address."""

    states: list[ListedState]
    said: list[Answer]


async def known_of(repo: BaseRepository, row: ListedAttacker) -> Known:
    """Both, of one attacker. Raises what the store raises."""
    states = await profile_of(repo, row["identity_uuid"])
    return Known(states, await repo.intel_answers(row["attacker_uuid"]))


async def profile_of(repo: BaseRepository, identity: str | None) -> list[ListedState]:
    """The profile of an identity. Raises what the store raises."""
    return await repo.list_attribution(identity=identity, limit=MAX_PRIMITIVES) if identity else []


def said_lines(said: Sequence[Answer]) -> list[str]:
    """What providers say of the address, each with the time of its answer; control characters written out."""
    if not said:
        return []
    lines = [f"  {visible(one.provider, 60)}: {told_by(one)}  {clock(one.ts, 'date')}" for one in said]
    return ["what others say of the address (provider: answer, when)", *lines, ""]


def profile_lines(known: Known | None, when: Callable[[datetime | None], str]) -> list[str]:
    """The profile, one primitive a line."""
    if known is None:
        return ["profile: reading ..."]
    if not known.states:
        return ["no profile yet: it needs sessions with commands or a recording"]
    lines = ["profile (primitive: value  state, confidence, observations, since)"]
    for state in sorted(known.states, key=lambda s: s["primitive"]):
        sure = f"{state['state']} {state['confidence']:.2f}  n={state['observation_count']}"
        lines.append(
            f"  {state['primitive']}: {str(state['current_value'])[:60]}  {sure}  {when(state['last_change_ts'])}"
        )
    return lines
