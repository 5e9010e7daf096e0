"""The whole engine, sensor to alert, on real sessions of two attackers that were given one address."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from decnet.home import packaged_demo_dir
from decnet.ids import attacker_id, identity_id
from tests.programkit import listed, run_until_idle
from tests.simulator.mixer import (
    UNLINKED,
    Mixed,
    mix,
    read_log,
    sessions_of,
    share_right,
    without_hassh,
    write_log,
)

COUNT = 24
DECIDABLE = {
    "client, account, work": ("manual", "script"),
    "no hassh: banner, account, work": ("manual, no hassh", "script, no hassh"),
    "telnet beside ssh": ("telnet bots", "recon bots"),
    "manual beside telnet": ("manual", "telnet bots"),
    "one command beside manual": ("recon bots", "manual"),
    "one command beside droppers": ("recon bots", "droppers"),
    "droppers beside checkers": ("droppers", "checkers"),
    "explorer beside miner": ("explorer", "miner"),
    "thief beside persistence": ("thief", "persistence"),
    "careful beside wiper": ("careful", "wiper"),
}
ONE_WITNESS = {
    "same tool, same account: one command beside script": ("recon bots", "script"),
    "same tool, same account: brute force beside miner": ("brute force", "miner"),
}
"""Pairs that differ in what they do only: not decidable, and silence is right."""
SINGLE = ("manual", "script", "varied", "recon bots", "telnet bots", "droppers", "brute force", "checkers")
"""Both sides from the same attackers: silence is right."""
ALONE = (*SINGLE, "explorer", "miner", "thief", "careful", "wiper")
"""The same where no addresses are linked. Linked to a pair that one of them is half of, a third address of his would
leave the other half a sixth of the sessions that are looked at, and silence would be right there too."""


def sources() -> dict[str, list[list[dict[str, Any]]]]:
    """Sessions of the demo's attackers by who they are."""
    log = read_log(packaged_demo_dir() / "cowrie.json")
    manual = sessions_of(log, "203.0.113.77", client="PuTTY")
    script = sessions_of(log, "203.0.113.77", client="Go")
    return {
        "manual": manual,
        "script": script,
        "manual, no hassh": without_hassh(manual),
        "script, no hassh": without_hassh(script),
        "varied": sessions_of(log, "198.51.100.42"),
        "explorer": sessions_of(log, "198.51.100.23"),
        "recon bots": sessions_of(log, "203.0.113.61"),
        "telnet bots": sessions_of(log, "198.51.100.201", "198.51.100.202"),
        "droppers": sessions_of(log, "192.0.2.151"),
        "miner": sessions_of(log, "198.51.100.150"),
        "brute force": sessions_of(log, "198.51.100.101"),
        "checkers": sessions_of(log, "203.0.113.31"),
        "thief": sessions_of(log, "192.0.2.199"),
        "persistence": sessions_of(log, "203.0.113.140"),
        "careful": sessions_of(log, "192.0.2.60"),
        "wiper": sessions_of(log, "203.0.113.90"),
    }


def made(alone: Sequence[str] = SINGLE) -> dict[str, Mixed]:
    """One address for each kind of mixture, and for each of those who stand alone."""
    of = sources()
    assert all(of.values()), [name for name, sessions in of.items() if not sessions]
    pairs = {name: [of[one], of[other]] for name, (one, other) in (DECIDABLE | ONE_WITNESS).items()}
    singles = {f"single: {name}": [of[name]] for name in alone}
    return {
        name: mix(f"203.0.113.{100 + n}", sides, COUNT, 1)
        for n, (name, sides) in enumerate((pairs | singles).items())
    }


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_mixed_attackers_are_found_over_all_addresses_of_an_identity(tmp_path: Path) -> None:
    """A hand that is in several mixtures owns the same hosts in each, so that their addresses are linked, rightly."""
    mixtures, log, data = made(), tmp_path / "cowrie.json", tmp_path / "data"
    write_log(log, mixtures.values())
    done = run_until_idle(log, data, timeout=200)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    alerts = {row["identity_uuid"]: row for row in listed("alerts", data)}
    identities = {
        one: row for row in listed("identities", data) for one in row["addresses"] if row["state"] != "merged"
    }
    sensors = {record["session"]: record["sensor"] for one in mixtures.values() for record in one.records}
    for name in DECIDABLE:
        mixed = mixtures[name]
        alert = alerts[identities[mixed.address]["identity_uuid"]]
        assert share_right(mixed, alert["sides"], sensors) >= 0.9, name
    several = {mixtures[name].address for name in DECIDABLE}
    for alert in alerts.values():
        (own,) = {
            id(row): row for row in identities.values() if row["identity_uuid"] == alert["identity_uuid"]
        }.values()
        assert several & {*own["addresses"]}, "an alert is about an identity that somebody else is in"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_mixed_attackers_are_found_and_single_ones_left_alone(tmp_path: Path) -> None:
    """Each address by itself: linking is off, since the same few hands stand at many addresses here."""
    mixtures, log, data = made(ALONE), tmp_path / "cowrie.json", tmp_path / "data"
    write_log(log, mixtures.values())
    done = run_until_idle(log, data, timeout=200, settings=UNLINKED)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    alerts = {row["identity_uuid"]: row for row in listed("alerts", data)}
    sensors = {record["session"]: record["sensor"] for one in mixtures.values() for record in one.records}
    found, wrong = [], []
    print()
    for name, mixed in mixtures.items():
        alert = alerts.get(identity_id(attacker_id(mixed.address)))
        share = share_right(mixed, alert["sides"], sensors) if alert else 0.0
        print(
            f"{name:52s} {'alert' if alert else '-':6s} {share:4.0%}  {', '.join(alert['families']) if alert else ''}"
        )
        if name in DECIDABLE:
            found.append(alert is not None and share >= 0.9)
        elif alert:
            wrong.append(name)
    assert wrong == []
    assert len(ALONE) == 13
    assert found == [True] * 10
    assert all(row["state"] == "open" for row in alerts.values())

    states = listed("attribution", data)
    assert run_until_idle(log, data, timeout=200, settings=UNLINKED).returncode == 0
    assert listed("attribution", data) == states
    assert {row["identity_uuid"]: row for row in listed("alerts", data)} == alerts


def test_a_mixture_keeps_what_is_real(tmp_path: Path) -> None:
    """Lines, intervals and time of day stay; address, day and id change; the truth names every session."""
    mixed = next(iter(made().values()))
    write_log(tmp_path / "log", [mixed])
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert {line["src_ip"] for line in lines} == {mixed.address}
    assert {line["session"] for line in lines} == set(mixed.truth)
    assert set(mixed.truth.values()) == {0, 1}
    assert [line["timestamp"] for line in lines] == sorted(line["timestamp"] for line in lines)
