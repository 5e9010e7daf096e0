"""What all attackers of one identity do together. Pure."""

from __future__ import annotations

from pydantic import Field

from decnet.ttp.lifter_registry import Finding, Knobs, lifter_kind
from decnet.ttp.lifters import facts
from decnet.ttp.lifters.facts import Payload


class SprayingKnobs(Knobs):
    """Accounts on which one secret was tried at least."""

    account_count: int = Field(3, ge=2)


@lifter_kind("identity_password_spraying", {"identity"}, SprayingKnobs)
def password_spraying(payload: Payload, knobs: SprayingKnobs) -> Finding | None:
    """``account_count``: the most accounts that one secret of this identity was tried on."""
    return facts.at_least(payload, "account_count", knobs.account_count)
