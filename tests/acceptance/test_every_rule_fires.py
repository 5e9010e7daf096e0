"""Every shipped rule fires from bytes: a log, a file of the inbox, a connection to one of our decoys.

One engine run for all. A rule that nothing can reach fails the build, unless its file says why (``external``).
The output says which producer reaches which rule: ``pytest -s tests/acceptance/test_every_rule_fires.py``.
"""

from __future__ import annotations

import json
import textwrap
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from decnet.config import Settings, load_settings
from decnet.decoys.http.listener import CanaryHttp
from decnet.decoys.mail.listener import MailListener
from decnet.decoys.worker import DecoysWorker
from decnet.engine import Engine
from decnet.events.record import Fault
from decnet.events.topics import record_of
from decnet.ids import attacker_id, identity_id
from tests import producing
from tests.decoykit import free_port
from tests.ruledrive import EVENTS, CowrieLog, examples, scripted, shipped
from tests.tpotkit import PLACES, tpot_tree

RULES = shipped()
IDLE_S = 0.4
CANARY = EVENTS.parent / "cases" / "11-opencanary-detail.txt"
CANARY_ADDRESSES = ("192.0.2.7", "2001:db8::5")


class Scene:
    """Logs of every kind in a folder, an inbox, and who each address is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inbox = folder / "inbox"
        self.inbox.mkdir()
        log = CowrieLog()
        scripted(log)
        examples(log, RULES)
        (folder / "cowrie.json").write_text(log.text(), "utf-8")
        self.known = sorted(ip for ip, why in log.addresses.items() if why == "commands")
        tpot_tree(folder / "tpot")
        self.producers: dict[str, str] = {
            **producing.sample_addresses(PLACES),
            **dict.fromkeys(log.addresses, "cowrie"),
            **dict.fromkeys(CANARY_ADDRESSES, "opencanary"),
            **dict.fromkeys(producing.opencanary_log(folder / "opencanary.json"), "opencanary"),
            **dict.fromkeys(producing.packets_log(folder / "eve.json"), "table suricata_eve"),
            **dict.fromkeys(producing.zeek_log(folder / "http.log"), "table zeek"),
            **dict.fromkeys(producing.MAIL_PEERS.values(), "mail decoy"),
            **dict.fromkeys((producing.CANARY_PEER, producing.ABROAD), "canary tokens"),
        }

    def settings(self) -> Settings:
        mail, http = free_port(), free_port()
        own = {
            "mail": {"enabled": True, "port": mail},
            "canary_http": {"enabled": True, "port": http, "trusted_proxies": [producing.PROXY]},
        }
        sensors = [
            ("cowrie", self.folder / "cowrie.json"), ("opencanary", CANARY),
            ("opencanary", self.folder / "opencanary.json"), ("table", self.folder / "eve.json"),
            ("table", self.folder / "http.log"), ("tpot", self.folder / "tpot"), ("inbox", self.inbox),
        ]  # fmt: skip
        return load_settings(
            data_dir=self.folder / "data",
            bus={"type": "memory"},
            workers=("sensors", "recorder", "ttp", "decoys"),
            ttp_rule_store_type="filesystem",
            decoys=own,
            sensors=[{"kind": kind, "path": str(path)} for kind, path in sensors],
        )

    def who(self, tag: Mapping[str, Any]) -> str:
        """What produced the evidence of a tag."""
        if tag["source_kind"] == "intel":
            return "inbox"
        found = producing.by_attacker(self.producers)
        found |= {identity_id(uuid): name for uuid, name in found.items()}
        return found[tag["attacker_uuid"] or tag["identity_uuid"]]


async def _tags(scene: Scene) -> list[dict[str, Any]]:
    engine = Engine(scene.settings())
    await engine.start()
    try:
        assert await engine.until_idle(IDLE_S) is None
        producing.put_lists(scene.inbox, scene.known)
        mail, http = _decoys(engine)
        await producing.send_mails(mail.port)
        await producing.open_bait(engine.repo, http)
        assert await engine.until_idle(IDLE_S) is None
        health = engine.supervisor.runners["ttp"].worker.health()
        assert health["rules_loaded"] == len(RULES)
        assert not health["rules_failed"]
        assert not health["rule_failures"]
        return await engine.repo.list_tags(limit=1_000_000)
    finally:
        await engine.stop(1.0)


def _decoys(engine: Engine) -> tuple[MailListener, CanaryHttp]:
    worker = engine.supervisor.runners["decoys"].worker
    assert isinstance(worker, DecoysWorker)
    found = {one.name: one for one in worker.listeners}
    mail, http = found["mail"], found["canary_http"]
    assert isinstance(mail, MailListener)
    assert isinstance(http, CanaryHttp)
    return mail, http


def _raised(scene: Scene, tags: list[dict[str, Any]]) -> bool:
    """Whether the tags of whom a list calls malicious are surer, for their score, than those of whom it does not."""
    sure = {}
    for address, score in ((scene.known[3], 0.74), (scene.known[4], 0.76)):
        of_both = [t for t in tags if t["attacker_uuid"] == attacker_id(address) and t["rule_id"] == "L0201"]
        sure[score] = [tag["confidence"] / score for tag in of_both]
    return bool(sure[0.74]) and min(sure[0.76]) > max(sure[0.74]) * 1.01


def _shown(reached: Mapping[str, set[str]]) -> str:
    by_producer: dict[str, list[str]] = defaultdict(list)
    for rule, producers in reached.items():
        by_producer[" + ".join(sorted(producers))].append(rule)
    names = {rule.rule_id: rule.name for rule in RULES}
    lists = (
        f"{producer}: " + ", ".join(f"{rule} {names[rule]}" for rule in sorted(rules))
        for producer, rules in sorted(by_producer.items())
    )
    return "\n".join(textwrap.fill(text, 110, subsequent_indent="  ") for text in lists)


async def test_every_rule_fires(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = Scene(tmp_path)
    tags = await _tags(scene)
    reached: dict[str, set[str]] = defaultdict(set)
    for tag in tags:
        reached[tag["rule_id"]].add(scene.who(tag))
    if _raised(scene, tags):
        reached["L0205"].add("inbox")
    for rule in RULES:
        if rule.external is not None:
            reached[rule.rule_id].add("nobody here")
    with capsys.disabled():
        print(f"\n{_shown(reached)}")
    assert {rule.rule_id for rule in RULES} - reached.keys() == set()
    alone = {rule for rule, producers in reached.items() if "nobody here" in producers}
    assert {rule: reached[rule] for rule in alone} == {"L0706": {"nobody here"}}, (
        "marked without need, or anew"
    )


@pytest.mark.parametrize("path", sorted(EVENTS.glob("*.jsonl")), ids=lambda path: path.stem)
def test_recorded_events_have_the_documented_shape(path: Path) -> None:
    for line in path.read_text("utf-8").splitlines():
        event = json.loads(line)
        record = record_of(event["topic"])
        if record is not None:
            faults: list[Fault] = []
            record.parse(event["payload"], faults)
            assert faults == []
