"""What is noted to be asked after some events: new addresses, files, URLs; nothing that is not public or the operator's own."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.config import load_settings
from decnet.ids import attacker_id
from decnet.intel.questions import MAX_OF_SESSION, Wanted, wanted_of
from decnet.intel.services.catalogue import SERVICES
from decnet.intel.services.desk import Desk
from decnet.intel.worker import ENDED, OBSERVED, IntelWorker
from decnet.runtime.received import received
from tests.servicekit import ADDRESS, OTHER, SHA256, URL

NAMES = tuple(SERVICES)
ON = {"enabled": True, "key": "k"}
KINDS = {name: service.kinds for name, service in SERVICES.items()}


async def keep(_rows: Any) -> None:
    raise AssertionError("nothing is asked yet")


DESK_SETTINGS = load_settings(intel={"own_networks": ["185.1.2.0/24"]}, **dict.fromkeys(NAMES, ON))


def wanted(*events: Event, names: tuple[str, ...] = NAMES, ignored: str = "") -> tuple[Wanted, Counter[str]]:
    desk = Desk(DESK_SETTINGS, keep)
    found = wanted_of(
        [received(event) for event in events],
        {name: KINDS[name] for name in names},
        desk.askable,
        lambda address: address == ignored,
    )
    return found, Counter({why: n for why, n in desk.health()["not_asked"].items() if n})


def observed(ip: str, ts: float = 5.0) -> Event:
    return Event(OBSERVED, {"attacker_ip": ip, "attacker_uuid": attacker_id(ip)}, ts=ts)


def ended(ts: float = 5.0, ip: str = ADDRESS, **lists: Any) -> Event:
    return Event(ENDED, {"session_id": "s", "attacker_ip": ip, "ended_at": ts, **lists}, ts=ts)


def asked(found: Wanted) -> list[tuple[str, str, str]]:
    return sorted((q["service"], q["kind"], q["value"]) for q in found.questions.values())


def test_a_new_attacker_is_a_question_to_each_service_that_knows_addresses() -> None:
    found, _ = wanted(observed(f"::ffff:{ADDRESS}", 5.0), observed(ADDRESS, 7.0), observed(ADDRESS, 6.0))
    assert asked(found) == [
        (name, "address", ADDRESS) for name in ("abuseipdb", "feodo", "greynoise", "threatfox", "urlhaus")
    ]
    for question in found.questions.values():
        assert (question["attacker_uuid"], question["ts"]) == (attacker_id(ADDRESS), 7.0), (
            "the newest reason counts"
        )
        assert (question["tries"], question["not_before"]) == (0, 0.0)


def test_files_and_urls_of_a_session_are_questions_about_nobodys_address() -> None:
    found, not_asked = wanted(
        ended(
            downloads=[{"url": URL, "sha256": SHA256.upper()}, {"url": "http://nas.local/x", "sha256": None}],
            uploads=[{"filename": "x", "sha256": SHA256}, {"filename": "y", "sha256": "b" * 64}],
        )
    )
    assert asked(found) == [
        ("urlhaus", "sha256", SHA256), ("urlhaus", "sha256", "b" * 64), ("urlhaus", "url", URL),
        ("virustotal", "sha256", SHA256), ("virustotal", "sha256", "b" * 64),
    ]  # fmt: skip
    assert {question["attacker_uuid"] for question in found.questions.values()} == {None}
    assert not_asked == {"inner_name": 1}


@pytest.mark.parametrize(
    ("ip", "why"),
    [
        ("10.0.0.1", "special_address"),
        ("203.0.113.7", "special_address"),
        ("100.64.0.1", "special_address"),
        ("fe80::1", "special_address"),
        ("2001:db8::1", "special_address"),
        ("185.1.2.3", "own_network"),
        ("no address", "no_value"),
    ],
)
def test_nobody_is_asked_about_an_address_that_is_not_public_or_the_operators_own(ip: str, why: str) -> None:
    found, not_asked = wanted(observed(ip))
    assert asked(found) == []
    assert not_asked == {why: 1}


def test_nothing_is_asked_about_sources_that_are_ignored() -> None:
    files = {"downloads": [{"url": URL, "sha256": SHA256}]}
    found, _ = wanted(observed(ADDRESS), ended(**files), ignored=ADDRESS)
    assert asked(found) == []
    found, _ = wanted(observed(OTHER), names=("greynoise",), ignored=ADDRESS)
    assert asked(found) == [("greynoise", "address", OTHER)]


@pytest.mark.parametrize(("files", "left_out"), [(MAX_OF_SESSION, 0), (MAX_OF_SESSION + 1, 1)])
def test_a_session_that_names_too_much_does_not_use_up_a_budget(files: int, left_out: int) -> None:
    uploads = [{"filename": "x", "sha256": f"{n:064x}"} for n in range(files)]
    found, _ = wanted(ended(uploads=[*uploads, *uploads]), names=("virustotal",))
    assert (len(found.questions), found.left_out) == (MAX_OF_SESSION, left_out)


@pytest.mark.parametrize(
    ("names", "topics"),
    [
        ((), ()),
        (("greynoise",), (OBSERVED,)),
        (("feodo", "threatfox"), (OBSERVED,)),
        (("virustotal",), (ENDED,)),
        (("urlhaus",), (OBSERVED, ENDED)),
        (NAMES, (OBSERVED, ENDED)),
    ],
)
def test_a_topic_is_read_only_for_a_service_that_is_on(
    names: tuple[str, ...], topics: tuple[str, ...]
) -> None:
    worker = IntelWorker(load_settings(**dict.fromkeys(names, ON)))
    assert worker.topics == topics
    assert ("ask" in worker.background()) is bool(names)
