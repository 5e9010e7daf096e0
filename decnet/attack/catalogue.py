"""Looks up techniques and tactics of the ATT&CK release that is really loaded.

The shipped release is one slim JSON; a newer STIX bundle can be given by path instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from decnet.attack.generate import RELEASE, TACTICS
from decnet.errors import ConfigError

TACTIC_ORDER = (
    "TA0043", "TA0042", "TA0001", "TA0002", "TA0003", "TA0004", "TA0005", "TA0006", "TA0007", "TA0008", "TA0009", "TA0011",
    "TA0010", "TA0040",
)  # fmt: skip
"""Tactics as attack.mitre.org's matrix has them, left to right."""


@dataclass(frozen=True, slots=True)
class Technique:
    """One technique or sub-technique; ``tactics`` are TA ids."""

    technique_id: str
    name: str
    tactics: tuple[str, ...]
    url: str
    revoked: bool = False
    revoked_by: str | None = None


@dataclass(frozen=True, slots=True)
class Catalogue:
    """One release: techniques by id, tactics as id → (short name, name)."""

    release: str
    techniques: Mapping[str, Technique]
    tactics: Mapping[str, tuple[str, str]] = field(
        default_factory=lambda: {tid: (short, name) for short, (tid, name) in TACTICS.items()}
    )
    _index: dict[str, Technique] = field(default_factory=dict, repr=False, compare=False)

    def get(self, technique_id: str) -> Technique | None:
        """The technique, also when it is revoked; None when the release does not know it."""
        return self.techniques.get(technique_id)

    def resolve(self, technique_id: str) -> Technique | None:
        """The living technique for an id: itself, or its last successor when it was revoked."""
        seen: set[str] = set()
        found = self.techniques.get(technique_id)
        while found is not None and found.revoked:
            if found.revoked_by is None or found.technique_id in seen:
                return None
            seen.add(found.technique_id)
            found = self.techniques.get(found.revoked_by)
        return found

    def find(self, text: str) -> Technique | None:
        """A technique by its id, its page's URL or its name, whatever the case; a living one before a revoked one."""
        wanted = " ".join(text.split()).rstrip("/").casefold()
        found = self.techniques.get(wanted.upper())
        return found or self._by_text().get(wanted)

    def _by_text(self) -> Mapping[str, Technique]:
        """URLs and names, folded."""
        if not self._index:
            for technique in sorted(self.techniques.values(), key=lambda t: not t.revoked):
                self._index[technique.url.casefold()] = technique
                self._index[technique.name.casefold()] = technique
        return self._index

    def name(self, technique_id: str | None) -> str:
        """The technique's name, empty when unknown."""
        found = self.techniques.get(technique_id or "")
        return found.name if found else ""

    def tactic_name(self, tactic: str) -> str:
        """The tactic's full name for its TA id, the id itself when unknown."""
        known = self.tactics.get(tactic)
        return known[1] if known else tactic


_chosen: list[Path] = []


def use_bundle(path: Path | None) -> None:
    """Says which STIX bundle :func:`load_catalogue` reads in this process; None is the shipped release."""
    _chosen[:] = [path] if path is not None else []


def mark_of_bundle() -> str:
    """What tells the bundle in use from another one, and from the same file at another time; empty for the shipped release."""
    if not _chosen:
        return ""
    try:
        found = _chosen[0].stat()
    except OSError:
        return f"{_chosen[0]} gone"
    return f"{_chosen[0]} {found.st_size} {found.st_mtime_ns} {found.st_ino}"


def load_catalogue() -> Catalogue:
    """The release in use. Raises ConfigError when the bundle that was chosen is none."""
    if not _chosen:
        return _shipped()
    try:
        stamp = _chosen[0].stat().st_mtime_ns
    except OSError as error:
        raise ConfigError(f"{_chosen[0]}: no ATT&CK bundle: {error.strerror}") from error
    return _bundle(_chosen[0], stamp)


@lru_cache(maxsize=2)
def _bundle(path: Path, _stamp: int) -> Catalogue:
    return load_stix(path)


@lru_cache(maxsize=1)
def _shipped() -> Catalogue:
    text = (files("decnet.attack") / f"enterprise-{RELEASE}.json").read_text(encoding="utf-8")
    document = json.loads(text)
    techniques = {
        key: Technique(
            key, e["name"], tuple(e["tactics"]), e["url"], bool(e.get("revoked")), e.get("revoked_by")
        )
        for key, e in document["techniques"].items()
    }
    return Catalogue(document["release"], techniques)


def load_stix(path: Path) -> Catalogue:
    """A release from a STIX 2 bundle of ATT&CK Enterprise. Raises ConfigError when it is none."""
    try:
        objects = json.loads(path.read_text(encoding="utf-8"))["objects"]
        patterns = [
            o for o in objects if o.get("type") == "attack-pattern" and not o.get("x_mitre_deprecated")
        ]
        ids = {o["id"]: _external_id(o) for o in patterns}
        successors = {
            o["source_ref"]: ids.get(o["target_ref"])
            for o in objects
            if o.get("type") == "relationship" and o.get("relationship_type") == "revoked-by"
        }
        tactics = _tactics(objects)
        short = {name: tid for tid, (name, _) in tactics.items()}
        # A live entry wins over a revoked one that shares its id.
        ordered = sorted(patterns, key=lambda o: not o.get("revoked"))
        techniques = {
            i: _from_stix(o, i, successors.get(o["id"]), short) for o in ordered if (i := ids[o["id"]])
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise ConfigError(f"{path}: no ATT&CK bundle: {error}") from error
    return Catalogue(_release_of(objects), techniques, tactics)


def _tactics(objects: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """The bundle's own tactics, since a release may cut them differently; the known ones when it has none."""
    found = {
        _external_id(o): (str(o["x_mitre_shortname"]), str(o["name"]))
        for o in objects
        if o.get("type") == "x-mitre-tactic" and not o.get("revoked") and not o.get("x_mitre_deprecated")
    }
    return found or {tid: (short, name) for short, (tid, name) in TACTICS.items()}


def _external_id(obj: dict[str, Any]) -> str:
    references = obj["external_references"]
    return str(next(r["external_id"] for r in references if r["source_name"] == "mitre-attack"))


def _from_stix(
    obj: dict[str, Any], technique_id: str, successor: str | None, short: Mapping[str, str]
) -> Technique:
    phases = (p["phase_name"] for p in obj.get("kill_chain_phases", ()))
    tactics = tuple(short[name] for name in phases if name in short)
    url = f"https://attack.mitre.org/techniques/{technique_id.replace('.', '/')}"
    return Technique(technique_id, str(obj["name"]), tactics, url, bool(obj.get("revoked")), successor)


def _release_of(objects: list[dict[str, Any]]) -> str:
    for obj in objects:
        if obj.get("type") == "x-mitre-collection":
            return str(obj.get("x_mitre_version", "unknown"))
    return "unknown"
