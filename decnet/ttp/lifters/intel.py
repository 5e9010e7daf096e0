"""What others say about an attacker's address. Pure: the providers' words are looked up in checked maps.

Rules of these kinds may have no ``emits`` of their own; then the map's count.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from decnet.ttp.lifter_registry import Finding, Knobs, Lift, lifter_kind
from decnet.ttp.lifters import facts
from decnet.ttp.lifters.facts import Payload
from decnet.ttp.lifters.intel_maps import shipped_map, surest
from decnet.ttp.rules import Emit

_INTEL = frozenset({"intel"})
_NO_WORD = re.compile(r"[^a-z0-9]+")
BARE_SHARE = 0.5
"""What a bare classification is worth beside one with tags."""


def _finding(
    provider: str, field: str, text: str, emits: tuple[Emit, ...], scale: float, more: Mapping[str, Any]
) -> Finding | None:
    if not emits:
        return None
    return Finding(field, text[:300], {"provider": provider, **more}, emits, scale)


class ScoreKnobs(Knobs):
    """Score (0..100) at least; below, nothing is tagged."""

    least_score: float = Field(1.0, ge=0, le=100)


@lifter_kind("intel_abuseipdb", _INTEL, ScoreKnobs, map_driven=True)
def abuseipdb(payload: Payload, knobs: ScoreKnobs) -> Finding | None:
    """The reported categories; confidence times score/100."""
    score, listed = facts.number(payload, "abuseipdb_score"), payload.get("abuseipdb_categories")
    if score is None or score < knobs.least_score or not isinstance(listed, (list, tuple)):
        return None
    categories = [c for c in listed[:100] if isinstance(c, int) and not isinstance(c, bool)]
    emits = shipped_map("abuseipdb").emits(map(str, categories))
    evidence = {"abuseipdb_score": score, "categories": categories}
    text = ",".join(map(str, categories))
    return _finding("abuseipdb", "abuseipdb_categories", text, emits, min(score, 100) / 100, evidence)


def _lower(values: list[str]) -> list[str]:
    return [value.lower() for value in values]


class NoiseKnobs(Knobs):
    """Classifications that count."""

    classifications: Annotated[list[str], AfterValidator(_lower), Field(min_length=1)] = facts.listed(
        "malicious"
    )


@lifter_kind("intel_greynoise", _INTEL, NoiseKnobs, map_driven=True)
def greynoise(payload: Payload, knobs: NoiseKnobs) -> Finding | None:
    """Classification and tags; a classification without a known tag counts half."""
    classification = facts.text(payload, "greynoise_classification").strip().lower()
    if classification not in knobs.classifications:
        return None
    known, tags = shipped_map("greynoise"), facts.texts(payload, "greynoise_tags")
    words = {tag: [word for word in known.entries if _starts_a_word(tag, word)] for tag in tags}
    emits = known.emits(word for found in words.values() for word in found)
    matched = [tag for tag, found in words.items() if found]
    if emits:
        evidence = {"classification": classification, "tags": matched}
        return _finding("greynoise", "greynoise_tags", ", ".join(matched), emits, 1.0, evidence)
    evidence = {"classification": classification}
    return _finding("greynoise", "greynoise_classification", classification, known.bare, BARE_SHARE, evidence)


def _starts_a_word(tag: str, word: str) -> bool:
    """Whether the words of a tag go on like ``word`` from some word's beginning: "rce" is not in "Bruteforcer"."""
    plain = _NO_WORD.sub(" ", tag.lower())
    return f" {word}" in f" {plain}"


class FeodoKnobs(Knobs):
    """Whether a listing without a known family counts."""

    bare: bool = True


@lifter_kind("intel_feodo", _INTEL, FeodoKnobs, map_driven=True)
def feodo(payload: Payload, knobs: FeodoKnobs) -> Finding | None:
    """Listed, and the family that it was listed for."""
    if facts.flag(payload, "feodo_listed") is not True:
        return None
    known, family = shipped_map("feodo"), facts.text(payload, "feodo_malware_family").strip()
    emits = known.emits([family.lower()])
    if not emits and knobs.bare:
        emits = known.bare
    return _finding(
        "feodo", "feodo_malware_family", family, emits, 1.0, {"family": family, "metric": "feodo_listed"}
    )


class FoxKnobs(Knobs):
    """Threat types that do not count."""

    ignored: Annotated[list[str], AfterValidator(_lower)] = facts.listed()


@lifter_kind("intel_threatfox", _INTEL, FoxKnobs, map_driven=True)
def threatfox(payload: Payload, knobs: FoxKnobs) -> Finding | None:
    """The threat types of a listed address."""
    if facts.flag(payload, "threatfox_listed") is not True:
        return None
    types = [value.strip().lower() for value in facts.texts(payload, "threatfox_threat_types")]
    types = [value for value in types if value not in knobs.ignored]
    families = facts.texts(payload, "threatfox_malware_families")
    evidence = {"threat_types": types, "families": families}
    emits = surest(shipped_map("threatfox").emits(types))
    return _finding("threatfox", "threatfox_threat_types", ", ".join(types), emits, 1.0, evidence)


class BumpKnobs(Knobs):
    """How much the confidence goes up, and up to where; both 0..1."""

    raise_by: float = Field(0.15, ge=0, le=1)
    cap: float = Field(0.95, ge=0, le=1)
    verdicts: Annotated[list[str], AfterValidator(_lower), Field(min_length=1)] = facts.listed("malicious")


def _raised(payload: Payload, knobs: BumpKnobs, lifts: Sequence[Lift]) -> Sequence[Lift]:
    """The tags of the same enrichment event, surer up to the cap; one that is above it stays."""

    def bumped(emit: Emit) -> Emit:
        higher = min(emit.confidence + knobs.raise_by, knobs.cap)
        return replace(emit, confidence=max(emit.confidence, higher))

    return [lift._replace(emits=tuple(map(bumped, lift.emits))) for lift in lifts]


@lifter_kind("intel_aggregate_bump", _INTEL, BumpKnobs, map_driven=True, adjust=_raised)
def aggregate_bump(payload: Payload, knobs: BumpKnobs) -> Finding | None:
    """The aggregate verdict is malicious; tags nothing itself."""
    verdict = facts.text(payload, "aggregate_verdict").strip().lower()
    return Finding("aggregate_verdict", verdict) if verdict in knobs.verdicts else None
