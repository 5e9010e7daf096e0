"""Fingerprints of attackers' tools, and addresses that leaked. Pure.

A signature ends in ``*`` when its beginning is enough. Exact values come from the rules, so that
a new tool is a new rule and no new code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from decnet.ttp.lifter_registry import Finding, Knobs, NoKnobs, lifter_kind
from decnet.ttp.lifters import facts
from decnet.ttp.lifters.facts import Payload

_FINGERPRINT = frozenset({"http_fingerprint"})
FINGERPRINTS = ("ja4h", "h2", "quic", "ja4", "jarm", "tcpfp", "hassh")
"""Fingerprint types with a predicate ``http_fingerprint_<type>`` each."""
LEAK_FIELDS = ("address", "addresses", "ipv6", "ipv6_addresses", "link_local", "value")


class SignatureKnobs(Knobs):
    """Fingerprints; one that ends in ``*`` is a beginning. Without any, nothing matches."""

    signatures: list[Annotated[str, Field(min_length=4, max_length=512)]] = facts.listed()


def _matching(kind: str) -> Callable[[Payload, SignatureKnobs], Finding | None]:
    def matches(payload: Payload, knobs: SignatureKnobs) -> Finding | None:
        value = _value(payload, kind)
        if not value or not any(_is(value, known) for known in knobs.signatures):
            return None
        whose = {name: payload[name] for name in ("client", "through") if payload.get(name)}
        return Finding(kind, value[:300], {"type": kind, **whose})

    matches.__doc__ = f"The ``{kind}`` fingerprint (or ``value`` of that type) is one of the signatures."
    return matches


def _value(payload: Payload, kind: str) -> str:
    own = facts.text(payload, kind)
    return own or (facts.text(payload, "value") if payload.get("type") == kind else "")


def _is(value: str, known: str) -> bool:
    return value.startswith(known[:-1]) if known.endswith("*") else value == known


for _kind in FINGERPRINTS:
    lifter_kind(f"http_fingerprint_{_kind}", _FINGERPRINT, SignatureKnobs, lifter="http_fingerprint")(
        _matching(_kind)
    )


@lifter_kind("ipv6_link_local_leak", {"ipv6_leak"}, NoKnobs, lifter="ipv6_leak")
def link_local_leak(payload: Payload, _: NoKnobs) -> Finding | None:
    """Any address in fe80::/10."""
    for name in LEAK_FIELDS:
        for value in facts.texts(payload, name):
            if facts.link_local(value):
                return Finding(name, value[:100], {"address": value.strip()[:100]})
    return None
