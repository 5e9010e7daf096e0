"""Tags of a Sigma rule → tags of ours, by the ATT&CK release that is loaded; what its level is worth."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from decnet.attack.catalogue import Catalogue
from decnet.ttp.sigma.refusal import Refusal

CONFIDENCE = {"informational": 0.3, "low": 0.4, "medium": 0.55, "high": 0.7, "critical": 0.85}
"""Level → confidence of its tags, 0..1; a rule without a level counts as medium. Below 0.3 nothing is stored."""
EARLIER = {
    "T1684.001": "T1656", "T1684.002": "T1672", "T1685": "T1562.001", "T1685.001": "T1562.002", "T1685.002": "T1562.008",
    "T1685.003": "T1562.011", "T1685.004": "T1562.012", "T1685.005": "T1070.001", "T1685.006": "T1070.002",
    "T1686": "T1562.004", "T1686.001": "T1562.007", "T1686.002": "T1562.013", "T1688": "T1562.009", "T1689": "T1562.010",
    "T1690": "T1562.003",
}  # fmt: skip
"""Techniques that ATT&CK 19 made of others, by what release 18 calls them: its revoked-by relations, read backwards."""
_EARLIER_TACTICS = {"stealth": "defense-evasion", "defense-impairment": "defense-evasion"}
_TECHNIQUE = re.compile(r"attack\.(t\d{4}(?:\.\d{3})?)\Z", re.IGNORECASE)
MAX_EMITS = 8


def emits_of(tags: Sequence[str], level: str, catalogue: Catalogue, fallback: str | None) -> tuple[list[dict[str, Any]], list[str]]:  # fmt: skip
    """The tags of a rule and what is to be said of them; ``fallback`` is for a rule that names no technique.

    Raises Refusal for a rule that is left with none.
    """
    named = [m[1].upper() for tag in tags if (m := _TECHNIQUE.match(tag))]
    tactics = _tactics(tags, catalogue)
    notes: list[str] = []
    chosen: dict[tuple[str, str | None], dict[str, Any]] = {}
    for ident in named or ([fallback.upper()] if fallback else []):
        emit = _emit(ident, tactics, catalogue, notes)
        if emit is not None:
            chosen.setdefault((emit["technique_id"], emit.get("sub_technique_id")), emit)
    if not chosen:
        words = (
            ", ".join(tag.removeprefix("attack.") for tag in tags if tag.startswith("attack.")) or "nothing"
        )
        raise Refusal(
            f"it names no ATT&CK technique of release {catalogue.release} (only {words}): --technique gives it one"
        )
    if not named:
        notes.append(f"it names no technique: {fallback} was given to it")
    worth = CONFIDENCE.get(level, CONFIDENCE["medium"])
    return [{**emit, "confidence": worth} for emit in list(chosen.values())[:MAX_EMITS]], notes


def _tactics(tags: Sequence[str], catalogue: Catalogue) -> list[str]:
    ids: Mapping[str, str] = {short: ident for ident, (short, _) in catalogue.tactics.items()}
    words = (tag.removeprefix("attack.").replace("_", "-").lower() for tag in tags)
    return [ids[name] for word in words if (name := _EARLIER_TACTICS.get(word, word)) in ids]


def _emit(
    ident: str, tactics: Sequence[str], catalogue: Catalogue, notes: list[str]
) -> dict[str, Any] | None:
    found, asked = catalogue.resolve(ident), ident
    if found is None and (ident := EARLIER.get(asked, asked)) != asked:
        found = catalogue.resolve(ident)
    if found is None:
        notes.append(f"{asked} is not in ATT&CK {catalogue.release}: left out")
        return None
    if ident != asked:
        notes.append(f"{asked} is called {ident} in ATT&CK {catalogue.release}")
    tactic = next((t for t in tactics if t in found.tactics), found.tactics[0])
    parent, dot, _ = ident.partition(".")
    return {"tactic": tactic, "technique_id": parent, **({"sub_technique_id": ident} if dot else {})}
