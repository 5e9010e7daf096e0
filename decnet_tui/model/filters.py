"""Filters: topic patterns with ``+`` and ``-``, words, ``/regular expressions/`` and ``key:value``.

``ttp.> -system.> curl rule:R0012 /wget|tftp/`` shows what fits all of it; ``-`` in front of any part
turns it round. Patterns without a wildcard cover their subtopics too. Words are looked for whatever
their case; quotes hold words together and make a word of anything. What begins with ``/`` is an expression, up to
the ``/`` that ends it or to the next space. A filter of a table knows its columns and no topics; a key that is
neither a column nor a field of any event is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import re2

from decnet.bus import topics
from decnet.bus.base import matches
from decnet_tui.model.event_keys import event_keys, near

ROOTS = (
    topics.ATTACKER,
    topics.ATTRIBUTION,
    topics.CAMPAIGN,
    topics.CANARY,
    topics.CREDENTIAL,
    topics.DECKY,
    topics.EMAIL,
    topics.IDENTITY,
    topics.SYSTEM,
    topics.TOPOLOGY,
    topics.TTP,
)
ALIASES = {
    "ip": ("attacker_ip",),
    "attacker": ("attacker_uuid", "attacker_uuids", "attacker_ip"),
    "id": ("identity_uuid",),
    "rule": ("rule_id", "rule_ids"),
    "session": ("session_id",),
    "decky": ("decky_id", "decky", "deckies"),
    "technique": ("technique_id", "sub_technique_id", "techniques_added", "techniques"),
    "user": ("username", "user"),
}
_TOKEN = re.compile(r'[+-]?(?:/(?:[^/\\]|\\.)+/(?=[,\s]|$)|(?:[a-z_][a-z0-9_]*:)?"[^"]*"?|[^,\s]+)')
_PAIR = re.compile(r"([a-z_][a-z0-9_]+):(.*)\Z", re.S)
_CLOSED = re.compile(r"/((?:[^/\\]|\\.)+)/")
_VERDICTS = 4096
"""Topic verdicts kept; beyond, the memory of them starts anew."""


class FilterError(ValueError):
    """A filter that cannot be meant as it stands; the text says why."""


@dataclass(frozen=True)
class Test:
    """One part of a filter that looks at text: a word, an expression or a key and its value."""

    says: str
    wanted: bool
    word: str = ""
    regex: Any = None
    key: str = ""
    raw: re.Pattern[bytes] | None = None

    def holds(self, hay: str, raw: bytes) -> bool:
        """For an event: ``hay`` is its line in lower case, ``raw`` its JSON."""
        if self.raw is not None:
            found = self.raw.search(raw) is not None
        else:
            found = bool(self.regex.search(hay)) if self.regex is not None else self.word in hay
        return found is self.wanted

    def holds_row(self, fields: Mapping[str, str], hay: str) -> bool:
        """For a row of a table: ``fields`` by column."""
        if self.key:
            names = (self.key, *ALIASES.get(self.key, ()))
            found = any(_found(self.word, fields[n].lower()) for n in names if n in fields)
        else:
            found = bool(self.regex.search(hay)) if self.regex is not None else self.word in hay
        return found is self.wanted


def _found(word: str, value: str) -> bool:
    """Whether a value holds a word; a whole number is meant as one: ``asn:49981`` is not AS149981."""
    return word == value if word.isdigit() and value.isdigit() else word in value


@dataclass(frozen=True)
class Filter:
    """A parsed filter. Empty, it shows everything."""

    text: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    tests: tuple[Test, ...] = ()
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

    def shows(self, topic: str, source: str, summary: str, raw: bytes = b"{}") -> bool:
        """Whether an event with this topic, text and JSON is shown."""
        if not self.shows_topic(topic):
            return False
        if not self.tests:
            return True
        hay = f"{topic} {source} {summary}".lower()
        return all(test.holds(hay, raw) for test in self.tests)

    def shows_row(self, fields: Mapping[str, str]) -> bool:
        """Whether a row of a table is shown."""
        if not self.tests:
            return True
        hay = " ".join(fields.values()).lower()
        return all(test.holds_row(fields, hay) for test in self.tests)

    @property
    def topic_part(self) -> str:
        """The patterns as typed, for line 3."""
        return " ".join([*self.include, *(f"-{p}" for p in self.exclude)]) or ">"

    @property
    def text_part(self) -> str:
        """The rest as typed, for line 3."""
        return " ".join(test.says for test in self.tests) or "-"


def covers(pattern: str, topic: str) -> bool:
    """``matches``, and a pattern without wildcard covers what lies below it too."""
    if matches(pattern, topic):
        return True
    return "*" not in pattern and ">" not in pattern and topic.startswith(f"{pattern}.")


def parse_filter(
    text: str, columns: Collection[str] | None = None, titles: Mapping[str, str] | None = None
) -> Filter:
    """The filter in ``text``; with ``columns`` it is one for a table, whose head calls some of them by ``titles``.

    Raises FilterError that says what is wrong with which part.
    """
    include: list[str] = []
    exclude: list[str] = []
    tests: list[Test] = []
    for token in _TOKEN.findall(text.strip()):
        sign, body = (token[0], token[1:]) if token[0] in "+-" else ("", token)
        if not body.strip('"'):
            raise FilterError(f"a pattern or a word is missing after {sign or token}")
        if columns is None and _is_pattern(body):
            (exclude if sign == "-" else include).append(_checked(body))
        else:
            tests.append(_test(token, body, sign != "-", columns, titles))
    return Filter(text.strip(), tuple(include), tuple(exclude), tuple(tests))


def _test(
    token: str, body: str, wanted: bool, columns: Collection[str] | None, titles: Mapping[str, str] | None
) -> Test:
    if body.startswith("/"):
        closed = _CLOSED.fullmatch(body)
        return Test(token, wanted, regex=_expression(closed[1] if closed else body[1:]))
    pair = None if _is_address(body) else _PAIR.match(body)
    if pair is None or pair[2].startswith("//"):
        return Test(token, wanted, word=body.strip('"').lower())
    key, value = pair[1], pair[2].strip('"')
    if not value:
        raise FilterError(f"{key}: a value is missing")
    if columns is None:
        _check_key(key)
        return Test(token, wanted, word=value, key=key, raw=_raw_pattern(key, value))
    if key not in columns:
        key = (titles or {}).get(key, key)
    if not {key, *ALIASES.get(key, ())} & set(columns):
        raise FilterError(f"no column {key}; there are {' '.join(columns)}")
    return Test(token, wanted, word=value.lower(), key=key)


def _check_key(key: str) -> None:
    """Raises FilterError for a key that no event has."""
    if key in ALIASES or key in event_keys():
        return
    meant = f"; perhaps {' '.join(found)}" if (found := near(key, event_keys() | ALIASES.keys())) else ""
    raise FilterError(
        f"no event has {key}{meant}; there are {' '.join(ALIASES)} and the fields of `decnet-tui schema`; quotes make it a word"
    )


def _expression(body: str) -> Any:
    """The expression itself, without its slashes. Raises FilterError."""
    if not body or body == "/":
        raise FilterError("an expression is missing between the slashes: /wget|tftp/")
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = False
    options.max_mem = 1 << 20
    try:
        return re2.compile(body, options)
    except re2.error as error:
        text = error.args[0] if error.args else error
        said = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        raise FilterError(f"/{body}/: {said}") from None


def _raw_pattern(key: str, value: str) -> re.Pattern[bytes]:
    """The value anywhere in the key's text, number or list, in JSON as we write it."""
    keys = "|".join(re.escape(k) for k in (key, *ALIASES.get(key, ())))
    held = re.escape(json.dumps(value)[1:-1])
    return re.compile(rf'"(?:{keys})":\s*(?:\[[^\]]*?|"[^"]*?|[^,}}\]"\[]*?){held}'.encode(), re.I)


def _is_address(body: str) -> bool:
    try:
        return bool(ip_address(body))
    except ValueError:
        return False


def _is_pattern(body: str) -> bool:
    root = body.split(".", 1)[0]
    if body[0] in '/"' or (":" in body and not root.isalpha()):
        return False
    return body == ">" or body.endswith(".>") or _starred(body) or (root in ROOTS and "." in body)


def _starred(body: str) -> bool:
    return ("*" in body or ">" in body) and ":" not in body


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
