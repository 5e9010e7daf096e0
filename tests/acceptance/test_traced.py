"""One technique of the demo, from each thing that leaves (Navigator, STIX, MISP, report) back to the command it was seen in."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
import stix2
from pymisp import MISPEvent
from pymisp.exceptions import NewAttributeError
from stix2validator import ValidationOptions, validate_string
from typer.testing import CliRunner

from decnet.config import Settings, load_settings
from decnet.engine import Engine
from decnet.home import packaged_demo_dir
from decnet_tui.cli.main import app
from tests.unit.test_export_files import check
from tests.unit.test_report import Page, check_html, kinds

TECHNIQUE, PARENT = "T1053.003", "T1053"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Of a data directory where the demo's log was read by all workers that say who belongs together."""
    made = load_settings(
        data_dir=tmp_path_factory.mktemp("traced"),
        bus={"type": "memory"},
        workers=("sensors", "recorder", "ttp", "attribution"),
        ttp_rule_store_type="filesystem",
        sensors=[{"kind": "cowrie", "path": str(packaged_demo_dir() / "cowrie.json")}],
    )
    asyncio.run(_read(Engine(made)))
    return made


async def _read(engine: Engine) -> None:
    await engine.start()
    try:
        assert await engine.until_idle(0.4) is None
    finally:
        await engine.stop(5.0)


def told(settings: Settings, *words: str) -> str:
    done = CliRunner().invoke(app, [*words, "--data-dir", str(settings.data_dir)])
    assert done.exit_code == 0, done.output
    return done.stdout


def written(settings: Settings, folder: Path, *words: str) -> str:
    target = folder / "out"
    told(settings, *words, "-o", str(target))
    return target.read_text("utf-8")


def logged() -> list[str]:
    """What attackers typed, as the demo's log has it."""
    lines = map(json.loads, (packaged_demo_dir() / "cowrie.json").read_text("utf-8").splitlines())
    return [line["input"] for line in lines if line["eventid"].startswith("cowrie.command.input")]


def command_behind(settings: Settings, session: str, matched: str) -> str:
    """The command of a session in which something was seen; it stands in the honeypot's log too."""
    page = json.loads(told(settings, "session", session, "--json"))
    texts = [command["command_text"] for command in page["commands"]]
    (found, *_) = [text for text in texts if matched in text]
    assert any(found in line or line in found for line in logged())
    assert "crontab" in found or "cron" in found
    return found


def test_from_navigator(settings: Settings, tmp_path: Path) -> None:
    layer = json.loads(written(settings, tmp_path, "export", "navigator"))
    assert layer["versions"]["layer"] == "4.5"
    cells = [cell for cell in layer["techniques"] if cell["techniqueID"] == TECHNIQUE]
    parents = [cell for cell in layer["techniques"] if cell["techniqueID"] == PARENT]
    assert parents
    assert all(cell["showSubtechniques"] for cell in parents), "it is seen when the layer is loaded"
    for cell in layer["techniques"]:
        named = {(one["techniqueID"], one.get("tactic")) for one in layer["techniques"]}
        assert (
            "." not in cell["techniqueID"] or (cell["techniqueID"].partition(".")[0], cell["tactic"]) in named
        )
    (way,) = cells[0]["metadata"]
    command = way["value"].split()
    assert command[:2] == ["decnet-tui", "tags"]
    tags = json.loads(told(settings, *command[1:], "--json", "--limit", "0"))
    tactic = {tag["tactic"] for tag in tags}
    assert sum(cell["score"] for cell in cells) == len(tags)
    assert tactic
    rules = set(re.findall(r"R\d{4}", cells[0]["comment"]))
    tag = next(tag for tag in tags if tag["rule_id"] in rules and tag["evidence"]["matched"])
    assert command_behind(settings, tag["session_id"], tag["evidence"]["matched"])


def test_from_stix(settings: Settings, tmp_path: Path) -> None:
    bundle = stix2.parse(written(settings, tmp_path, "export", "stix"), allow_custom=False, version="2.1")
    by_id = {one.id: one for one in bundle.objects}
    (pattern,) = [
        one for one in bundle.objects
        if one.type == "attack-pattern" and one.external_references[0].external_id == TECHNIQUE
    ]  # fmt: skip
    sightings = [
        one for one in bundle.objects if one.type == "sighting" and one.sighting_of_ref == pattern.id
    ]
    assert sightings
    assert {by_id[ref].type for one in sightings for ref in one.observed_data_refs} == {"observed-data"}
    reference = sightings[0].external_references[0]
    tags = json.loads(told(settings, "tags", "--technique", TECHNIQUE, "--json", "--limit", "0"))
    tag = next(tag for tag in tags if tag["uuid"] == reference.external_id)
    found = re.match(r"rule (\S+), session (\S+): (.*)", reference.description)
    assert found is not None
    assert (found[1], found[2]) == (tag["rule_id"], tag["session_id"])
    assert command_behind(settings, found[2], tag["evidence"]["matched"])
    types = {one.type for one in bundle.objects}
    assert types >= {
        "campaign",
        "infrastructure",
        "malware",
        "sighting",
        "threat-actor",
        "observed-data",
        "file",
    }
    referenced = {ref for one in bundle.objects for name in one for ref in _references(one[name])}
    assert referenced <= by_id.keys(), "nothing points outside of the bundle"


