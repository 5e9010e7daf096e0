"""What changed in linking since its rows were last written: keys only, the rows are those of the moment they are asked.

A batch of sessions touches a few addresses, values and groups; writing all that linking knows would cost more each day.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

CAMPAIGN: Final = "campaign"
KIT: Final = "kit"


@dataclass(slots=True)
class Journal:
    """Numbers of what was touched; both kinds of groups are named by kind and root."""

    members: set[int] = field(default_factory=set)
    """Addresses that are new, or whose log-ins or identity are others."""
    held: set[tuple[int, int]] = field(default_factory=set)
    """Address and value: new, seen earlier than known, or put out."""
    terms: set[int] = field(default_factory=set)
    """Values that are new."""
    groups: set[tuple[str, int]] = field(default_factory=set)
    """Groups that are new, or have other members or another id."""
    rooted: list[tuple[str, int, int]] = field(default_factory=list)
    """Kind, root before, root now: in the order in which groups became one."""
    campaigns: dict[str, str] = field(default_factory=dict)
    """Campaigns that are another one now."""
    judged: set[int] = field(default_factory=set)
    """Addresses some of whose pairs were scored otherwise than before."""
    before: dict[int, int] = field(default_factory=dict)
    """Address → the one that named its identity when the rows were last written."""
    gone: dict[int, str] = field(default_factory=dict)
    """Addresses that were taken out → their attackers."""

    def clear(self) -> None:
        """Everything is written."""
        self.rooted.clear()
        for keys in (self.members, self.held, self.terms, self.groups, self.judged):
            keys.clear()
        for known in (self.campaigns, self.before, self.gone):
            known.clear()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (
            self.members or self.held or self.terms or self.groups or self.rooted or self.campaigns
            or self.judged or self.gone
        )  # fmt: skip
