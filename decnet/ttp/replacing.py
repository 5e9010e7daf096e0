"""Which hits stand on a command when a rule that knows its session knows better; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from decnet.ids import tag_id
from decnet.ttp.matcher import Hit
from decnet.ttp.rules import CompiledRule

if TYPE_CHECKING:
    from decnet.ttp.base import TaggerEvent

_NOTHING: frozenset[str] = frozenset()


class Better(NamedTuple):
    """A rule that knows better than others what a text of some source is.

    Also of what is stored: an earlier part of the session or an older set of rules may have told it.
    """

    source_id: str
    session_id: str
    text: str
    techniques: frozenset[str]
    by: str
    """Uuid of its tag."""


def knowing_better(
    event: TaggerEvent, hits: Sequence[Hit], fires: Callable[[CompiledRule], bool]
) -> Iterator[Better]:
    """The rules that replace others on an event of a session; ``fires`` as for :func:`standing`."""
    for hit in hits:
        rule = hit.rule
        if rule.replaces and rule.emits and event.session_id and fires(rule):
            emit, source = rule.emits[0], (event.source_kind, event.source_id)
            by = tag_id(*source, rule.rule_id, rule.rule_version, emit.written_technique_id, emit.written_sub_technique_id)  # fmt: skip
            yield Better(event.source_id, event.session_id, hit.text, rule.replaces, by)


def standing(
    hits: Sequence[Hit], fires: Callable[[CompiledRule], bool], lost: Callable[[str, int], None]
) -> Sequence[Hit]:
    """The hits without the techniques that another rule replaces on every command for which they hold.

    ``fires`` tells whether a rule may (a disabled one replaces nothing); ``lost`` is told of each rule that loses
    tags, and how many.
    """
    better: dict[int, frozenset[str]] = {}
    for hit in hits:
        if hit.rule.replaces and fires(hit.rule):
            for command in hit.commands:
                better[command] = better.get(command, _NOTHING) | hit.rule.replaces
    if not better:
        return hits
    out = []
    for hit in hits:
        replaced = [better.get(command, _NOTHING) for command in hit.commands]
        left = _left_of(hit.rule, frozenset.intersection(*replaced))
        if len(left.emits) < len(hit.rule.emits):
            lost(hit.rule.rule_id, len(hit.rule.emits) - len(left.emits))
        if left.emits or not hit.rule.emits:
            out.append(hit if left is hit.rule else hit._replace(rule=left))
    return out


def _left_of(rule: CompiledRule, replaced: frozenset[str]) -> CompiledRule:
    """A rule with the emits that stand; one that replaces others itself loses nothing."""
    if rule.replaces or not replaced:
        return rule
    emits = tuple(e for e in rule.emits if (e.sub_technique_id or e.technique_id) not in replaced)
    return rule if len(emits) == len(rule.emits) else replace(rule, emits=emits)
