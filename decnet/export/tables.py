"""Tags as CSV and as JSON lines, a page at a time. Cells hold attacker text: no formula, no control character gets out.

Half a million tags are no rarity: a page goes through column by column, and what holds for a whole column is asked of it
at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from decnet.db.rows.lists import TAG_COLUMNS, TagPage
from decnet.export.known import OneKnown
from decnet.hostile import visible

COLUMNS = (
    "seen_at", "created_at", "attacker_ip", "attacker_uuid", "identity_uuid", "session_id", "decky_id", "tactic", "technique_id",
    "sub_technique_id", "technique_name", "confidence", "rule_id", "rule_version", "matched", "source_kind", "source_id", "uuid",
    "country", "allocated", "asn", "as_name", "campaigns", "identity_addresses",
)  # fmt: skip
_CELL = 2000
_FORMULA = frozenset("=+-@\t\r\uff1d\uff0b\uff0d\uff20")
"""What makes a spreadsheet evaluate a cell, in half and in full width: https://owasp.org/www-community/attacks/CSV_Injection"""
_REMEMBERED = 10_000
"""Texts of evidence whose cell is known: honeypot lines repeat."""
_HARMLESS = bytes(set(range(32, 127)) - set(b',"'))
"""What stands in a cell as it is: printable, and nothing that :mod:`csv` quotes."""
_first = itemgetter(slice(1))
Pair = tuple[str | None, str | None]
"""An attacker and the identity that a tag of it names."""


def csv_head() -> str:
    """The header."""
    return ",".join(COLUMNS) + "\n"


def csv_cells(attacker: str | None, one: OneKnown) -> tuple[str, str]:
    """What is known of an attacker, as the cells among those of a tag and those at the end of its line."""
    return ",".join(map(_cell, (one.attacker_ip, attacker, one.identity_uuid))), ",".join(map(_cell, one[2:]))


def csv_page(page: TagPage, whose: Mapping[Pair, tuple[str, str]], name: Callable[[str], str]) -> str:
    """One line for each tag; text that a spreadsheet would run starts with an apostrophe. ``name`` names techniques.

    What comes again and again (who, which technique, which rule) is made once, with the commas between its cells.
    """
    if not page:
        return ""
    tag = dict(zip(TAG_COLUMNS, zip(*page, strict=True), strict=True))

    def several(columns: Sequence[str], cells: Callable[[tuple[Any, ...]], str]) -> Iterable[str]:
        values = list(zip(*(tag[column] for column in columns), strict=True))
        made = {value: cells(value) for value in set(values)}
        return map(made.__getitem__, values)

    def technique(values: tuple[Any, ...]) -> str:
        return _joined((*values, name(values[2] or values[1])))

    pair = ("attacker_uuid", "identity_uuid")
    columns = (
        _moments(tag["seen_at"]),
        _moments(tag["created_at"]),
        several(pair, lambda who: whose[who][0]),
        _cells(tag["session_id"]),
        _cells(tag["decky_id"]),
        several(("tactic", "technique_id", "sub_technique_id"), technique),
        several(("confidence", "rule_id", "rule_version"), _joined),
        map(_matched, tag["evidence"]),
        _cells(tag["source_kind"]),
        _cells(tag["source_id"]),
        _cells(tag["uuid"]),
        several(pair, lambda who: whose[who][1]),
    )
    return "\n".join(map(",".join, zip(*columns, strict=True))) + "\n"


@lru_cache(maxsize=_REMEMBERED)
def _joined(values: tuple[Any, ...]) -> str:
    return ",".join(map(_cell, values))


def json_page(page: TagPage, whose: Mapping[Pair, OneKnown], name: Callable[[str], str]) -> Iterator[str]:
    """One JSON object a line, ASCII only, times in ISO 8601 and UTC."""
    for row in page:
        tag = dict(zip(TAG_COLUMNS, row, strict=True))
        one = whose[tag["attacker_uuid"], tag.pop("identity_uuid")]
        tag["evidence"] = None if tag["evidence"] is None else json.loads(tag["evidence"])
        tag["seen_at"], tag["created_at"] = _moment(tag["seen_at"]), _moment(tag["created_at"])
        technique = name(tag["sub_technique_id"] or tag["technique_id"])
        known = one._asdict()
        first = {key: known.pop(key) for key in ("attacker_ip", "identity_uuid")}
        yield json.dumps({**tag, **first, "technique_name": technique, **known}, ensure_ascii=True) + "\n"


def _moment(text: str | None) -> str | None:
    """ISO 8601 in UTC, of a text without a zone."""
    return None if text is None else f"{text[:10]}T{text[11:]}".removesuffix(".000000") + "+00:00"


def _moments(column: Sequence[str | None]) -> list[str]:
    """The same of many: as one text, since there are two for each tag."""
    if None in column:
        return [_moment(text) or "" for text in column]
    whole = "\n".join(column) + "\n"  # type: ignore[arg-type]
    return whole.replace(" ", "T").replace(".000000\n", "\n").replace("\n", "+00:00\n").split("\n")[:-1]


@lru_cache(maxsize=_REMEMBERED)
def _matched(evidence: str | None) -> str:
    found = None if evidence is None else json.loads(evidence)
    return _cell(found.get("matched") if isinstance(found, dict) else None)


def _cells(column: Sequence[Any]) -> Sequence[str]:
    """Cells of texts (None for nothing): as they are where all are harmless, else each value once."""
    values = set(column)
    if _are_harmless(values - {None}):
        return column if None not in values else [value or "" for value in column]
    cells = {value: _cell(value) for value in values}
    return list(map(cells.__getitem__, column))


def _are_harmless(values: Collection[Any]) -> bool:
    """Whether each is a text that is a cell as it is."""
    if not set(map(type, values)) <= {str}:
        return False
    whole = "".join(values)
    plain = whole.isascii() and not whole.encode().translate(None, _HARMLESS)
    return plain and max(map(len, values), default=0) <= _CELL and _FORMULA.isdisjoint(map(_first, values))


def _cell(value: Any) -> str:
    """One cell as :mod:`csv` writes it, which takes three times as long for all that it asks of each character."""
    if value is None:
        return ""
    if isinstance(value, (int, float)):
        return str(value)
    text = visible(" ".join(map(str, value)) if isinstance(value, list) else value, _CELL)
    if text[:1] in _FORMULA:
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"' if '"' in text or "," in text else text
