"""Log-ins and captured secrets: guessing, stuffing, and accounts that worked. Pure.

The counts come from the recorder's rows; which pairs are default ones is found out by the lifter,
which alone has the key of the hashes.
"""

from __future__ import annotations

from pydantic import Field

from decnet.ttp.lifter_registry import Finding, Knobs, lifter_kind
from decnet.ttp.lifters import facts
from decnet.ttp.lifters.facts import Payload

_AUTH, _CREDENTIAL = frozenset({"auth_attempt"}), frozenset({"credential"})
DEFAULT_PAIR = "default_pair"
"""Set by the lifter: whether user and secret are on the list of default pairs."""


class BruteKnobs(Knobs):
    """Failures, and the seconds they lie within at most."""

    fail_count: int = Field(5, ge=1)
    window_s: float = Field(300.0, gt=0)


@lifter_kind("credential_auth_brute_generic", _AUTH, BruteKnobs)
def auth_brute_generic(payload: Payload, knobs: BruteKnobs) -> Finding | None:
    """``fail_count`` of one session, or of several within ``window_s``."""
    window = facts.number(payload, "window_s")
    if window is not None and window > knobs.window_s:
        return None
    return facts.at_least(payload, "fail_count", knobs.fail_count)


class GuessingKnobs(Knobs):
    """Different secrets for one user at least."""

    secret_count: int = Field(5, ge=2)


@lifter_kind("credential_password_guessing", _AUTH, GuessingKnobs)
def password_guessing(payload: Payload, knobs: GuessingKnobs) -> Finding | None:
    """``secret_count``: different secrets tried for one user."""
    return facts.at_least(payload, "secret_count", knobs.secret_count)


class ReuseKnobs(Knobs):
    """Further targets on which the same user and secret were used at least."""

    reuse_count: int = Field(1, ge=1)


@lifter_kind("credential_reuse", _CREDENTIAL, ReuseKnobs)
def reuse(payload: Payload, knobs: ReuseKnobs) -> Finding | None:
    """``reuse_count`` of a credential."""
    return facts.at_least(payload, "reuse_count", knobs.reuse_count)


class ValidAccountKnobs(Knobs):
    """Failures of the same attacker before the success at least."""

    prior_fail_count: int = Field(5, ge=1)


@lifter_kind("credential_valid_account_use", _AUTH, ValidAccountKnobs)
def valid_account_use(payload: Payload, knobs: ValidAccountKnobs) -> Finding | None:
    """A success after a brute force: ``success`` and ``prior_fail_count``."""
    if facts.flag(payload, "success") is not True:
        return None
    return facts.at_least(payload, "prior_fail_count", knobs.prior_fail_count)


class DefaultPairKnobs(Knobs):
    """Whether only log-ins that the decoy let in count."""

    success_only: bool = False


@lifter_kind("credential_default_credentials", _CREDENTIAL, DefaultPairKnobs)
def default_credentials(payload: Payload, knobs: DefaultPairKnobs) -> Finding | None:
    """``default_pair``, which the lifter sets."""
    if facts.flag(payload, DEFAULT_PAIR) is not True:
        return None
    if knobs.success_only and facts.flag(payload, "success") is not True:
        return None
    return Finding("username", facts.text(payload, "username")[:300], {"metric": DEFAULT_PAIR})
