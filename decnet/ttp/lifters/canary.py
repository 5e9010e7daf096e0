"""Who set a canary token off: automation, leaks, and browsers that contradict themselves. Pure.

Findings name metric and matched signature, nothing else.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from decnet.automation import AUTOMATION
from decnet.ttp.lifter_registry import Finding, Knobs, NoKnobs, lifter_kind
from decnet.ttp.lifters import facts
from decnet.ttp.lifters.facts import Payload

_CANARY = frozenset({"canary_fingerprint"})


@lifter_kind("canary_webdriver", _CANARY, NoKnobs)
def webdriver(payload: Payload, _: NoKnobs) -> Finding | None:
    """``navigator_webdriver`` is true: the browser says itself that it is remote controlled."""
    return _finding(payload, "navigator_webdriver")


def _finding(payload: Payload, name: str) -> Finding | None:
    return Finding(name, "true") if facts.flag(payload, name) is True else None


def _lower(values: list[str]) -> list[str]:
    return [value.lower() for value in values]


class CatalogueKnobs(Knobs):
    """Automation fingerprints as the canary's script names or hashes them, without regard to case."""

    catalogue: Annotated[list[str], AfterValidator(_lower), Field(min_length=1)] = facts.listed(*AUTOMATION)


@lifter_kind("canary_automation_hash", _CANARY, CatalogueKnobs)
def automation_hash(payload: Payload, knobs: CatalogueKnobs) -> Finding | None:
    """``automation_hash`` is in the catalogue."""
    value = facts.text(payload, "automation_hash").strip().lower()
    return Finding("automation_hash", value) if value and value in knobs.catalogue else None


@lifter_kind("canary_webrtc_leak", _CANARY, NoKnobs)
def webrtc_leak(payload: Payload, _: NoKnobs) -> Finding | None:
    """``webrtc_geo_mismatch``: WebRTC tells of another place than the address does."""
    return _finding(payload, "webrtc_geo_mismatch")


class ZoneKnobs(Knobs):
    """Time zones of one token's visits that do not fit at least."""

    tz_mismatch_zones: int = Field(3, ge=1)


@lifter_kind("canary_tz_lang_mismatch", _CANARY, ZoneKnobs)
def tz_lang_mismatch(payload: Payload, knobs: ZoneKnobs) -> Finding | None:
    """``tz_mismatch_zones`` (a number, or the zones) or ``lang_country_mismatch``."""
    listed = payload.get("tz_mismatch_zones")
    zones = len(set(facts.texts(payload, "tz_mismatch_zones"))) if isinstance(listed, list) else None
    zones = facts.number(payload, "tz_mismatch_zones") if zones is None else zones  # type: ignore[assignment]
    if zones is not None and zones >= knobs.tz_mismatch_zones:
        return Finding("tz_mismatch_zones", facts.sample(zones))
    return _finding(payload, "lang_country_mismatch")


@lifter_kind("canary_platform_inconsistency", _CANARY, NoKnobs)
def platform_inconsistency(payload: Payload, _: NoKnobs) -> Finding | None:
    """``platform_mismatch``: platform and user agent contradict each other."""
    return _finding(payload, "platform_mismatch")
