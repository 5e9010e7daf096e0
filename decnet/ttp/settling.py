"""Which stored tags of sessions still stand when more is known of them than when the tags were made.

A rule that ``replaces`` others does so whenever it comes to fire. Of a session of which everything is known, what
the rules in force say of it is what stands: a rule that reads the session may have held for a part of it alone, or
for another reason than it holds for now. What rules say that look at nothing but the line never changes, and what
rules said that are in force no more, or are disabled, is left as it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from decnet.db.rows import JsonObject
from decnet.ttp.base import TaggerEvent, TTPTag
from decnet.ttp.kinds import CONTEXT_FIELDS
from decnet.ttp.replacing import Better
from decnet.ttp.rule_engine import RuleEngine
from decnet.ttp.rules import DEFAULT_STATE, CompiledRule

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.rows.ttp import StoredTag

Source = tuple[str, str]
"""(source kind, source id)."""


class Judgement(NamedTuple):
    """What a batch says of its sessions."""

    tags: Sequence[TTPTag]
    better: Sequence[Better]
    whole: frozenset[str]
    """Sessions of which everything is known."""
    judged: Collection[Source]
    """What was judged of them."""

    @classmethod
    def of(
        cls,
        tags: Sequence[TTPTag],
        better: Sequence[Better],
        whole: frozenset[str],
        events: Iterable[TaggerEvent],
    ) -> Judgement:
        """What was said of events."""
        judged = {(e.source_kind, e.source_id) for e in events if e.session_id in whole} if whole else ()
        return cls(tags, better, whole, judged)


class InForce(NamedTuple):
    """The rules in force by id, and those of them that may fire; ``all_of_them`` says that there are no others."""

    rules: Mapping[str, CompiledRule]
    firing: frozenset[str]
    all_of_them: bool

    @classmethod
    def of(cls, engines: Iterable[RuleEngine], all_of_them: bool) -> InForce:
        """What engines have now. A rule that fails says nothing, neither that its tags stand nor that they do not."""
        now = datetime.now(UTC)
        rules: dict[str, CompiledRule] = {}
        firing: set[str] = set()
        for engine in engines:
            index, states, _ = engine.snapshot()
            for rule in index.rules:
                rules[rule.rule_id] = rule
                enabled = states.get(rule.rule_id, DEFAULT_STATE).effective(now).state == "enabled"
                firing |= {rule.rule_id} if enabled and not engine.failures.failing(rule) else set()
        return cls(rules, frozenset(firing), all_of_them)


def reads_session(rule: CompiledRule) -> bool:
    """Whether a rule may say something else of the same line when more of the session is known."""
    if rule.condition is None or rule.correlation is not None:
        return False
    return "session" in rule.applies_to or not CONTEXT_FIELDS.isdisjoint(rule.condition.reads())


async def settle(said: Judgement, in_force: InForce, repo: BaseRepository) -> int:
    """Marks stored tags that stand no more, and lets stand those that do again; how many were marked."""
    sessions = {better.session_id for better in said.better} | said.whole
    given = {tag.uuid: tag for tag in said.tags}
    rows = await repo.tags_of_sessions(sorted(sessions))
    again = [row["uuid"] for row in rows if row["uuid"] in given and _is_back(row, said)]
    await repo.restore_tags(again)
    others = [row for row in rows if row["uuid"] not in given and row["replaced_by"] is None]
    gone = _no_more(others, said, in_force) | dict(_known_better(others, said.better, in_force))
    await repo.replace_tags(gone)
    await repo.renew_evidence(_known_otherwise(rows, given, said.whole, in_force))
    return len(gone)


def _is_back(row: StoredTag, said: Judgement) -> bool:
    """Whether something replaced a tag that the whole session gives now."""
    return row["replaced_by"] is not None and row["session_id"] in said.whole


def _known_better(
    rows: Iterable[StoredTag], better: Iterable[Better], in_force: InForce
) -> Iterable[tuple[str, str]]:
    """Tags that a rule of the same text replaces (uuid → uuid)."""
    by_source: dict[str, list[Better]] = defaultdict(list)
    for one in better:
        by_source[one.source_id].append(one)
    for row in rows if by_source else ():
        rule = in_force.rules.get(row["rule_id"])
        keeps = not in_force.all_of_them if rule is None else bool(rule.replaces or rule.correlation)
        for one in () if keeps else by_source.get(row["source_id"], ()):
            technique = row["sub_technique_id"] or row["technique_id"]
            if technique in one.techniques and str((row["evidence"] or {}).get("matched", "")) in one.text:
                yield row["uuid"], one.by


def _no_more(rows: Iterable[StoredTag], said: Judgement, in_force: InForce) -> dict[str, str]:
    """Tags that rules in force gave to a part of a session and do not give to the whole (uuid → session)."""
    reading = {
        key: rule for key, rule in in_force.rules.items() if key in in_force.firing and reads_session(rule)
    }
    return {
        row["uuid"]: row["session_id"]
        for row in rows
        if row["session_id"] in said.whole
        and (row["source_kind"], row["source_id"]) in said.judged
        and (rule := reading.get(row["rule_id"])) is not None
        and rule.rule_version == row["rule_version"]
    }


def _known_otherwise(
    rows: Iterable[StoredTag], given: Mapping[str, TTPTag], whole: frozenset[str], in_force: InForce
) -> dict[str, JsonObject]:
    """Other evidence of tags of whole sessions: a part of one counts its lines from its own beginning."""
    return {
        row["uuid"]: why
        for row in rows
        if row["session_id"] in whole
        and (tag := given.get(row["uuid"])) is not None
        and (why := tag.evidence or {}) != row["evidence"]
        and (rule := in_force.rules.get(row["rule_id"])) is not None
        and reads_session(rule)
    }
