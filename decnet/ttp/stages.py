"""The stages of a session and what belongs to each: data and look-ups only.

A technique has a stage by itself, by its parent or by its tactic; what a shell command brings, runs or takes away is
known better from the facts of its session (:mod:`decnet.ttp.moves`).
"""

from __future__ import annotations

from collections.abc import Iterable

DELIVER = "deliver"
PHASES: tuple[str, ...] = (
    "access", "recon", "creds", "blind", DELIVER, "persist", "privesc", "tunnel", "spread", "mine", "impact",
    "collect", "exfil", "clean", "leave",
)  # fmt: skip
"""The phases of a story. ``tunnel`` is what goes through the decoy to somewhere else."""
DELIVERING: tuple[str, ...] = ("prepare", "fetch", "arm", "run", "hide")
"""The stages of the phase ``deliver``; every other phase is its own only stage."""
STAGES = frozenset(PHASES) - {DELIVER} | frozenset(DELIVERING)

_TECHNIQUES = {
    "T1059": "run", "T1609": "run", "T1610": "run", "T1620": "run", "T1569": "run", "T1129": "run", "T1204": "run",
    "T1095": "tunnel", "T1105": "fetch", "T1588": "fetch", "T1608": "fetch",
    "T1140": "arm", "T1222": "arm", "T1027": "arm", "T1587": "arm",
    "T1562": "blind", "T1070.001": "blind", "T1070.002": "blind", "T1070.003": "blind", "T1553": "blind",
    "T1070": "clean", "T1070.006": "hide", "T1074": "prepare", "T1072": "spread",
    "T1078": "access", "T1110": "access", "T1190": "access", "T1098": "creds", "T1056": "creds", "T1040": "creds",
    "T1098.001": "persist", "T1098.004": "persist", "T1098.006": "persist", "T1098.007": "persist",
    "T1053": "persist", "T1053.002": "persist", "T1574": "persist", "T1014": "hide", "T1578": "impact",
    "T1496.001": "mine", "T1595": "recon", "T1590": "recon", "T1589": "recon", "T1046": "recon",
    "T1583": "tunnel", "T1566": "spread", "T1611": "privesc", "T1560": "collect",
}  # fmt: skip
"""Where a technique's own stage is not that of its tactic."""
_TACTICS = {
    "TA0001": "access", "TA0002": "run", "TA0003": "persist", "TA0004": "privesc", "TA0005": "hide",
    "TA0006": "creds", "TA0007": "recon", "TA0008": "spread", "TA0009": "collect", "TA0010": "exfil",
    "TA0011": "tunnel", "TA0040": "impact", "TA0042": "prepare", "TA0043": "recon",
}  # fmt: skip
_BY_COMMAND = {"T1110": "spread", "T1595": "spread"}
"""What is done to the decoy when it is seen from outside, and to others when it is typed here."""


def stage_of(technique: str, tactic: str, *, typed: bool = True) -> str:
    """The stage of a technique (``T1070.004``, or its parent); ``recon`` for a tactic that nobody knows.

    ``typed``: it was a command, so that the decoy is where it comes from.
    """
    parent = technique.partition(".")[0]
    if typed and parent in _BY_COMMAND:
        return _BY_COMMAND[parent]
    return _TECHNIQUES.get(technique) or _TECHNIQUES.get(parent) or _TACTICS.get(tactic, "recon")


def phase_of(stage: str) -> str:
    """The phase that a stage is in."""
    return DELIVER if stage in DELIVERING else stage


def in_order(stages: Iterable[str]) -> list[str]:
    """Stages of one phase as they are told: a file is fetched before it is run, whatever came first."""
    given = set(stages)
    return [stage for stage in (*DELIVERING, *PHASES) if stage in given]
