"""Tags as CSV and as JSON lines. Cells hold attacker text: no formula, no control character gets out."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from decnet.db.rows.lists import ListedTag
from decnet.export.known import ADDED, NOTHING, Known, with_known
from decnet.hostile import visible

COLUMNS = (
    "seen_at", "created_at", "attacker_ip", "attacker_uuid", "identity_uuid", "session_id", "decky_id", "tactic", "technique_id",
    "sub_technique_id", "technique_name", "confidence", "rule_id", "rule_version", "matched", "source_kind", "source_id", "uuid",
    *ADDED,
)  # fmt: skip
_CELL = 2000
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet evaluate a cell: https://owasp.org/www-community/attacks/CSV_Injection"""


def csv_lines(rows: Iterable[ListedTag], known: Known = NOTHING) -> Iterator[str]:
    """A header, then one line for each tag; text that a spreadsheet would run starts with an apostrophe."""
    yield _line(COLUMNS)
    for row in rows:
        evidence = row.get("evidence")
        full = {
            **with_known(row, known),
            "matched": evidence.get("matched") if isinstance(evidence, Mapping) else None,
        }
        yield _line([_cell(full.get(name)) for name in COLUMNS])


def json_lines(rows: Iterable[ListedTag], known: Known = NOTHING) -> Iterator[str]:
    """One JSON object a line, ASCII only, times in ISO 8601 and UTC."""
    for row in rows:
        yield json.dumps(with_known(row, known), default=_plain, ensure_ascii=True) + "\n"


def _plain(value: Any) -> str:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (int, float)):
        return str(value)
    text = visible(" ".join(map(str, value)) if isinstance(value, list) else _plain(value), _CELL)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _line(cells: Iterable[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()
