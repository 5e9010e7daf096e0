"""The demo recording gives plausible primitives: its README says who typed, who pasted, who came for what."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import Any

from behave_shell.spec import PRIMITIVE_REGISTRY

from decnet.behave.extract import Extraction
from decnet.behave.summaries import DAY_S, Visit, summarise
from decnet.config import SensorSettings
from decnet.sensors.assembly import Assembler
from decnet.sensors.cowrie import Fact
from decnet.sensors.recordings import read_recording
from tests.behavekit import extract
from tests.linekit import cowrie_line

LOG = Path(__file__).parents[2] / "decnet" / "_data" / "demo" / "cowrie.json"


@cache
def demo() -> dict[str, list[tuple[dict[str, Any], Extraction]]]:
    """Payload and extraction of every session, by address."""
    sensor, out = Assembler(SensorSettings(), b"k" * 32), defaultdict(list)
    facts = [fact for line in LOG.read_bytes().splitlines() if isinstance(fact := cowrie_line(line), Fact)]
    events = [event for fact in facts for event in sensor.feed(fact)] + sensor.end_all()
    for event in events:
        if event.topic == "attacker.session.ended":
            payload = event.payload
            recording = read_recording(LOG, payload["ttylog"], 1 << 23) if "ttylog" in payload else None
            out[payload["attacker_ip"]].append((payload, extract(payload, recording, key=b"k")))
    return dict(out)


def counts(ip: str, primitive: str, version: str = "") -> Counter[Any]:
    """How often an address gave each value."""
    return Counter(
        o.value
        for payload, found in demo()[ip]
        if (payload["client"]["version"] or "").startswith(version)
        for o in found.observations
        if o.primitive == primitive
    )


def test_at_least_forty_five_primitives() -> None:
    names = {o.primitive for sessions in demo().values() for _, found in sessions for o in found.observations}
    for sessions in demo().values():
        visits = [Visit(x.session_id, x.started_at, x.ended_at, x.hours) for _, x in sessions]
        visits.sort(key=lambda visit: visit.started_at)
        for one in summarise("a", visits, int(visits[-1].started_at // DAY_S)):
            PRIMITIVE_REGISTRY[one.primitive].validate_value(one.value)
            names.add(one.primitive)
    assert len(names) >= 45
    assert names <= PRIMITIVE_REGISTRY.keys()


def test_the_two_operators_of_one_address_differ_in_every_family() -> None:
    """README: A types by hand and slowly with PuTTY, B pastes with a Go tool."""
    ip = "203.0.113.77"
    for primitive, by_hand, by_paste in (
        ("motor.input_modality", {"typed"}, {"pasted"}),
        ("motor.paste_burst_rate", {"none"}, {"habitual"}),
        ("motor.keystroke_cadence", {"steady"}, {"machine"}),
        ("cognitive.inter_command_latency_class", {"deliberate"}, {"typing_speed"}),
    ):
        assert set(counts(ip, primitive, "SSH-2.0-PuTTY")) == by_hand
        assert set(counts(ip, primitive, "SSH-2.0-Go")) <= by_paste


def test_one_hand_stays_near_itself() -> None:
    """registry: the same typist within about 6 bits."""
    prints = [int(value, 16) for value in counts("203.0.113.77", "motor.digraph_simhash", "SSH-2.0-PuTTY")]
    assert len(prints) >= 8
    assert max((one ^ other).bit_count() for one in prints for other in prints) <= 8


def test_who_came_for_what() -> None:
    objective = "operational.objective"
    assert set(counts("203.0.113.140", objective)) == {"persistence"}
    assert set(counts("192.0.2.199", objective)) == {"exfil"}
    assert set(counts("203.0.113.61", objective)) <= {"recon"}
    assert set(counts("203.0.113.90", "operational.cleanup_behavior")) <= {"thorough", "partial"}
    assert counts("198.51.100.23", "motor.error_correction")


def test_scanners_and_one_line_bots_give_little() -> None:
    for ip in ("192.0.2.231", "192.0.2.232", "203.0.113.61", "203.0.113.62"):
        for _, found in demo()[ip]:
            names = {o.primitive for o in found.observations}
            assert not {
                n for n in names if n.startswith(("cognitive.", "emotional_valence.", "environmental."))
            }


def test_nothing_is_told_of_content() -> None:
    for sessions in demo().values():
        for payload, found in sessions:
            told = " ".join(map(str, [o.value for o in found.observations] + [found.features]))
            for command in payload["commands"]:
                assert len(command["command_text"]) < 8 or command["command_text"] not in told
