"""What providers say about an attacker, put together by provider from ``attacker.intel.enriched`` events; pure.

An answer speaks of some providers only, comes from any engine, in any order and more than once. So it is taken
apart into what each of them said, of each the newest counts, and what readers get is one payload again. Where the
parts are kept is left to the repository.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

PARTS: Mapping[str, tuple[str, str]] = {
    "abuseipdb_score": ("abuseipdb", "abuseipdb"),
    "abuseipdb_categories": ("abuseipdb", "abuseipdb_categories"),
    "greynoise_classification": ("greynoise", "greynoise"),
    "greynoise_name": ("greynoise", "greynoise"),
    "greynoise_tags": ("greynoise", "greynoise"),
    "feodo_listed": ("feodo", "feodo"),
    "feodo_malware_family": ("feodo", "feodo"),
    "threatfox_listed": ("threatfox", "threatfox"),
    "threatfox_threat_types": ("threatfox", "threatfox"),
    "threatfox_ioc_types": ("threatfox", "threatfox"),
    "threatfox_malware_families": ("threatfox", "threatfox"),
    "urlhaus_listed": ("urlhaus", "urlhaus"),
    "urlhaus_online": ("urlhaus", "urlhaus"),
    "urlhaus_threats": ("urlhaus", "urlhaus"),
    "urlhaus_tags": ("urlhaus", "urlhaus"),
    "ptr": ("dns", "dns"),
}
"""Field → its provider, and the part of that provider's answers that it stands in.

AbuseIPDB answers a report with a score alone, and a look-up with categories too: the one says nothing of the other.
"""
REST, OTHERS, VERDICT = "", "others", "verdict"
"""Parts beside those of the providers: whom an answer is about; providers whose fields nobody knows; a verdict of nobody."""
_VERDICTS = ("", "unknown", "benign", "suspicious", "malicious")
"""From the least to the worst; a word that is none of them stands after ``benign``."""
_OTHER_WORD = 2.5


class Part(TypedDict):
    """What one part was told last: when (epoch seconds), its fields, the providers named for it, the verdict over all."""

    version: str
    ts: float
    said: dict[str, Any]
    by: list[str]
    verdict: str | None


Parts = Mapping[str, Part]


class Answer(NamedTuple):
    """What one provider said last, and when (epoch seconds); nothing where it was asked and knew nothing."""

    provider: str
    ts: float
    said: Mapping[str, Any]


class Merged(NamedTuple):
    """What readers get: the newest time and version of all parts, the payload of one event, the oldest time."""

    ts: float
    version: str
    payload: dict[str, Any]
    oldest: float


def parts_of(ts: float, payload: Mapping[str, Any]) -> dict[str, Part]:
    """One answer taken apart, by part.

    A provider that is named speaks of all its fields that the payload has, and of all that there are when it has
    none; one that is not named only of what is not empty: there are producers that write every field always.
    """
    named = _texts(payload.get("providers"))
    fields: dict[str, dict[str, Any]] = {}
    for name, value in payload.items():
        provider, part = PARTS.get(name, ("", ""))
        if provider and (not _empty(value) if provider not in named else value is not None):
            fields.setdefault(part, {})[name] = value
    known = {provider for provider, _ in PARTS.values()}
    answered = {PARTS[name][0] for said in fields.values() for name in said}
    for provider, part in PARTS.values():
        if provider in named and provider not in answered:
            fields.setdefault(part, {})
    others = [name for name in named if name not in known]
    verdict = payload.get("aggregate_verdict")
    word = verdict if isinstance(verdict, str) else None
    found = {
        part: _part(ts, said, [p] if (p := _provider(part)) in named else [], word)
        for part, said in fields.items()
    }
    if others:
        found[OTHERS] = _part(ts, {}, others, word)
    if word is not None and not found:
        found[VERDICT] = _part(ts, {}, [], word)
    rest = {name: value for name, value in payload.items() if name not in PARTS and name not in _PUT_TOGETHER}
    return {**found, REST: _part(ts, rest, [], None)}


_PUT_TOGETHER = frozenset({"providers", "aggregate_verdict"})


def newest(one: Parts, two: Parts) -> dict[str, Part]:
    """Of each part the newer; it does not matter in which order or how often parts are put together."""
    return {
        name: max((parts[name] for parts in (one, two) if name in parts), key=lambda part: part["version"])
        for name in sorted({*one, *two})
    }


def merged(parts: Parts) -> Merged:
    """The one payload that some parts say; the verdict is the worst that a part of it still stands for.

    Raises ValueError without parts.
    """
    last = max(parts.values(), key=lambda part: part["version"])
    payload: dict[str, Any] = {}
    for name in sorted(parts):
        payload |= parts[name]["said"]
    if named := sorted({provider for part in parts.values() for provider in part["by"]}):
        payload["providers"] = named
    verdicts = [
        (_badness(word), part["version"], word)
        for part in parts.values()
        if (word := part["verdict"]) is not None
    ]
    if verdicts:
        payload["aggregate_verdict"] = max(verdicts)[2]
    times = [part["ts"] for part in parts.values()]
    return Merged(max(times), last["version"], payload, min(times))


def since(parts: Parts, moment: float) -> dict[str, Part]:
    """The parts that are no older than a moment (epoch seconds)."""
    return {name: part for name, part in parts.items() if part["ts"] >= moment}


def answers_in(parts: Parts) -> list[Answer]:
    """The answers for people, by provider; the verdict over all has the time of what it was taken from."""
    found = [
        Answer(", ".join(part["by"]) if name == OTHERS else _provider(name), part["ts"], part["said"])
        for name, part in sorted(parts.items())
        if name not in (REST, VERDICT)
    ]
    verdict = merged(parts).payload.get("aggregate_verdict") if parts else None
    if verdict is None:
        return found
    ts = max(part["ts"] for part in parts.values() if part["verdict"] == verdict)
    return [*found, Answer("all", ts, {"aggregate_verdict": verdict})]


def _part(ts: float, said: Mapping[str, Any], by: Sequence[str], verdict: str | None) -> Part:
    ts = max(ts, 0.0)  # what is before all time is of one age
    return {
        "version": _version(ts, [said, by, verdict]),
        "ts": ts,
        "said": dict(said),
        "by": list(by),
        "verdict": verdict,
    }


def _version(ts: float, content: object) -> str:
    """Sorts by time; at one time the answer that says more counts, then its content decides."""
    body = json.dumps(content, sort_keys=True, default=str, ensure_ascii=True).encode()
    return f"{ts:020.6f}|{len(body):08}|{hashlib.sha256(body).hexdigest()}"


def _provider(part: str) -> str:
    return next((provider for provider, name in PARTS.values() if name == part), "")


def _empty(value: Any) -> bool:
    """Whether a value is what a field has that nobody filled; a score of 0 is not."""
    return value is None or value is False or value in ("", [])


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, (list, tuple)) else []


def _badness(word: str) -> float:
    known = word.strip().lower()
    return float(_VERDICTS.index(known)) if known in _VERDICTS else _OTHER_WORD
