"""What other people's words for an address mean in ATT&CK: data files, checked against the catalogue. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from decnet.attack.catalogue import Catalogue, load_catalogue
from decnet.errors import ConfigError
from decnet.ttp.rules import Emit, make_emit
from decnet.ttp.schema import EmitSchema

PROVIDERS = ("abuseipdb", "feodo", "greynoise", "threatfox")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Entry(_Strict):
    match: str = Field(min_length=1)
    name: str = Field(min_length=1)
    emits: list[EmitSchema] = Field(min_length=1)


class _File(_Strict):
    provider: str
    source: str = Field(pattern=r"^https://")
    bare: list[EmitSchema] = Field(default_factory=list)
    entries: list[_Entry] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class IntelMap:
    """One provider's words in lower case, and ``bare`` for a listing that says no more."""

    provider: str
    entries: Mapping[str, tuple[Emit, ...]]
    bare: tuple[Emit, ...] = ()

    def emits(self, words: Iterable[str]) -> tuple[Emit, ...]:
        """The tags of words that stand in the map; of one technique the surest."""
        return surest(emit for word in words for emit in self.entries.get(word, ()))


def surest(emits: Iterable[Emit]) -> tuple[Emit, ...]:
    """One tag for each technique, the surest; the order is that of first sight."""
    best: dict[tuple[str, str | None], Emit] = {}
    for emit in emits:
        key = (emit.written_technique_id, emit.written_sub_technique_id)
        if key not in best or emit.confidence > best[key].confidence:
            best[key] = emit
    return tuple(best.values())


def intel_dir() -> Path:
    """Where the shipped maps are."""
    return Path(str(files("decnet"))) / "_data" / "intel"


def read_map(path: Path, catalogue: Catalogue | None = None) -> IntelMap:
    """The map in a file. Raises ConfigError that names every technique, tactic or key that is wrong."""
    try:
        document = _File.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"{path}: no intel map: {error}") from error
    problems: list[str] = []
    release = catalogue or load_catalogue()
    entries: dict[str, tuple[Emit, ...]] = {}
    for entry in document.entries:
        key = entry.match.lower()
        if key in entries:
            problems.append(f"{entry.match!r} stands twice")
        entries[key] = _emits(entry.emits, release, problems, entry.match)
    bare = _emits(document.bare, release, problems, "bare")
    if problems:
        raise ConfigError(f"{path}: " + "; ".join(problems))
    return IntelMap(document.provider, entries, bare)


def _emits(
    schemas: Iterable[EmitSchema], release: Catalogue, problems: list[str], where: str
) -> tuple[Emit, ...]:
    out: list[Emit] = []
    for emit in schemas:
        try:
            out.append(
                make_emit(release, emit.tactic, emit.technique_id, emit.sub_technique_id, emit.confidence)
            )
        except ValueError as error:
            problems.append(f"{where!r}: {error}")
    return tuple(out)


@cache
def shipped_map(provider: str) -> IntelMap:
    """The map that ships with the package."""
    return read_map(intel_dir() / f"{provider}.yaml")
