"""The JSON Schema of the rule format, for editors; generated from the models that load the rules.

``python -m decnet.ttp.rule_schema`` writes it beside the shipped rules, whose first lines name it; a test compares.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from decnet.home import packaged_rules_dir
from decnet.ttp.kinds import CAPPED_FIELD, DEFAULT_FIELDS, KNOWN_SOURCE_KINDS
from decnet.ttp.lifter_registry import PREFIX, known_kinds
from decnet.ttp.loader import rule_files
from decnet.ttp.schema import RuleSchema

SCHEMA_NAME = "rule.schema.json"
"""Beside the rules, so that it is found from a checkout, from an installed package and from a copy of the directory."""
SCHEMA_LINE = f"# yaml-language-server: $schema={SCHEMA_NAME}\n"
"""First line of a rule file: tells editors what it may say."""
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_FORMS = ("pattern", "op", "any", "all", "not")


def rule_schema() -> dict[str, Any]:
    """The schema: what the loader checks without catalogue and regular expressions."""
    schema = RuleSchema.model_json_schema(by_alias=True)
    definitions = schema["$defs"]
    kinds = sorted(KNOWN_SOURCE_KINDS)
    schema["properties"]["applies_to"]["items"] = {"enum": kinds}
    schema["properties"]["applies_to"]["uniqueItems"] = True
    definitions["StepSchema"]["properties"]["source_kind"] = {"enum": kinds}
    definitions["ConditionSchema"].update(_one_of(_FORMS))
    definitions["StepSchema"].update(_one_of(_FORMS))
    definitions["MatchSchema"].update(_one_of((*_FORMS, "kind", "sequence")))
    definitions["MatchSchema"]["allOf"] = [_knobs(name) for name in sorted(known_kinds())]
    definitions["MatchSchema"]["properties"]["kind"] = {"enum": [PREFIX + n for n in sorted(known_kinds())]}
    _name_fields(definitions)
    for definition in (schema, *definitions.values()):
        for value in definition.get("properties", {}).values():
            _without_null(value)
    return {"$schema": DIALECT, "$id": "decnet:rule.schema.json", **schema, "title": "A TTP rule"}


def _one_of(forms: tuple[str, ...]) -> dict[str, Any]:
    return {"oneOf": [{"required": [form]} for form in forms]}


def _knobs(name: str) -> dict[str, Any]:
    """The knobs of one lifter, where its rule names it."""
    kind = known_kinds()[name]
    knobs = kind.knobs.model_json_schema()
    # References inside another document would point nowhere.
    inline = {"description": knobs.get("description", "")} if "$defs" in knobs else knobs
    test = {"properties": {"kind": {"const": PREFIX + name}}, "required": ["kind"]}
    return {"if": test, "then": {"properties": {"knobs": inline}}}


def _name_fields(definitions: dict[str, Any]) -> None:
    defaults = ", ".join(f"{kind}: {name}" for kind, name in sorted(DEFAULT_FIELDS.items()))
    text = (
        f"Field of the event; dots lead into objects. A pattern's default is {defaults}. "
        f"A command has command_text, argv0, argv and {CAPPED_FIELD}."
    )
    for name in ("ConditionSchema", "StepSchema", "MatchSchema"):
        definitions[name]["properties"]["field"]["description"] = text


def _without_null(value: dict[str, Any]) -> None:
    """A key that may be left out may not be null in a file."""
    options = [option for option in value.get("anyOf", []) if option != {"type": "null"}]
    if len(options) == 1:
        value.pop("anyOf")
        value.update(options[0])
    elif options:
        value["anyOf"] = options
    if value.get("default", 0) is None:
        del value["default"]


def rendered() -> str:
    """The text of the shipped file."""
    return json.dumps(rule_schema(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def shipped() -> Path:
    """Where the schema is in the package."""
    return packaged_rules_dir() / SCHEMA_NAME


def main() -> None:
    """Writes the file, and its name into rules that do not have it yet."""
    shipped().write_text(rendered(), encoding="utf-8")
    for path in rule_files(packaged_rules_dir()):
        text = path.read_text(encoding="utf-8")
        if not text.startswith(SCHEMA_LINE):
            path.write_text(SCHEMA_LINE + text, encoding="utf-8")


if __name__ == "__main__":
    main()
