"""``intel lookup``: what services said, with its age; nobody is asked but with ``--ask``, and then within the budget."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from decnet.db.repository import BaseRepository
from decnet.db.rows.intel import DueQuestion
from decnet.ids import attacker_id
from decnet_tui.cli.main import app
from tests.askkit import ANSWERS, NAMES, section
from tests.dbkit import migrated
from tests.httpkit import Server, serving
from tests.rowkit import NOW, put
from tests.servicekit import ADDRESS, OTHER, SHA256, URL


@pytest.fixture
def server() -> Iterator[Server]:
    """A server in a thread of its own: a command has a loop of its own."""
    ready, found = threading.Event(), []
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def main() -> None:
        async with serving(ANSWERS) as running:
            found.append(running)
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    assert ready.wait(10)
    yield found[0]
    loop.call_soon_threadsafe(over.set)
    thread.join(10)
    loop.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    asyncio.run(migrated(tmp_path / "decnet.sqlite"))
    return tmp_path


def config(data: Path, server: Server, *names: str, **more: Any) -> Path:
    path = data / "config.yaml"
    path.write_text(json.dumps(dict.fromkeys(names, section(server.base, **more))))
    return path


def run(data: Path, *arguments: str | Path, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["intel", "lookup", *map(str, arguments), "--data-dir", str(data)])
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.output


def looked_up(data: Path, *arguments: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(data, *arguments, "--json"))
    return found


def change(data: Path, work: Any) -> Any:
    async def go() -> Any:
        repo = await BaseRepository.open(f"sqlite:///{data / 'decnet.sqlite'}")
        try:
            return await work(repo)
        finally:
            await repo.close()

    return asyncio.run(go())


def test_services_are_asked_only_when_a_person_says_so_and_what_they_said_stays(
    data: Path, server: Server
) -> None:
    settings = ("--config", config(data, server, *NAMES))
    assert looked_up(data, ADDRESS, *settings)["services"] == []
    assert server.asked == [], "looking up asks nobody"
    found = looked_up(data, ADDRESS, "--ask", *settings)
    verdicts = {row["source"]: row["verdict"] for row in found["services"]}
    assert verdicts == {
        "abuseipdb": "malicious", "feodo": "malicious", "greynoise": "malicious", "threatfox": "malicious", "urlhaus": "malicious",
    }  # fmt: skip
    assert {(one["service"], one["why"]) for one in found["asked"]} == {(name, None) for name in verdicts}
    asked = len(server.asked)
    assert asked == 5
    page = run(data, ADDRESS, *settings)
    (line,) = [one for one in page.splitlines() if one.startswith("  greynoise: ")]
    assert line.startswith("  greynoise: malicious, ")
    assert line.endswith(" ago  classification malicious  name unknown")
    assert "  feodo: malicious, " in page
    listed = {row["source"]: row["verdict"] for row in looked_up(data, "91.92.93.95", *settings)["services"]}
    assert listed == {"feodo": "unknown"}, "the list says something of every address"
    assert len(server.asked) == asked


def test_what_services_said_of_a_file_and_a_url_is_looked_up_by_these(data: Path, server: Server) -> None:
    settings = ("--config", config(data, server, "virustotal", "urlhaus"))
    found = looked_up(data, SHA256.upper(), "--ask", *settings)
    assert found["sha256"] == SHA256
    assert {row["source"]: (row["verdict"], row["answer"]) for row in found["services"]} == {
        "urlhaus": ("known", "listed True  malware_family Mirai"),
        "virustotal": ("known", "malicious 41  engines 61  label trojan.mirai/linux"),
    }
    run(data, URL, "--ask", *settings)
    page = run(data, URL, *settings)
    assert page.startswith(f"{URL}\n\nservices:\n  urlhaus: known, ")


def test_the_budget_of_a_person_is_the_engines(data: Path, server: Server) -> None:
    settings = ("--config", config(data, server, "greynoise", daily_budget=1))
    run(data, ADDRESS, "--ask", *settings)
    found = looked_up(data, OTHER, "--ask", *settings)
    assert found["asked"] == [{"service": "greynoise", "why": "over_budget"}]
    assert "asked greynoise: over_budget\n" in run(data, OTHER, "--ask", *settings)
    assert len(server.asked) == 1


def test_nobody_is_asked_about_a_special_address(data: Path, server: Server) -> None:
    found = looked_up(data, "10.1.2.3", "--ask", "--config", config(data, server, "greynoise"))
    assert found["asked"] == [{"service": "greynoise", "why": "special_address"}]
    assert server.asked == []


def test_asking_without_a_service_or_a_database_is_said_and_not_passed_over(
    data: Path, server: Server, tmp_path: Path
) -> None:
    assert "no service is turned on" in run(data, ADDRESS, "--ask", code=2)
    said = run(tmp_path / "none", ADDRESS, "--ask", "--config", config(data, server, "greynoise"), code=1)
    assert "no database" in said
    assert server.asked == []


def test_what_waits_to_be_asked_is_shown(data: Path) -> None:
    due = DueQuestion(
        service="greynoise", kind="address", value=ADDRESS, attacker_uuid="a", ts=1.0, tries=0, not_before=0.0
    )
    change(data, lambda repo: repo.intel_due_add([due]))
    assert looked_up(data, ADDRESS)["waiting"] == ["greynoise"]
    assert "services:\n  to be asked: greynoise\n" in run(data, ADDRESS)


def test_an_answer_about_an_attacker_is_told_and_one_about_somebody_else_is_not(
    data: Path, server: Server
) -> None:
    settings = ("--config", config(data, server, "greynoise"))
    run(data, ADDRESS, "--ask", *settings)
    assert change(data, lambda repo: repo.outbox_count()) == 0
    row = {"attacker_uuid": attacker_id(ADDRESS), "ip": ADDRESS, "first_seen": NOW, "last_seen": NOW}
    change(data, lambda repo: put(repo, "attacker", row))
    run(data, ADDRESS, "--ask", *settings)
    assert change(data, lambda repo: repo.outbox_count()) == 1
    assert len(server.asked) == 1
