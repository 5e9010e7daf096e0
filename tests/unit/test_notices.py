"""What people are told of sessions, sensors, workers and disks: when it begins, once, and again only after it was over."""

from __future__ import annotations

from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.events.ttp import SEVERITIES
from decnet.runtime import notices
from decnet.runtime.notices import BadSessions, PartNews


def judged(session: Any, severity: Any, **more: Any) -> Event:
    return Event("ttp.session.judged", {"session_id": session, "severity": severity, **more}, ts=7.0)


@pytest.mark.parametrize("least", SEVERITIES)
def test_a_session_is_told_from_the_asked_severity_on(least: str) -> None:
    told = [one for one in SEVERITIES if BadSessions(least).messages(judged("s", one))]
    assert told == list(SEVERITIES[: SEVERITIES.index(least) + 1])


def test_a_session_is_told_again_only_when_it_got_worse() -> None:
    made = BadSessions("medium")
    assert [bool(made.messages(judged("s", one))) for one in ("medium", "medium", "high", "medium", "high", "critical")] == [
        True, False, True, False, False, True,
    ]  # fmt: skip
    assert made.messages(judged("t", "high")), "another one is another one"


def test_what_is_told_of_a_session_is_what_people_go_by() -> None:
    said = {
        "attacker_uuid": "a",
        "decky_id": "web-01",
        "severity_reason": "ran a file",
        "playbook": "dropper",
        "story_line": "x",
    }
    (message,) = BadSessions("high").messages(judged("s", "high", **said))
    assert message == {
        "kind": "session_severity", "ts": 7.0, "session_id": "s", "attacker_uuid": "a", "decky_id": "web-01", "severity": "high",
        "severity_reason": "ran a file", "playbook": "dropper",
    }  # fmt: skip


@pytest.mark.parametrize(
    "event",
    [judged(None, "high"), judged(7, "high"), judged("s", "worst"), judged("s", None), judged("s", ["high"])],
)
def test_a_judgement_that_is_none_is_passed_over(event: Event) -> None:
    assert BadSessions("info").messages(event) == []


def test_so_many_sessions_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "REMEMBERED", 2)
    made = BadSessions("high")
    assert [bool(made.messages(judged(name, "high"))) for name in "abab"] == [True, True, False, False]
    assert made.messages(judged("c", "high"))
    assert made.messages(judged("b", "high")) == []
    assert made.messages(judged("a", "high")), "the oldest is forgotten"


def health(worker: str = "sensors", host: str = "h1", **said: Any) -> Event:
    return Event(f"system.{worker}.health", {"host": host, "state": "ok", **said}, ts=9.0)


def sensor(state: str, path: str = "/log/a", **more: Any) -> dict[str, Any]:
    return {"kind": "cowrie", "path": path, "state": state, **more}


def kinds(made: PartNews, event: Event) -> list[str]:
    return [message["kind"] for message in made.messages(event)]


@pytest.mark.parametrize(
    ("state", "kind"),
    [("silent", "sensor_silent"), ("missing", "sensor_failed"), ("unreadable", "sensor_failed")],
)
def test_a_sensor_is_told_when_it_goes_and_again_after_it_came_back(state: str, kind: str) -> None:
    made = PartNews()
    states = ("ok", state, state, "ok", state)
    assert [kinds(made, health(sensors=[sensor(one)])) for one in states] == [[], [kind], [], [], [kind]]


def test_a_sensor_that_goes_from_silent_to_missing_is_told_anew() -> None:
    made = PartNews()
    assert kinds(made, health(sensors=[sensor("silent")])) == ["sensor_silent"]
    assert kinds(made, health(sensors=[sensor("missing")])) == ["sensor_failed"]


def test_each_sensor_is_one_of_its_own_and_says_why() -> None:
    made = PartNews()
    rows = [sensor("unreadable", problems={"/log/a": "Permission denied"}), sensor("silent", "/log/b")]
    first, second = made.messages(health(sensors=rows))
    assert first == {
        "kind": "sensor_failed", "ts": 9.0, "worker": "sensors", "host": "h1", "sensor": "/log/a", "sensor_kind": "cowrie",
        "state": "unreadable", "note": "Permission denied",
    }  # fmt: skip
    assert (second["sensor"], second["note"]) == ("/log/b", "")


def test_a_full_disk_is_told_once_for_a_host_however_many_say_so() -> None:
    made = PartNews()
    full = {"state": "degraded", "note": "Disk full: nothing is acknowledged"}
    assert kinds(made, health("ttp", **full)) == ["disk_full"]
    assert kinds(made, health("recorder", **full)) == []
    assert kinds(made, health("ttp", **full)) == []
    assert kinds(made, health("ttp", host="h2", **full)) == ["disk_full"], "another host has another disk"
    assert kinds(made, health("ttp")) == []
    assert kinds(made, health("ttp", **full)) == [], "the recorder still says so"
    assert kinds(made, health("recorder")) == kinds(made, health("ttp")) == []
    assert kinds(made, health("ttp", **full)) == ["disk_full"]
    assert kinds(PartNews(), health("sensors", note="[Errno 28] No space left on device")) == ["disk_full"]


def test_a_worker_that_failed_is_told() -> None:
    made = PartNews()
    states = ("ok", "failed", "failed", "waiting_for_bus", "failed")
    assert [kinds(made, health("ttp", state=one)) for one in states] == [
        [],
        ["worker_failed"],
        [],
        [],
        ["worker_failed"],
    ]


@pytest.mark.parametrize(
    "said", [{"sensors": 7}, {"sensors": [7, None]}, {"note": 7, "state": 8}, {"sensors": [{}]}]
)
def test_a_heartbeat_that_is_none_is_passed_over(said: dict[str, Any]) -> None:
    assert PartNews().messages(health(**said)) == []
