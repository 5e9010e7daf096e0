"""Rule files → compiled rules, strictly: every error is located, all are collected, one bad file costs no other.

The directory is read once; following its changes is the stores' work, and what is in one file that of
:mod:`decnet.ttp.compiling`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from decnet.attack.catalogue import load_catalogue
from decnet.errors import RuleError, SourcePosition
from decnet.ttp.rules import CompiledRule

if TYPE_CHECKING:
    from decnet.attack.catalogue import Catalogue
    from decnet.ttp.kept import KeptRules

FILE_NAME = re.compile(r"[A-Za-z0-9_]+\.ya?ml\Z")
MAX_FILE_BYTES = 262_144


@dataclass(slots=True)
class LoadResult:
    """The rules of a directory and the errors of the files that did not load."""

    rules: list[CompiledRule] = field(default_factory=list)
    errors: list[RuleError] = field(default_factory=list)


def rule_files(directory: Path) -> list[Path]:
    """The rule files of a directory by name; scratch names of editors are none."""
    if not directory.is_dir():
        return []
    return sorted(p for p in directory.iterdir() if FILE_NAME.match(p.name) and p.is_file())


def load_dir(
    directory: Path,
    *,
    catalogue: Catalogue | None = None,
    max_bytes: int = MAX_FILE_BYTES,
    kept: KeptRules | None = None,
) -> LoadResult:
    """All rules of ``directory``; an absent directory is an error of its own."""
    result = LoadResult()
    if not directory.is_dir():
        result.errors.append(RuleError("no such rule directory", SourcePosition(str(directory))))
        return result
    return merge(
        load_file(path, catalogue=catalogue, max_bytes=max_bytes, kept=kept) for path in rule_files(directory)
    )


def merge(results: Iterable[tuple[CompiledRule | None, list[RuleError]]]) -> LoadResult:
    """One result out of many files; of two rules with one id the first by file name stays."""
    out, seen = LoadResult(), dict[str, str]()
    for rule, errors in results:
        out.errors += errors
        if rule is None:
            continue
        if rule.rule_id in seen:
            message = f"duplicate rule_id {rule.rule_id}, already in {seen[rule.rule_id]}"
            out.errors.append(RuleError(message, _rule_id_place(rule), rule.rule_id))
            continue
        seen[rule.rule_id] = rule.file
        out.rules.append(rule)
    return out


def _rule_id_place(rule: CompiledRule) -> SourcePosition:
    for number, line in enumerate(rule.source.splitlines(), 1):
        if line.startswith("rule_id:"):
            return SourcePosition(rule.file, number, len("rule_id: ") + 1)
    return SourcePosition(rule.file, 1, 1)


def load_file(
    path: Path,
    *,
    catalogue: Catalogue | None = None,
    max_bytes: int = MAX_FILE_BYTES,
    kept: KeptRules | None = None,
) -> tuple[CompiledRule | None, list[RuleError]]:
    """The rule in one file, or its errors."""
    name = str(path)
    try:
        with path.open("rb") as handle:
            raw = handle.read(max_bytes + 1)
    except OSError as error:
        return None, [RuleError(f"cannot be read: {error.strerror or error}", SourcePosition(name))]
    if len(raw) > max_bytes:
        return None, [RuleError(f"the file is over {max_bytes // 1024} KiB", SourcePosition(name, 1, 1))]
    return load_bytes(raw, name, catalogue=catalogue, kept=kept)


def load_bytes(
    raw: bytes, name: str, *, catalogue: Catalogue | None = None, kept: KeptRules | None = None
) -> tuple[CompiledRule | None, list[RuleError]]:
    """The rule in the bytes of a file called ``name``, or its errors; one that was ``kept`` is not compiled again.

    Kept are only rules by the catalogue of this process.
    """
    if catalogue is not None:
        kept = None
    if kept is not None and (known := kept.rule(raw, name)) is not None:
        return known, []
    from decnet.ttp.compiling import compiled  # here: what is kept needs neither parser nor schema

    rule, errors = compiled(raw, name, catalogue or load_catalogue())
    if kept is not None and rule is not None:
        kept.keep(raw, rule)
    return rule, errors
