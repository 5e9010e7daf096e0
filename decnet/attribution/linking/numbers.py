"""Every number that linking decides by, with its unit and where it comes from; an operator's settings may replace some.

Priors of the design ("Who is it"), measured on ten public Cowrie logs; the planted truth in the tests shows what they
cost and give. What is done with them is left to the modules beside this one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

KEY, HOST, FILE, TUNNEL = "key", "host", "sha256", "tunnel"
SCRIPT, CREDENTIALS, CLIENT, ENVIRONMENT, NETWORK = (
    "script",
    "credentials",
    "client",
    "environment",
    "network",
)
CAMPAIGN = "campaign"
"""What a reason is called when two scripts are not the same but of one kit."""
HARD = (KEY, HOST, FILE, TUNNEL)
"""Families of what only its owner profits from; all others never join by themselves."""

PRIOR = 200
"""Addresses that a prior is worth: what is thought of a value before anything was seen (design: "+ 200")."""
TOGETHER = 2.5
"""The most that hosts and files weigh together, log10: one drop gives both."""


@dataclass(frozen=True, slots=True)
class Family:
    """How a family weighs: ``w = log10(m / p)``, at most ``cap``."""

    pi0: float
    """Share of strangers that have a value which nobody else was seen with (design, table)."""
    m: float
    """How often two addresses of one hand agree in it (design, table)."""
    cap: float
    """The most that it weighs, log10."""
    against: float = 0.0
    """What speaks against, log10, when both have values and none in common."""
    stranger: float = 1.0
    """Share of those who have a value that are strangers to each other: key .1, host .3, else 1 (design)."""


FAMILIES: Mapping[str, Family] = {
    KEY: Family(1e-4, 0.9, 3.5, 1.5, 0.1),
    HOST: Family(4.5e-3, 0.6, 2.5, stranger=0.3),
    FILE: Family(4.5e-3, 0.6, 1.5, stranger=0.3),
    # The design gives tunnels only a cap; a target is taken for as telling as a payload host that anybody may use.
    TUNNEL: Family(4.5e-3, 0.6, 2.5),
    SCRIPT: Family(3e-4, 0.95, 1.5, 0.5),
    CREDENTIALS: Family(3e-4, 0.5, 1.5),
    CLIENT: Family(1e-3, 0.9, 1.5, 0.3),  # of clients without a shipped share
    ENVIRONMENT: Family(0.03, 0.9, 1.0),
    # The design gives a /24 only a cap: one of a thousand strangers is taken to come from the same one.
    NETWORK: Family(1e-3, 0.9, 1.5),
}
OVERLAPS = ((0.10, 1.2), (0.05, 0.9), (0.02, 0.6))
"""Weighted Jaccard of two lists of log-ins → its weight, log10 (design, table)."""
COMMON_LOGIN = 0.05
"""Share of addresses from which on a log-in says nothing; each halving below is a bit."""
MAX_LOGIN_BITS = 5
LIST_LOGINS = 4
"""Log-ins from which on the list as a whole is a value."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What an operator may change; the defaults are the design's."""

    join: float = 3.5
    """Total from which two addresses are of one hand, log10."""
    hold: float = 3.0
    """Total below which a link breaks that was made when its values were rarer, log10: half a unit of hysteresis."""
    hard: float = 1.5
    """A hard family has to weigh this much."""
    second: float = 0.7
    """And another family this much."""
    rare_client: float = 1.4
    """Tunnels are hard beside a client of this weight (or in one /24)."""
    mean: float = 0.6
    """Two groups are one identity when their pairs reach this part of ``join`` on average."""
    members: int = 50
    """Addresses of an identity; campaigns have no such limit."""
    hub: int = 50
    """A value at more addresses than this only names a campaign."""
    similar: float = 0.5
    """Weighted Jaccard from which on two scripts are of one kit."""
    families: Mapping[str, Family] = field(default_factory=lambda: FAMILIES)

    def __post_init__(self) -> None:
        if not self.hold <= self.join or not 0.0 < self.similar <= 1.0 or self.hub < 2 or self.members < 2:
            raise ValueError("thresholds of linking contradict each other")


DEFAULT = Thresholds()

MIN_STEP_BITS, MAX_STEP_BITS = 2, 5
"""What one step of a script says (design: 2-5 bits): one bit for each word of it that is kept."""
SCRIPT_BITS = 12
"""A script that says less is what anybody types."""
SCRIPT_STEPS = 3
BANDS, ROWS = 32, 3
"""MinHash: scripts that agree in all rows of one band are compared; .986 of those with Jaccard .5 do."""
BUCKET = 32
"""Scripts of one band that a new one is compared with; the others are counted."""

SESSION_VALUES = 32
"""Values of one family that one session may bring; the others are counted."""
ADDRESS_VALUES = 64
"""Values of one family that are kept of an address, the lowest by their hash; the others are counted."""
ADDRESS_LOGINS = 16
"""Log-ins kept of an address, the lowest by their hash: a sample that is the same for equal lists."""
SCRIPTS = 10_000
"""Scripts that are compared, some 8 KB each: an attacker who varies them costs no more. Sessions with others have the rest
of what they bring, and are counted.
"""
SESSION_STEPS = 512
CAPPED = "linking_capped"
"""The name in health of these bounds."""

_RUNGS: list[int] = list(range(9))
while _RUNGS[-1] < 10**9:
    _RUNGS.append(max(_RUNGS[-1] + 1, int(_RUNGS[-1] * 1.25)))


@lru_cache(maxsize=65_536)
def rung_above(count: int) -> int:
    """The rung at or above a count: exact to 8, then in steps of a quarter.

    Scores use rungs, so that they change (and have to be worked out again) only when a rung is passed.
    """
    return _RUNGS[min(bisect_left(_RUNGS, count), len(_RUNGS) - 1)]


@lru_cache(maxsize=65_536)
def rung_below(count: int) -> int:
    """The rung at or below a count."""
    return _RUNGS[bisect_right(_RUNGS, count) - 1]
