"""Sigma files → what each of their documents says; every flaw has its place, and costs its own document only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decnet.yaml_places import parse_strict

MAX_FILE_BYTES = 262_144
MAX_FILES = 20_000
_BREAK = re.compile(r"(?m)^---(?:[ \t].*)?$")
_NOT_TEXT = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class SigmaDocument:
    """One document: ``said`` is what stands in it, ``where`` its file and line."""

    file: Path
    where: str
    said: Mapping[str, Any]

    def text(self, key: str) -> str:
        """A text of the rule, empty where there is none."""
        value = self.said.get(key)
        return value.strip() if isinstance(value, str) else ""

    def texts(self, key: str) -> list[str]:
        """A list of texts; one text alone is such a list."""
        value = self.said.get(key)
        return [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, str) and v]

    def part(self, key: str) -> Mapping[str, Any]:
        """A mapping of the rule, empty where there is none."""
        value = self.said.get(key)
        return value if isinstance(value, dict) else {}

    @property
    def ident(self) -> str:
        """What other rules call it: its id, else its name, else its title."""
        return self.text("id") or self.text("name") or self.text("title")


@dataclass(frozen=True, slots=True)
class Unread:
    """A file or document that is no rule, and why."""

    where: str
    reason: str


def sigma_files(directory: Path) -> list[Path]:
    """The YAML files below a directory, or the one file that is named, by path; at most ``MAX_FILES``."""
    if directory.is_file():
        return [directory]
    found = (path for path in directory.rglob("*") if path.suffix in (".yml", ".yaml") and path.is_file())
    return sorted(found)[:MAX_FILES]


def read_rules(path: Path) -> Iterator[SigmaDocument | Unread]:
    """The documents of one file."""
    try:
        with path.open("rb") as handle:
            raw = handle.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        yield Unread(str(path), f"cannot be read: {error.strerror}")
        return
    yield from read_bytes(raw, path)


def read_bytes(raw: bytes, path: Path) -> Iterator[SigmaDocument | Unread]:
    """The documents in the bytes of a file; ``path`` is what they are told by."""
    if len(raw) > MAX_FILE_BYTES:
        yield Unread(str(path), f"the file is over {MAX_FILE_BYTES // 1024} KiB")
        return
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        yield Unread(str(path), "not UTF-8")
        return
    for line, body in _documents(text):
        yield _read(path, line, body)


def _documents(text: str) -> Iterator[tuple[int, str]]:
    """Each document with the line before it; one without anything is none."""
    start = 0
    for mark in (*_BREAK.finditer(text), None):
        end = mark.start() if mark else len(text)
        body = text[start:end]
        if any(line.strip() and not line.lstrip().startswith("#") for line in body.splitlines()):
            yield text.count("\n", 0, start), body
        start = mark.end() if mark else end


def _read(path: Path, before: int, body: str) -> SigmaDocument | Unread:
    document, flaws = parse_strict(body, str(path))
    if flaws:
        flaw = flaws[0]
        return Unread(f"{path}:{before + flaw.place.line}:{flaw.place.column}", flaw.message)
    where = f"{path}:{before + 1}" if before else str(path)
    if document is None or not isinstance(document.value, dict):
        return Unread(where, "a rule is a mapping")
    if "action" in document.value:
        return Unread(
            where, "a collection of the old kind (action): write its rules as documents of their own"
        )
    return SigmaDocument(path, where, document.value)


def slug(text: str, most: int) -> str:
    """A text as a name: small letters, digits, underscores."""
    return _NOT_TEXT.sub("_", text.lower()).strip("_")[:most].strip("_")
