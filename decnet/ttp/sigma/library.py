"""What pySigma makes of a document: detections with their values, conditions as trees, correlations. Needs the extra ``sigma``.

The library is the judge of what Sigma means. What is bounded here is bounded before it reads, since it bounds neither the
length of a condition nor how many values a modifier makes of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyparsing import ParseBaseException
from sigma.conditions import ConditionIdentifier, ConditionItem
from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaError
from sigma.rule import SigmaDetections, SigmaRule

from decnet.ttp.sigma.reading import SigmaDocument
from decnet.ttp.sigma.refusal import Refusal

MAX_WORDS = 500
"""Words of a condition, brackets among them."""
MAX_NESTING = 30
"""How deep the brackets of a condition, the words ``not`` in a row, or the lists of a detection go."""
MAX_VALUES = 2_000
"""Values in the detections of a rule: a modifier makes up to 125 texts of one."""

# SigmaError is a ValueError. The others are what its readers run into where a key holds something of another kind.
_FLAWS = (ValueError, TypeError, AttributeError, LookupError, RecursionError, ParseBaseException)


def detections_of(document: SigmaDocument) -> SigmaDetections:
    """The detections of a rule, read by the library. Raises Refusal for a rule that it does not take."""
    said = dict(document.said)
    body = document.part("detection")
    if not body.get("condition"):
        raise Refusal("it has no condition")
    said["detection"] = {str(key): value for key, value in body.items() if key != "timeframe"}
    _bounded(said["detection"])
    try:
        return SigmaRule.from_dict(said).detection
    except _FLAWS as error:
        raise _refused(error) from error


def conditions_of(detections: SigmaDetections) -> list[ConditionItem]:
    """The trees of a rule's conditions, one of which must hold. Raises Refusal."""
    trees = []
    for condition in detections.parsed_condition:
        _readable(condition.condition)
        try:
            tree = condition.parse(postprocess=False)
        except _FLAWS as error:
            raise Refusal(
                f"its condition cannot be read: {condition.condition:.80}: {_said(error)}"
            ) from error
        assert isinstance(tree, ConditionItem)
        if strange := next((name for name in _names(tree) if name not in detections.detections), None):
            raise Refusal(f"its condition speaks of {strange[:40]}, and no detection is called so")
        trees.append(tree)
    return trees


def correlation_of(document: SigmaDocument) -> SigmaCorrelationRule:
    """A correlation, read by the library. Raises Refusal for one that it does not take."""
    condition = document.part("correlation").get("condition")
    if isinstance(condition, str):
        _readable(condition)
    try:
        return SigmaCorrelationRule.from_dict(dict(document.said))
    except _FLAWS as error:
        raise _refused(error) from error


def _readable(condition: Any) -> None:
    """Raises Refusal for what would take the library long, or too deep."""
    if not isinstance(condition, str):
        raise Refusal("its condition is no text")
    words = condition.replace("(", " ( ").replace(")", " ) ").split()
    if len(words) > MAX_WORDS:
        raise Refusal(f"its condition has over {MAX_WORDS} words")
    if "|" in condition:
        raise Refusal("counts behind a `|` in the condition are of old: write a correlation rule")
    depth = nots = 0
    for word in words:
        nots = nots + 1 if word == "not" else nots if word == "(" else 0
        depth += (word == "(") - (word == ")")
        if depth + nots > MAX_NESTING:
            raise Refusal(f"its condition nests over {MAX_NESTING} deep")


def _bounded(detections: Any) -> None:
    count, level, below = 0, [detections], 0
    while level:
        below += 1
        if below > MAX_NESTING:
            raise Refusal(f"a detection nests over {MAX_NESTING} deep")
        inner = [v for one in level for v in (one.values() if isinstance(one, dict) else one)]
        level = [one for one in inner if isinstance(one, (dict, list))]
        count += len(inner) - len(level)
    if count > MAX_VALUES:
        raise Refusal(f"its detections have over {MAX_VALUES} values")


def _names(tree: ConditionItem) -> Iterator[str]:
    if isinstance(tree, ConditionIdentifier):
        yield tree.identifier
        return
    for part in tree.args:
        if isinstance(part, ConditionItem):
            yield from _names(part)


def _refused(error: Exception) -> Refusal:
    return Refusal(f"pySigma does not take it: {_said(error)}")


def _said(error: Exception) -> str:
    told = " ".join(str(error).split()) if isinstance(error, (SigmaError, ParseBaseException)) else ""
    return told[:300] or f"{type(error).__name__} in its readers"