def _references(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, str) and re.fullmatch(r"[a-z0-9-]+--[0-9a-f-]{36}", one)]


def test_from_misp(settings: Settings, tmp_path: Path) -> None:
    attributes = check(json.loads(written(settings, tmp_path, "export", "misp")))
    found = [one for one in attributes if one["type"] == "text" and one["value"].startswith(f"{TECHNIQUE} ")]
    said = re.match(r"\S+ in session (\S+): (.*)", found[0]["value"])
    assert said is not None
    tags = json.loads(told(settings, "tags", "--technique", TECHNIQUE, "--json", "--limit", "0"))
    tag = next(tag for tag in tags if tag["uuid"] in found[0]["comment"])
    assert tag["session_id"] == said[1]
    assert command_behind(settings, said[1], tag["evidence"]["matched"])
    assert {one["type"] for one in attributes} >= {"ip-src", "sha256", "text"}


def test_the_validator_of_oasis_takes_the_bundle(settings: Settings, tmp_path: Path) -> None:
    """With all that the standard says one should do, but for ids that are derived (so that the same rows give the same
    bundle) and hashes of the pages of ATT&CK."""
    options = ValidationOptions(version="2.1", strict=True, disabled="uuid-check,extref-hashes")
    bundle = written(settings, tmp_path, "export", "stix")
    assert [str(error) for error in validate_string(bundle, options).errors] == []
    spoiled = bundle.replace('"confidence": ', '"confidence": 1000', 1)
    assert spoiled != bundle
    assert not validate_string(spoiled, options).is_valid


def test_the_library_of_misp_takes_the_event(settings: Settings, tmp_path: Path) -> None:
    text = written(settings, tmp_path, "export", "misp")
    attributes = check(json.loads(text))
    event = MISPEvent()
    event.load(text)
    assert [(one.type, one.value) for one in event.attributes] == [
        (one["type"], one["value"]) for one in attributes
    ]
    with pytest.raises(NewAttributeError):
        MISPEvent().load(text.replace('"ip-src"', '"ip-sauce"'))


@pytest.mark.parametrize("form", ["html", "markdown"])
def test_from_a_report(settings: Settings, tmp_path: Path, form: str) -> None:
    page = written(settings, tmp_path, "report", "--format", form)
    if form == "html":
        cells = check_html(page).cells
        assert isinstance(Page(page), Page)
        assert page.count("<svg") >= 2
    else:
        cells = kinds(page)[1]
    place = cells.index(TECHNIQUE)
    name, count, seen, sessions = cells[place + 1 : place + 5]
    assert name == "Cron"
    tags = json.loads(told(settings, "tags", "--technique", TECHNIQUE, "--json", "--limit", "0"))
    assert int(count) <= len(tags), "of one tactic"
    first, session = seen.split("  |  ")[0].split("|")[0].strip(), sessions.split()[0]
    whole = next(tag for tag in tags if tag["session_id"].startswith(session))
    assert command_behind(settings, session, whole["evidence"]["matched"])
    assert first[:10] in whole["evidence"]["matched"]


def test_a_report_of_an_attacker_and_of_a_campaign_is_of_these_alone(
    settings: Settings, tmp_path: Path
) -> None:
    attackers = json.loads(told(settings, "attackers", "--json", "--limit", "0"))
    one = max(attackers, key=lambda row: row["session_count"])
    page = written(settings, tmp_path, "report", "--attacker", one["attacker_ip"])
    assert f"Attacker {one['attacker_ip']}" in page
    assert f"{one['session_count']} sessions from 1 address on" in page
    others = [row["attacker_ip"] for row in attackers if row["attacker_ip"] != one["attacker_ip"]]
    text = "\n".join(check_html(page).cells)
    linked = json.loads(told(settings, "attacker", one["attacker_ip"], "--json"))["campaigns_named"]
    assert linked or not any(re.search(rf"\b{re.escape(ip)}\b", text) for ip in others)
    campaigns = json.loads(told(settings, "campaigns", "--json", "--limit", "0"))
    biggest = max(campaigns, key=lambda row: row["sessions"])
    page = written(settings, tmp_path, "report", "--campaign", biggest["campaign_uuid"])
    assert f"{biggest['sessions']} session" in page


def test_a_report_of_nobody_and_of_two_is_refused(settings: Settings, tmp_path: Path) -> None:
    def code(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(
            app, ["report", *words, "-o", str(tmp_path / "x"), "--data-dir", str(settings.data_dir)]
        )
        return done.exit_code, done.output

    assert code("--attacker", "203.0.113.254")[0] == 1
    status, said = code("--attacker", "x", "--campaign", "y")
    assert (status, "a report is of one" in said) == (2, True)
    assert not (tmp_path / "x").exists()
