"""The Traffic filter: topic patterns with ``+`` and ``-``, and plain words.

``ttp.> -system.> curl`` shows ttp events whose text holds "curl". Patterns without a wildcard cover
their subtopics too. Words are looked for in topic, source and summary, whatever their case.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from decnet.bus import topics
from decnet.bus.base import matches

ROOTS = (
    topics.ATTACKER,
    topics.ATTRIBUTION,
    topics.CANARY,
    topics.CREDENTIAL,
    topics.DECKY,
    topics.EMAIL,
    topics.IDENTITY,
    topics.SYSTEM,
    topics.TOPOLOGY,
    topics.TTP,
)
_SPLIT = re.compile(r"[,\s]+")
_VERDICTS = 4096
"""Topic verdicts kept; beyond, the memory of them starts anew."""


class FilterError(ValueError):
    """A filter that cannot be meant as it stands; the text says why."""


@dataclass(frozen=True)
class Filter:
    """A parsed filter. Empty, it shows everything."""

    text: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()
    _seen: dict[str, bool] = field(default_factory=dict, compare=False, repr=False)

    def shows_topic(self, topic: str) -> bool:
        """Whether the patterns let this topic through; remembered, since topics are few."""
        verdict = self._seen.get(topic)
        if verdict is None:
            if len(self._seen) >= _VERDICTS:
                self._seen.clear()
            verdict = self._seen[topic] = self._judge(topic)
        return verdict

    def _judge(self, topic: str) -> bool:
        wanted = not self.include or any(covers(p, topic) for p in self.include)
        return wanted and not any(covers(p, topic) for p in self.exclude)

    def shows(self, topic: str, source: str, summary: str) -> bool:
        """Whether an event with this topic and text is shown."""
        if not self.shows_topic(topic):
            return False
        if not self.words and not self.unwanted:
            return True
        hay = f"{topic} {source} {summary}".lower()
        return all(w in hay for w in self.words) and not any(w in hay for w in self.unwanted)

    @property
    def topic_part(self) -> str:
        """The patterns as typed, for line 3."""
        return " ".join([*self.include, *(f"-{p}" for p in self.exclude)]) or ">"

    @property
    def text_part(self) -> str:
        """The words as typed, for line 3."""
        return " ".join([*self.words, *(f"-{w}" for w in self.unwanted)]) or "-"


def covers(pattern: str, topic: str) -> bool:
    """``matches``, and a pattern without wildcard covers what lies below it too."""
    if matches(pattern, topic):
        return True
    return "*" not in pattern and ">" not in pattern and topic.startswith(f"{pattern}.")


def parse_filter(text: str) -> Filter:
    """The filter in ``text``. Raises FilterError that says what is wrong with which part."""
    buckets: dict[str, list[str]] = {"include": [], "exclude": [], "words": [], "unwanted": []}
    for token in filter(None, _SPLIT.split(text.strip())):
        sign, body = (token[0], token[1:]) if token[0] in "+-" else ("", token)
        if not body:
            raise FilterError(f"a pattern or a word is missing after {sign}")
        if _is_pattern(body):
            buckets["exclude" if sign == "-" else "include"].append(_checked(body))
        else:
            buckets["unwanted" if sign == "-" else "words"].append(body.lower())
    kept = {name: tuple(values) for name, values in buckets.items()}
    return Filter(text.strip(), kept["include"], kept["exclude"], kept["words"], kept["unwanted"])


def _is_pattern(body: str) -> bool:
    root = body.split(".", 1)[0]
    return "*" in body or ">" in body or (root in ROOTS and "." in body)


def _checked(body: str) -> str:
    parts = body.split(".")
    if not all(parts):
        raise FilterError(f"{body}: an empty part between dots")
    for i, part in enumerate(parts):
        if ">" in part and (part != ">" or i < len(parts) - 1):
            raise FilterError(f"{body}: > stands alone at the end, as in ttp.>")
        if "*" in part and part != "*":
            raise FilterError(f"{body}: * is one whole part, as in decky.*.state")
    if parts[0] not in (*ROOTS, "*", ">"):
        raise FilterError(f"no topic starts with {parts[0]}; there are {' '.join(ROOTS)}")
    return body
