"""Why a tag was given, in words. Knows no terminal."""

from __future__ import annotations

import json
import re

from decnet.attack.catalogue import load_catalogue
from decnet.db.rows.lists import ListedTag, TagBehind
from decnet_tui.model.export import plain_value

_VIEWS = {"command": "one command of the line", "line": "the line"}
_RESTS_ON = re.compile(r"\bline (\d{1,7})\b")


def technique_of(tag: ListedTag | TagBehind) -> str:
    """The sub-technique where there is one."""
    return tag["sub_technique_id"] or tag["technique_id"]


def tag_lines(tag: ListedTag | TagBehind) -> list[str]:
    """Why one tag was given: technique, rule, confidence, field, span and matched text."""
    evidence = tag["evidence"] or {}
    technique = technique_of(tag)
    place = evidence.get("span")
    at = f" at {place[0]}-{place[1]}" if isinstance(place, (list, tuple)) and len(place) == 2 else ""
    name = str(evidence.get("view") or "")
    view = f" of {_VIEWS.get(name, name)}" if name else ""
    lines = [
        f"{technique} {load_catalogue().name(technique)}  ({load_catalogue().tactic_name(tag['tactic'])})",
        f"  rule {tag['rule_id']}  confidence {tag['confidence']:.2f}",
    ]
    if "matched" in evidence:
        lines.append(f"  matched {evidence['matched']}  ({evidence.get('field', 'field')}{at}{view})")
    rest = {
        k: v for k, v in evidence.items() if k not in ("matched", "field", "span", "view", "command_text")
    }
    return [*lines, *(f"  {name}: {_brief(value)}" for name, value in rest.items())]


def rests_on(tag: ListedTag | TagBehind) -> tuple[str, int | None]:
    """What of the session a tag rests on, and the line (from 1) that says so; empty where it rests on its own line."""
    because = str((tag["evidence"] or {}).get("because") or "")
    found = _RESTS_ON.search(because)
    return because, int(found[1]) if found else None


def underlined(tag: ListedTag | TagBehind, text: str, width: int) -> tuple[str, str]:
    """The part of a text that a tag matched, in ``width`` characters, and the line that marks it below; or twice empty."""
    matched = str((tag["evidence"] or {}).get("matched") or "")
    at = text.find(matched) if matched else -1
    if at < 0:
        return matched[:width], ""
    start = 0 if at + len(matched) <= width else max(at - width // 4, 0)
    shown = text[start : start + width]
    return shown, " " * (at - start) + "~" * min(len(matched), width - (at - start))


def _brief(value: object) -> str:
    """Evidence beside the match, for people: lists as their members, the rest as JSON."""
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, default=plain_value)


def brief_why(tag: ListedTag | TagBehind) -> str:
    """Technique, tactic, rule and confidence in one line."""
    technique, catalogue = technique_of(tag), load_catalogue()
    name, tactic = catalogue.name(technique), catalogue.tactic_name(tag["tactic"])
    return f"why {technique} {name}, {tactic}   {tag['rule_id']} {tag['confidence']:.2f}"
