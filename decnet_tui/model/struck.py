"""Who struck the keys, in words and with the reason: a hand, or a script. Knows no terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from decnet.db.rows.struck import Struck, StruckSessions

_PACES = {
    "steady": "at a steady pace",
    "bursty": "in bursts",
    "hunt_and_peck": "one after a search for the other",
}


def hand_of(one: Struck) -> str:
    """By whom, in few words."""
    if one["modality"] == "pasted" and one["protocol"] == "telnet":
        return "in whole lines"
    if one["cadence"] == "machine":
        return "by a script"
    return {"pasted": "pasted", "mixed": "typed and pasted"}.get(one["modality"] or "", "typed by hand")


def why(one: Struck) -> str:
    """What of the recording says so."""
    whole = one["modality"] in ("pasted", "mixed")
    if one["modality"] == "pasted" and one["protocol"] == "telnet":
        return "some Telnet clients send those however they were struck"
    if one["cadence"] == "machine":
        return "whole lines at a time" if whole else "its keys came as evenly as no hand strikes them"
    if one["modality"] == "pasted":
        return "its lines came whole"
    if one["modality"] == "mixed":
        return "some lines came whole, others key by key"
    return f"its keys came {_PACES.get(one['cadence'] or '', 'one by one')}"


def struck_text(one: Struck) -> str:
    """Of one session: by whom, why, and how sure that is."""
    return f"{hand_of(one)}: {why(one)}  {one['confidence']:.2f}"


def struck_by_text(several: Sequence[StruckSessions]) -> str:
    """Of an attacker's sessions, the commonest first, with the reason of the commonest; empty where nothing is known."""
    if not several:
        return ""
    hands: Counter[str] = Counter()
    for one in several:
        hands[hand_of(one)] += one["sessions"]
    told = hands.most_common()
    reason = why(next(one for one in several if hand_of(one) == told[0][0]))
    counts = ", ".join(f"{hand} {number}" for hand, number in told)
    return f"{counts} of {hands.total()} recorded: {reason}"
