"""Levels of the rules that fired: on an attacker, on a campaign, on a command, for a technique."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, TypedDict

from decnet.attack.catalogue import load_catalogue
from decnet.db.rows.lists import ListedTag, TagBehind
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.feed import Feed
from decnet_tui.model.keys import key
from decnet_tui.model.words import counted
from decnet_tui.screens.base import Place
from decnet_tui.screens.evidence import TagsLevel
from decnet_tui.screens.levels import TableLevel
from decnet_tui.screens.table import Column


class FiredLine(TypedDict):
    """A rule that fired: for which technique, how often, and on what for example."""

    rule_id: str
    technique: str
    name: str
    count: int
    example: object


class FiredRulesLevel(TableLevel[FiredLine]):
    """The rules that fired on one attacker."""

    unit = "rules"
    stored = True

    def __init__(self, feed: Feed, attacker: str, label: str) -> None:
        super().__init__(feed)
        self.attacker, self.crumb = attacker, f"rules on {label}"
        self.columns = (
            Column("rule_id", "rule", 7),
            Column("technique", "technique", 10),
            Column("name", "name", 20, grow=True),
            Column("count", "tags", 5, right=True),
            Column("example", "example", 30, wide=True),
        )

    def row_key(self, row: FiredLine) -> Any:
        """Rule and technique."""
        return row["rule_id"], row["technique"]

    async def fetch(self, session: Session) -> Sequence[ListedTag | TagBehind]:
        """The attacker's tags. Raises what the store raises."""
        return await need_store(session).list_tags(attacker=self.attacker, limit=0, ignored=True)

    def load(self, data: Sequence[ListedTag | TagBehind]) -> None:
        """Counted by rule."""
        key = [(tag["rule_id"], tag["sub_technique_id"] or tag["technique_id"]) for tag in data]
        counts, name = Counter(key), load_catalogue().name
        example = {k: (tag["evidence"] or {}).get("matched") for k, tag in zip(key, data, strict=True)}
        self.fill(
            [
                {
                    "rule_id": rule,
                    "technique": tech,
                    "name": name(tech),
                    "count": count,
                    "example": example[rule, tech],
                }
                for (rule, tech), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            ]
        )

    def row_detail(self, row: FiredLine) -> list[str]:
        """What it matched, and the way to the rule itself."""
        return [
            f"{row['rule_id']}  {row['technique']} {row['name']}  {counted(row['count'], 'tag')}",
            f"for example: {row['example'] or '-'}",
            f"{key('open')} goes to the rule itself, and {key('rule.disable')} there turns it off",
        ]

    def about(self) -> str:
        """Where the row leads."""
        return f"{key('open')}: the rule itself"

    def tags(self) -> Sequence[FiredLine]:
        """The row names the rule."""
        return [] if self.current is None else [self.current]

    def leads_to(self) -> Place | None:
        """The rule itself."""
        return Place("rules", self.current["rule_id"]) if self.current is not None else None

    def unfilled(self) -> list[str]:
        """No rule fired."""
        return ["No rule has fired here."]


class TagRulesLevel(FiredRulesLevel):
    """The rules behind some tags that are known already: those of one command."""

    def __init__(self, feed: Feed, tags: Sequence[ListedTag | TagBehind]) -> None:
        super().__init__(feed, "", "this command")
        self._given = tags

    async def fetch(self, session: Session) -> Sequence[ListedTag | TagBehind]:
        """Nothing new."""
        return self._given


class TechniqueRulesLevel(FiredRulesLevel):
    """The rules behind the newest tags of one technique."""

    def __init__(self, feed: Feed, behind: TagsLevel) -> None:
        super().__init__(feed, "", behind.technique)
        self._behind = behind

    async def fetch(self, session: Session) -> Sequence[ListedTag | TagBehind]:
        """Its tags. Raises what the store raises."""
        return await self._behind.fetch(session)


class CampaignRulesLevel(FiredRulesLevel):
    """The rules that fired in the sessions of a campaign."""

    def __init__(self, feed: Feed, campaign: str, label: str) -> None:
        super().__init__(feed, "", label)
        self.campaign = campaign

    async def fetch(self, session: Session) -> Sequence[ListedTag | TagBehind]:
        """The tags of its sessions. Raises what the store raises."""
        from decnet.db.repository.conditions import (
            Whose,
        )  # here: the console starts without the database library

        return await need_store(session).list_tags(limit=0, ignored=True, whose=Whose(campaign=self.campaign))
