"""Sigma rules of our own for tests, and a small reference that judges by the rules of the format and nothing of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from decnet.shell.views import views
from decnet.ttp.sigma.importing import Imported, Importer

PUBLIC = Path(__file__).parents[2] / "shared" / "sigma"
"""Public rules beside the checkout; none of them is part of it."""


def sigma(
    title: str = "A rule", ident: str = "0a1b2c3d-0000-4000-8000-000000000001", **more: Any
) -> dict[str, Any]:
    """A rule with what every rule has; ``detection`` and others as given."""
    return {
        "title": title, "id": ident, "status": "test", "author": "A. Author", "level": "high",
        "tags": ["attack.execution", "attack.t1059.004"], "logsource": {"category": "process_creation", "product": "linux"},
        "detection": {"selection": {"Image|endswith": "/nc"}, "condition": "selection"}, **more,
    }  # fmt: skip


def correlation(kind: str, rules: list[str], **more: Any) -> dict[str, Any]:
    """A correlation over rules; parts of it as given."""
    return {
        "title": "Several", "id": "dddddddd-0000-4000-8000-000000000001", "level": "high",
        "correlation": {"type": kind, "rules": rules, "group-by": ["src_ip"], "timespan": "5m", **more},
    }  # fmt: skip


def imported(place: Path, *rules: Mapping[str, Any], **options: Any) -> list[Imported]:
    """What becomes of rules that are written to a directory, each to a file of its own."""
    place.mkdir(exist_ok=True)
    for number, rule in enumerate(rules):
        (place / f"rule_{number}.yml").write_text(
            yaml.safe_dump(dict(rule), sort_keys=False), encoding="utf-8"
        )
    return list(Importer(**options).run(place))


def one(place: Path, **rule: Any) -> Imported:
    """What becomes of one rule."""
    (found,) = imported(place, sigma(**rule))
    return found


def reference(rule: Mapping[str, Any], line: str) -> bool:
    """Whether a rule of Sigma holds for what a line starts: each view of it is a process, as the format has it."""
    detection = rule["detection"]
    return any(_process(detection, text) for text in _texts(line))


@lru_cache(maxsize=4096)
def _texts(line: str) -> tuple[str, ...]:
    return tuple(view.text for view in views(line).views)


def _process(detection: Mapping[str, Any], text: str) -> bool:
    """One process: its command line, and its image as the first word, in a folder of programs where it names none."""
    first = text.split(maxsplit=1)[0] if text.split() else ""
    image = first if first.startswith("/") else f"/usr/bin/{first.rpartition('/')[2]}"
    event = {"CommandLine": text, "Image": image}
    held = {name: _detection(body, event) for name, body in detection.items() if name != "condition"}
    return any(_condition(str(c), held) for c in _list(detection["condition"]))


def _condition(text: str, held: Mapping[str, bool]) -> bool:
    def several(found: re.Match[str]) -> str:
        names = [
            n for n in held if fnmatchcase(n, found[2]) or (found[2] == "them" and not n.startswith("_"))
        ]
        values = [held[name] for name in names]
        return f" {all(values) if found[1].lower() == 'all' else any(values)} "

    text = re.sub(r"\b(1|any|all) of ([\w.*]+)", several, text)
    words = (
        w if w in ("and", "or", "not", "(", ")", "True", "False") else str(held[w])
        for w in re.findall(r"[()]|[^\s()]+", text)
    )
    return bool(eval(" ".join(words)))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _detection(body: Any, event: Mapping[str, str]) -> bool:
    if isinstance(body, list):
        return any(_detection(part, event) for part in body)
    if not isinstance(body, dict):
        return str(body).lower() in event["CommandLine"].lower()
    return all(_field(key, value, event) for key, value in body.items())


def _field(key: str, value: Any, event: Mapping[str, str]) -> bool:
    name, *modifiers = key.split("|")
    if name not in event:
        return False
    holds = [_value(item, modifiers, event[name]) for item in _list(value)]
    return all(holds) if "all" in modifiers else any(holds)


def _value(value: Any, modifiers: list[str], said: str) -> bool:
    if "re" in modifiers:
        return re.search(str(value), said) is not None
    pattern = re.sub(r"([\[\]])", r"[\1]", str(value).lower())
    pattern = pattern.replace("\\*", "[*]").replace("\\?", "[?]")
    before = "*" if {"contains", "endswith"} & set(modifiers) else ""
    behind = "*" if {"contains", "startswith"} & set(modifiers) else ""
    return fnmatchcase(said.lower(), f"{before}{pattern}{behind}")
