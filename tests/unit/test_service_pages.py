"""Each service has a page that says what leaves the host, to whom, how often and what for; it agrees with the settings."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from decnet.config import load_settings
from decnet.intel.services.catalogue import SERVICES
from decnet.service_settings import ServiceSettings

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "services"
KNOWN = {"address": "attacker", "sha256": "SHA-256", "url": "URL"}
RULES = {
    "greynoise": {"L0202", "L0205"}, "abuseipdb": {"L0201", "L0205"}, "virustotal": set(), "urlhaus": set(),
    "threatfox": {"L0204", "L0205"}, "feodo": {"L0203", "L0205"},
}  # fmt: skip


def section_of(name: str) -> ServiceSettings:
    found = getattr(load_settings(), name)
    assert isinstance(found, ServiceSettings)
    return found


def test_there_is_a_page_for_each_service_and_no_other() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == set(SERVICES) == set(RULES)


@pytest.mark.parametrize("name", SERVICES)
def test_a_page_tells_host_budget_key_how_to_turn_it_on_and_the_rules(name: str) -> None:
    text, section = (PAGES / f"{name}.md").read_text("utf-8"), section_of(name)
    assert f"| to | {urlsplit(section.base_url).hostname}, over TLS" in text
    assert f"| at most | {section.daily_budget} questions in a UTC day" in text
    assert text.count("| key | needed") == (not section.KEYLESS)
    assert f"DECNET_{name.upper()}__ENABLED=true" in text
    assert f"```yaml\n{name}:\n  enabled: true\n" in text
    assert ("  key: …" in text) is not section.KEYLESS
    assert set(re.findall(r"\bL\d{4}\b(?=\])", text)) == RULES[name]


@pytest.mark.parametrize("name", SERVICES)
def test_a_page_names_everything_that_is_sent(name: str) -> None:
    (line,) = [
        one for one in (PAGES / f"{name}.md").read_text("utf-8").splitlines() if "leaves this host |" in one
    ]
    if name == "feodo":
        assert "No address of any attacker" in line
        return
    for kind in SERVICES[name].kinds & KNOWN.keys():
        assert KNOWN[kind] in line, kind
    assert "key" in line


@pytest.mark.parametrize("name", SERVICES)
def test_the_page_is_linked_from_the_readme_and_from_the_page_on_addresses(name: str) -> None:
    assert f"(services/{name}.md)" in (ROOT / "docs" / "addresses.md").read_text("utf-8")


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in (ROOT / "docs" / "addresses.md", *PAGES.glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), (page.name, target)
