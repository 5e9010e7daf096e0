"""Names of logs and of what rotation makes of them: which log a file belongs to, and which one is older; pure.

Rotation writes a number, a date or a word behind a log's name or before its ending, and packs it, at times more than
once. What a name does not say is for the content to say: an unknown name costs a file its place in the order, no more.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from os.path import basename
from typing import NamedTuple

PACKED = ("gz", "bz2", "xz", "zst", "lzma", "lz4", "Z")
"""Endings of compressed files, whether there is a reader for them or not."""
_ENDINGS = "json|jsonl|ndjson"
_PACK = "|".join(PACKED)
_DAY = r"(?:\d{4}(?P<s>[-_.])\d{1,2}(?P=s)\d{1,2}|\d{8})"
_DATE = rf"(?:{_DAY}(?:[-_T. ]?\d{{1,2}}(?:[-_:.]?\d{{2}}){{0,2}}Z?|-\d{{9,10}}|\.\d{{1,6}})?|\d{{10,14}})"
_OLD = r"old|bak|orig|prev|save|last"
_PACKED = re.compile(rf"(?P<rest>.+?)(?P<packed>\.(?:{_PACK})(?:\.\d{{1,6}}|\.(?:{_PACK}))*)\Z")
_BEHIND = re.compile(rf"(?P<base>.+?)(?:[._-](?P<date>{_DATE})|\.(?P<number>\d{{1,6}})|\.(?P<old>{_OLD}))\Z")
_BEFORE = re.compile(rf"(?P<stem>.+?)[._-](?P<date>{_DATE})(?P<ending>\.[A-Za-z]{{2,8}})\Z")
_LOG = re.compile(rf".+\.(?:{_ENDINGS})\Z")


class Named(NamedTuple):
    """What a name says: the log it belongs to, and its place among that log's files."""

    base: str
    rank: int
    """0 dated, 1 numbered or said to be old, 2 the live one."""
    date: str = ""
    number: int = 0
    again: int = 0
    """Numbers added by packing over and over."""


@lru_cache(maxsize=65_536)
def named(name: str) -> Named:
    """Takes a file's name apart."""
    packed = _PACKED.match(name)
    rest = packed["rest"] if packed else name
    again = sum(map(int, re.findall(r"\d+", packed["packed"].replace("bz2", "")))) if packed else 0
    if (behind := _BEHIND.match(rest)) is not None:
        if behind["date"]:
            return Named(behind["base"], 0, _day_of(behind["date"]), 0, again)
        return Named(behind["base"], 1, "", int(behind["number"] or 0), again)
    if (before := _BEFORE.match(rest)) is not None:
        return Named(before["stem"] + before["ending"], 0, _day_of(before["date"]), 0, again)
    return Named(rest, 1 if packed else 2, "", 0, again)


def is_log_name(name: str) -> bool:
    """Whether a name alone says that a file is a log: ``x.json``, also rotated, also packed."""
    return not name.startswith(".") and _LOG.match(named(name).base) is not None


def group_of(name: str) -> str:
    """The log that a rotated file belongs to: the name without date, number and packing."""
    return named(name).base


def is_live(path: str) -> bool:
    """Whether a path is that of the log that is written to now, as far as its name says."""
    return named(basename(path)).rank == 2


def reading_order(name: str) -> tuple[str, int, str, int, int, str]:
    """Sort key: by log, then rotated ones from the oldest on (dates up, numbers down), the live one last."""
    found = named(name)
    return (found.base, found.rank, found.date, -found.number, -found.again, name)


def _day_of(date: str) -> str:
    """A date as text that sorts by time, whether its parts have leading zeros or not: ``2016_4_3``."""
    if date.isdigit() and len(date) == 10 and not date.startswith("20"):
        return datetime.fromtimestamp(int(date), UTC).strftime("%Y%m%d%H%M%S")
    parts = re.findall(r"\d+", date)
    if len(parts[0]) != 4:
        return "".join(part.zfill(2) for part in parts)
    return "".join((parts[0], *(part.zfill(2) for part in parts[1:])))
