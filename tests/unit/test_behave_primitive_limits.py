"""Every primitive at its limits: below what is enough nothing is said, at a bound the label changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from decnet.behave import EXTRACTOR_VERSION, lexicon
from decnet.behave import thresholds as t
from decnet.behave.cognitive import cognitive, error_rate
from decnet.behave.evidence import Command, Evidence, parsed
from decnet.behave.extract import ending_of, evidence_ref
from decnet.behave.features import keyed, session_features
from decnet.behave.keys import KeyFacts, Line
from decnet.behave.measures import Finding, deviation, grade, logs, pearson, sure, two_groups, variation
from decnet.behave.motor import motor
from decnet.behave.operational import _break_in_tempo, operational
from decnet.behave.rhythm import Rhythm
from decnet.behave.surroundings import emotional, environmental, toolchain
from decnet.behave.temporal import temporal
from decnet.events.session import SessionEnded
from tests.behavekit import extract, session

Subject = Callable[[Evidence], Iterator[Finding]]
COMMAND = parsed("echo x")


def test_whoever_changes_a_threshold_raises_the_version_of_the_extractor() -> None:
    """Stored sessions are extracted again by the version only: a bound may not move beneath it."""
    shown = {n: sorted(v) if isinstance(v, frozenset) else list(v) if isinstance(v, (range, tuple)) else v
             for n, v in vars(t).items() if n.isupper()}  # fmt: skip
    digest = hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()[:16]
    assert {1: "144fd152b6269974"}.get(EXTRACTOR_VERSION) == digest, (
        "thresholds changed: raise EXTRACTOR_VERSION and add its digest here"
    )


def lines(number: int, **more: Any) -> list[Line]:
    return [Line("command", float(n), **{"live": 5, "text": "id"} | more) for n in range(number)]  # type: ignore[arg-type]


def rhythm(count: int = 60, **more: Any) -> Any:
    base = {"cv": 0.5, "octaves": 0.5, "median": 0.15, "pauses": 0, "autocorrelation": 0.0}
    return SimpleNamespace(**base | {"count": count, "simhash": lambda: None} | more)


def struck(**more: Any) -> KeyFacts:
    facts = KeyFacts(live=100, events=100)
    for name, value in more.items():
        setattr(facts, name, value)
    return facts


def evidence(commands: int = 0, gap: float = 1.0, keys: KeyFacts | None = None, **more: Any) -> Evidence:
    rows = [Command(COMMAND, gap * n) for n in range(commands)]
    base: dict[str, Any] = {"end_reason": "closed", "duration_s": 10.0, "protocol": "ssh", "commands": rows}
    base |= {"client": {"hassh": None, "version": None, "kex": []}, "command_count": commands}
    return Evidence(
        session_id="s", attacker_uuid="a", started_at=0.0, ended_at=100.0, keys=keys, **base | more
    )


def said(subject: Subject, found: Evidence) -> dict[str, Any]:
    findings = list(subject(found))
    assert all(0.0 <= confidence <= 1.0 for _, _, confidence in findings)
    return {name.rpartition(".")[2]: value for name, value, _ in findings}


def keys_said(subject: Subject, **more: Any) -> dict[str, Any]:
    return said(subject, evidence(keys=struck(**more)))


# --- measures -------------------------------------------------------------------------------------


def test_a_bound_belongs_to_the_interval_above_it() -> None:
    assert [grade(v, (1.0, 2.0), "abc") for v in (0.99, 1.0, 1.99, 2.0, 3.0)] == list("abbcc")


def test_confidence_is_half_of_the_most_at_half_and_never_beyond_it() -> None:
    assert (sure(0, 5), sure(5, 5), sure(5, 5, 0.8)) == (0.0, 0.475, 0.4)
    assert 0.94 < sure(10**9, 5) <= 0.95
    assert sure(6, 5) > sure(5, 5)


def test_small_statistics_at_their_edges() -> None:
    assert variation([0.0, 0.0]) == 0.0
    assert deviation([1.0, 3.0]) == 1.0
    assert variation([1.0, 3.0]) == 0.5
    assert logs([0.0, 4.0], 0.5) == [-1.0, 2.0]
    assert pearson([(1.0, 1.0), (1.0, 2.0)]) is None
    assert pearson([(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)]) == pytest.approx(1.0)
    assert two_groups([9.0, 1.0, 1.0, 9.0, 9.0]) == ([1.0, 1.0], [9.0, 9.0, 9.0])
    assert two_groups([1.0, 9.0, 9.0]) == ([1.0], [9.0, 9.0])


# --- motor ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("live", "pasted", "label"),
    [
        (91, 9, "typed"),
        (90, 10, "mixed"),
        (11, 89, "mixed"),
        (10, 90, "pasted"),
        (1, 0, "typed"),
        (0, 1, "pasted"),
    ],
)
def test_modality_by_the_share_of_what_was_pasted(live: int, pasted: int, label: str) -> None:
    assert keys_said(motor, live=live, pasted=pasted)["input_modality"] == label


def test_no_keys_no_motor() -> None:
    assert keys_said(motor, live=0) == {}
    assert said(motor, evidence()) == {}
    assert set(keys_said(motor, live=1)) == {"input_modality"}, "one key says only how it came"


def test_a_telnet_client_in_line_mode_is_believed_less() -> None:
    def confidence(protocol: str, live: int) -> float:
        found = evidence(keys=struck(live=live, pasted=10_000), protocol=protocol)
        return next(c for name, _, c in motor(found) if name == "motor.input_modality")

    assert confidence("telnet", 0) < 0.6 < confidence("telnet", 1)
    assert confidence("ssh", 0) > 0.9


@pytest.mark.parametrize(
    ("whole", "pasted", "pastes", "rate"),
    [
        (2, 2, 1, None),
        (3, 0, 0, "none"),
        (3, 1, 1, "occasional"),
        (4, 2, 1, "habitual"),
        (4, 1, 1, "occasional"),
        (3, 3, 0, "none"),
    ],
)
def test_paste_rate_from_three_lines_on(whole: int, pasted: int, pastes: int, rate: str | None) -> None:
    some = [*lines(pasted, live=0, pasted=5), *lines(whole - pasted)]
    assert keys_said(motor, lines=some, pastes=pastes).get("paste_burst_rate") == rate
    assert keys_said(motor, lines=[*lines(2), *lines(2, live=0)]).get("paste_burst_rate") is None, (
        "empty lines"
    )


def test_rhythm_needs_thirty_gaps() -> None:
    assert "keystroke_cadence" not in keys_said(motor, rhythm=rhythm(29))
    assert "motor_stability" in keys_said(motor, rhythm=rhythm(30))
    machine = {"rhythm": rhythm(0), "live": 1, "pasted": 2}
    assert keys_said(motor, **machine, pastes=3)["keystroke_cadence"] == "machine"
    assert "keystroke_cadence" not in keys_said(motor, **machine, pastes=2)
    assert "keystroke_cadence" not in keys_said(motor, **machine | {"live": 2}, pastes=3)


@pytest.mark.parametrize(
    ("more", "label"),
    [
        ({"cv": 0.0999}, "machine"),
        ({"cv": 0.10}, "steady"),
        ({"median": 0.40}, "hunt_and_peck"),
        ({"median": 0.3999}, "steady"),
        ({"count": 96, "pauses": 4}, "bursty"),
        ({"count": 97, "pauses": 4}, "steady"),
        ({"octaves": 0.75}, "steady"),
        ({"octaves": 0.7501}, "bursty"),
        ({"cv": 0.05, "median": 1.0}, "machine"),
    ],
)
def test_cadence_at_its_bounds(more: dict[str, Any], label: str) -> None:
    assert keys_said(motor, rhythm=rhythm(**more))["keystroke_cadence"] == label


@pytest.mark.parametrize(
    ("more", "label"),
    [
        ({"count": 100, "autocorrelation": -0.4}, "tremor"),
        ({"count": 99, "autocorrelation": -0.4}, "steady"),
        ({"count": 100, "autocorrelation": -0.39}, "steady"),
        ({"octaves": 0.6}, "steady"),
        ({"octaves": 0.61}, "variable"),
    ],
)
def test_stability_at_its_bounds(more: dict[str, Any], label: str) -> None:
    assert keys_said(motor, rhythm=rhythm(**more))["motor_stability"] == label


def test_a_simhash_needs_fifty_gaps() -> None:
    few = Rhythm()
    for n in range(49):
        few.add(0.1 + n * 0.001, "ab")
    assert few.simhash() is None
    few.add(0.2, "ab")
    assert len(few.simhash() or "") == 16
    assert "digraph_simhash" in keys_said(motor, rhythm=few)


@pytest.mark.parametrize(
    ("more", "label"),
    [
        ({"live": 99}, None),
        ({"live": 100}, "absent"),
        ({"immediate": 1}, "immediate"),
        ({"immediate": 1, "deferred": 1}, "immediate"),
        ({"immediate": 1, "deferred": 2}, "deferred"),
        ({"immediate": 1, "kills": 1}, "immediate"),
        ({"immediate": 1, "kills": 1, "abandoned": 1}, "route_around"),
        ({"live": 5, "abandoned": 1}, "route_around"),
        ({"lines": lines(1, recalled=True, deletions=1)}, "route_around"),
        ({"lines": lines(1, recalled=True), "live": 5}, None),
    ],
)
def test_corrections_at_their_bounds(more: dict[str, Any], label: str | None) -> None:
    assert keys_said(motor, **more).get("error_correction") == label


@pytest.mark.parametrize(
    ("some", "chunking"),
    [
        (lines(2), None),
        (lines(3), "single_command"),
        ([*lines(2), *lines(1, text="id; ls")], "fluent"),
        ([*lines(3), *lines(2, pauses=1)], "fragmented"),  # two in five
        ([*lines(4), *lines(2, pauses=1)], "single_command"),
        ([*lines(2), *lines(3, live=5, pasted=5)], None),  # not struck for the greater part
    ],
)
def test_chunking_needs_three_struck_lines(some: list[Line], chunking: str | None) -> None:
    found = keys_said(motor, lines=some)
    assert found.get("command_chunking") == chunking
    assert ("tab_completion" in found) == (chunking is not None)


@pytest.mark.parametrize(
    ("name", "number", "label"),
    [("tabs", 0, "none"), ("tabs", 1, "occasional"), ("tabs", 2, "habitual"), ("shortcuts", 0, "none"), ("shortcuts", 1, "moderate"), ("shortcuts", 2, "heavy")],
)  # fmt: skip
def test_completion_and_shortcuts_from_one_in_two_lines(name: str, number: int, label: str) -> None:
    found = keys_said(motor, lines=lines(4), **{name: number})
    assert found["tab_completion" if name == "tabs" else "shortcut_usage"] == label


@pytest.mark.parametrize(("pipes", "label"), [(1, "shallow"), (2, "moderate"), (3, "moderate"), (4, "deep")])
def test_depth_of_pipes(pipes: int, label: str) -> None:
    rows = [Command(parsed("|".join(["cat"] * (pipes + 1))), 0.0), Command(COMMAND, 1.0)]
    assert said(motor, _with(rows)) == {"pipe_chaining_depth": label}


# --- cognitive ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("commands", "names"),
    [
        (2, set()),
        (3, {"inter_command_latency_class"}),
        (4, {"inter_command_latency_class", "inter_command_consistency"}),
        (5, {"inter_command_latency_class", "inter_command_consistency", "tool_vocabulary", "command_branch_diversity",
             "exploration_style", "planning_depth"}),
    ],
)  # fmt: skip
def test_what_so_many_commands_tell(commands: int, names: set[str]) -> None:
    assert set(said(cognitive, evidence(commands))) == names


@pytest.mark.parametrize(
    ("gap", "label"),
    [
        (0.125, "instant"),
        (0.2, "typing_speed"),
        (2.0, "llm_lightweight"),
        (8.0, "llm_heavyweight"),
        (30.0, "long"),
    ],
)
def test_latency_classes_begin_at_their_bounds(gap: float, label: str) -> None:
    rows = [Command(COMMAND, at) for at in (0.0, gap, gap + gap)]
    assert said(cognitive, _with(rows))["inter_command_latency_class"] == label
    if label.startswith("llm_"):
        for live, pasted, expected in ((2, 1, "deliberate"), (1, 1, label)):
            by_hand = _with(rows, keys=struck(live=live, pasted=pasted))
            assert said(cognitive, by_hand)["inter_command_latency_class"] == expected


def _with(rows: list[Command], **more: Any) -> Evidence:
    found = evidence(**more)
    found.commands = rows
    return found


def _gaps(*gaps: float) -> Evidence:
    rows, now = [Command(COMMAND, 0.0)], 0.0
    for gap in gaps:
        now += gap
        rows.append(Command(COMMAND, now))
    return _with(rows)


@pytest.mark.parametrize(
    ("gaps", "label"),
    [
        ((4.0, 6.0, 4.0, 6.0), "variable"),  # exactly a fifth
        ((4.1, 5.9, 4.1, 5.9), "metronomic"),
        ((1.0, 1.0, 1.0, 1.0, 8.0, 8.0, 8.0, 8.0), "bimodal"),
        ((1.0, 1.0, 1.0, 1.0, 8.0, 8.0, 8.0), "variable"),  # seven gaps
        ((1.0, 1.0, 1.0, 1.0, 4.0, 4.0, 4.0, 4.0), "variable"),  # a factor of four
        ((1.0,) * 8 + (8.0, 8.0), "bimodal"),  # a fifth on one side
        ((1.0,) * 9 + (8.0, 8.0), "variable"),
    ],
)
def test_consistency_at_its_bounds(gaps: tuple[float, ...], label: str) -> None:
    assert said(cognitive, _gaps(*gaps))["inter_command_consistency"] == label


def _texts(*texts: str, failed: tuple[int, ...] = ()) -> Evidence:
    return _with([Command(parsed(text), float(n), n in failed) for n, text in enumerate(texts)])


@pytest.mark.parametrize(
    ("tools", "label"), [(4, "narrow"), (5, "moderate"), (11, "moderate"), (12, "broad")]
)
def test_vocabulary_by_the_number_of_tools(tools: int, label: str) -> None:
    texts = [f"tool{chr(97 + n % tools)}" for n in range(max(tools, 5))]
    assert said(cognitive, _texts(*texts))["tool_vocabulary"] == label


@pytest.mark.parametrize(
    ("distinct", "label"), [(8, "linear_playbook"), (7, "unknown"), (6, "adaptive_branching")]
)
def test_branching_by_the_share_of_distinct_tools(distinct: int, label: str) -> None:
    texts = [f"tool{chr(97 + min(n, distinct - 1))}" for n in range(10)]
    assert said(cognitive, _texts(*texts))["command_branch_diversity"] == label


@pytest.mark.parametrize(
    ("texts", "label"),
    [
        (("id", "x", "y", "z", "q", "v"), "targeted"),
        (("id", "who", "y", "z", "q"), "methodical"),
        (("id", "ls", "id", "ls", "id"), "chaotic"),
        (("id", "id", "ls", "ls", "id"), "methodical"),
    ],
)
def test_exploration_at_its_bounds(texts: tuple[str, ...], label: str) -> None:
    assert said(cognitive, _texts(*texts))["exploration_style"] == label


@pytest.mark.parametrize(
    ("texts", "failed", "label"),
    [
        (("id", "wget http://x/y", "useradd q", "id", "id", "id"), (), "deep"),  # four steps of five forward
        (("id", "wget http://x/y", "useradd q", "id", "id"), (), "shallow"),
        (("id", "wget http://x/y", "id", "id", "x"), (), "shallow"),
        (("useradd q", "wget http://x/y", "id", "id", "x"), (), "shallow"),
        (("a", "b", "c", "d", "e"), (0, 1), "reactive"),
        (("a", "b", "c", "d", "e"), (0,), "shallow"),
        (("a", "b", "c", "d", "e"), (0, 4), "shallow"),  # nobody answered the last one
    ],
)
def test_planning_at_its_bounds(texts: tuple[str, ...], failed: tuple[int, ...], label: str) -> None:
    assert said(cognitive, _texts(*texts, failed=failed))["planning_depth"] == label


@pytest.mark.parametrize(
    ("texts", "failed", "tactic", "manual"),
    [
        (("wegt x", "wget x"), (0,), "modify", "absent"),
        (("a", "a"), (0,), "rerun", "absent"),
        (("a x", "b x"), (0,), "switch", "absent"),
        (("a", "b"), (0,), "abort", "absent"),
        (("a", "man a"), (0,), "abort", "present"),
        (("a",), (0,), None, None),
        (("a", "exit"), (0,), None, None),  # leaving answers nothing
        (("man a",), (), None, None),
        (("man a", "b"), (), None, "present"),
        (("ab", "ba"), (0,), "abort", "absent"),  # two letters are no misspelling
    ],
)
def test_answers_to_failures(
    texts: tuple[str, ...], failed: tuple[int, ...], tactic: str | None, manual: str | None
) -> None:
    found = said(cognitive, _texts(*texts, failed=failed))
    assert (found.get("retry_tactic"), found.get("fallback_to_man")) == (tactic, manual)


def _feedback(pairs: list[tuple[int, float | None]]) -> Any:
    some = [Line("command", 0.0), *(Line("command", 0.0, shown=shown, pause=pause) for shown, pause in pairs)]
    return keys_said(cognitive, lines=some, rhythm=rhythm(0)).get("feedback_loop_engagement")


def test_feedback_needs_five_samples_and_a_correlation_of_three_tenths() -> None:
    assert keys_said(cognitive, rhythm=rhythm(0)) == {}
    assert _feedback([(n * 10, float(n)) for n in range(1, 5)]) == "unknown"
    assert _feedback([(n * 10, float(n)) for n in range(1, 6)]) == "closed_loop"
    assert _feedback([(n * 10, float(9 - n)) for n in range(1, 6)]) == "fire_and_forget"
    assert _feedback([(10, 1.0)] * 9) == "fire_and_forget"
    assert _feedback([(10, None)] * 9) == "unknown"
    assert _feedback([(0, 1.0)] * 9) == "unknown", "nothing was shown"
    absent = [(10, 1.0), (20, 2.0), (30, 3.0), (40, 4.0), (1, 9_999.0)]
    assert _feedback(absent) == _feedback([*absent[:4], (1, 60.0)]) == "fire_and_forget"


@pytest.mark.parametrize(
    ("more", "label"),
    [
        ({}, "low"),
        ({"pause": 5.9}, "low"),
        ({"pause": 6.0}, "medium"),
        ({"pause": 6.0, "deletions": 10}, "high"),
        ({"deletions": 9}, "low"),
        ({"deletions": 10}, "medium"),
        ({"broken": 2}, "medium"),
        ({"broken": 1}, "low"),
        ({"pause": 6.0, "deletions": 10, "broken": 5}, "high"),
    ],
)
def test_load_is_a_point_for_each_sign(more: dict[str, Any], label: str) -> None:
    some = [*lines(5 - more.get("broken", 0), pause=more.get("pause", 1.0)),
            *lines(more.get("broken", 0), pause=more.get("pause", 1.0), pauses=1)]  # fmt: skip
    found = keys_said(cognitive, lines=some, rhythm=rhythm(60), immediate=more.get("deletions", 0))
    assert found["cognitive_load"] == label


def test_load_and_affect_need_sixty_keys_and_three_pauses() -> None:
    some = {"lines": lines(3, pause=1.0)}
    for subject, name in ((cognitive, "cognitive_load"), (emotional, "valence")):
        assert name in keys_said(subject, **some, rhythm=rhythm(60))
        assert name not in keys_said(subject, **some, rhythm=rhythm(59))
        assert name not in keys_said(subject, lines=lines(2, pause=1.0), rhythm=rhythm(60))
        assert name not in keys_said(subject, lines=[*lines(2, pause=1.0), *lines(1)], rhythm=rhythm(60))


def test_the_rate_of_errors_is_per_struck_character() -> None:
    assert error_rate(struck(live=0, immediate=2)) == 2.0
    assert error_rate(struck(live=100, immediate=1, deferred=2, kills=3, abandoned=4)) == 0.1


def _typed(failures: int, rest: int, fast: float, slips: int) -> Any:
    slow = {"gaps": 4, "gap_logs": 0.0, "live": 100, "deletions": 1}
    quick = {"gaps": 4, "gap_logs": -4 * fast, "live": 100, "deletions": slips}
    some: list[Line] = lines(1, **slow)
    for _ in range(failures):
        some[-1].failed = True
        some += lines(1, **quick)
        some += lines(1, **slow)
    some += lines(rest, **slow)
    return keys_said(cognitive, lines=some, rhythm=rhythm(0)).get("frustration_typing")


def test_frustration_needs_two_failures_and_three_other_lines() -> None:
    assert _typed(1, 3, 1.0, 9) is None
    assert _typed(2, 0, 1.0, 9) is None
    assert _typed(2, 1, 1.0, 9) == "high"
    assert _typed(2, 1, 0.59, 9) == "high"
    assert _typed(2, 1, 0.58, 9) == "moderate", "less than half as fast again"
    assert _typed(2, 1, 1.0, 3) == "high", "three slips in a hundred, three times as many as else"
    assert _typed(2, 1, 1.0, 2) == "moderate"
    assert _typed(2, 1, 0.0, 1) == "low"


# --- temporal -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "label"),
    [
        (899.9, "short"),
        (900.0, "medium"),
        (5399.9, "medium"),
        (5400.0, "long"),
        (14399.9, "long"),
        (14400.0, "marathon"),
    ],
)
def test_duration_begins_at_its_bounds(seconds: float, label: str) -> None:
    assert said(temporal, evidence(duration_s=seconds)) == {"session_duration": label}


def test_escalation_needs_six_commands_and_landing_three() -> None:
    assert "escalation_pattern" not in said(temporal, evidence(5))
    assert said(temporal, evidence(6))["escalation_pattern"] == "sustained"
    assert "landing_ritual" not in said(temporal, _texts("id", "whoami"))
    assert said(temporal, _texts("id", "whoami", "uname"))["landing_ritual"] == "present"
    assert said(temporal, _texts("id", "whoami", "x"))["landing_ritual"] == "absent"
    assert said(temporal, _texts("x", "y", "z", "id", "whoami", "uname"))["landing_ritual"] == "present"
    assert said(temporal, _texts("x", "y", "z", "q", "id", "whoami", "uname"))["landing_ritual"] == "absent"


@pytest.mark.parametrize(
    ("gaps", "label"),
    [
        ((0.0, 2.0, 0.0, 2.0, 0.0, 2.0), "sustained"),  # as much spread as mean
        ((0.0, 0.0, 0.0, 0.0, 10.0, 10.0), "bursty"),  # one lull is half of the time
        ((0.0, 0.0, 0.0, 0.0, 0.0, 9.0, 8.0, 8.0), "erratic"),
    ],
)
def test_escalation_at_its_bounds(gaps: tuple[float, ...], label: str) -> None:
    assert said(temporal, _gaps(*gaps))["escalation_pattern"] == label


@pytest.mark.parametrize(
    ("texts", "more", "label"),
    [
        (("exit",), {}, None),
        (("a", "exit"), {}, "graceful"),
        (("rm x", "b", "c", "d", "exit"), {}, "cleanup"),
        (("rm x", "b", "c", "d", "e", "exit"), {}, "graceful"),
        (("a", "b"), {}, None),
        (("a", "b"), {"has_terminal": True}, "abrupt"),
        (("a", "b"), {"protocol": "telnet"}, "abrupt"),
        (("a", "b"), {"keys": KeyFacts(end_of_input=True)}, "graceful"),
    ],
)
def test_exit_at_its_bounds(texts: tuple[str, ...], more: dict[str, Any], label: str | None) -> None:
    found = evidence(**more)
    found.commands = [Command(parsed(text), float(n)) for n, text in enumerate(texts)]
    assert said(temporal, found).get("exit_behavior") == label
    found.end_reason = "eof"
    assert "exit_behavior" not in said(temporal, found)


def test_idle_gaps_are_longer_than_thirty_seconds_and_four() -> None:
    assert "idle_periodicity" not in said(temporal, _gaps(31.0, 31.0, 31.0))
    assert "idle_periodicity" not in said(temporal, _gaps(*[30.0] * 4))
    assert said(temporal, _gaps(*[31.0] * 4))["idle_periodicity"] == "periodic"
    assert said(temporal, _gaps(40.0, 60.0, 40.0, 60.0))["idle_periodicity"] == "periodic", "exactly a fifth"
    assert said(temporal, _gaps(40.0, 62.0, 40.0, 62.0))["idle_periodicity"] == "random"


def test_micro_pauses_are_five_to_fifteen_minutes_and_six() -> None:
    assert "periodic_micro_pauses" not in said(temporal, _gaps(*[300.0] * 5))
    assert said(temporal, _gaps(*[300.0] * 6))["periodic_micro_pauses"] == "regular_intervals_detected"
    assert said(temporal, _gaps(*[900.0] * 6))["periodic_micro_pauses"] == "regular_intervals_detected"
    assert "periodic_micro_pauses" not in said(temporal, _gaps(*[299.9] * 6))
    assert "periodic_micro_pauses" not in said(temporal, _gaps(*[900.1] * 6))
    far = _gaps(300.0, 5.0, 300.0, 9000.0, 300.0, 300.0, 9000.0, 300.0, 300.0)
    assert said(temporal, far)["periodic_micro_pauses"] == "none_detected"


# --- operational ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "objective"),
    [
        (("id",), "recon"),
        (("id", "x"), None),  # half is not most
        (("id", "ls", "x"), "recon"),
        (("id", "x", "exit"), None),
        (("id", "exit"), "recon"),
        (("useradd q", "mkfs /dev/sda"), "destructive"),
    ],
)
def test_recon_is_most_of_what_was_done(texts: tuple[str, ...], objective: str | None) -> None:
    assert said(operational, _texts(*texts)).get("objective") == objective


def test_discipline_needs_two_commands_and_carelessness_five_or_a_trace() -> None:
    assert "cleanup_behavior" not in said(operational, _texts("unset HISTFILE"))
    assert said(operational, _texts("unset HISTFILE", "id"))["opsec_discipline"] == "careful"
    assert "opsec_discipline" not in said(operational, _texts("a", "b", "c", "d"))
    assert said(operational, _texts("a", "b", "c", "d", "e"))["opsec_discipline"] == "careless"
    assert said(operational, _texts("touch q", "b"))["opsec_discipline"] == "careless"
    assert said(operational, _texts("touch q", "b"))["cleanup_behavior"] == "none"
    both = said(operational, _texts("touch q", "unset HISTFILE", "rm q"))
    assert (both["cleanup_behavior"], both["opsec_discipline"]) == ("thorough", "careful")
    partial = said(operational, _texts("touch q r", "touch z", "unset HISTFILE", "rm q"))
    assert (partial["cleanup_behavior"], partial.get("opsec_discipline")) == ("partial", None)


def _hands(lengths: list[int], octaves: list[float]) -> list[Line]:
    return [
        Line("command", 0.0, gaps=n, gap_logs=n * octave, gap_squares=n * octave * octave)
        for n, octave in zip(lengths, octaves, strict=True)
    ]


def test_a_second_hand_needs_keys_and_lines_on_both_sides() -> None:
    half = [-3.0] * 4 + [-2.0] * 4
    assert (
        keys_said(operational, lines=_hands([19] * 8, half))["multi_actor_indicators"] == "handoff_detected"
    )
    assert "multi_actor_indicators" not in keys_said(operational, lines=_hands([18] * 8, half)), "144 gaps"
    assert (
        keys_said(operational, lines=_hands([18] * 7 + [24], half))["multi_actor_indicators"]
        == "handoff_detected"
    )
    assert "multi_actor_indicators" not in keys_said(operational, lines=_hands([18] * 7 + [23], half)), "149"
    assert "multi_actor_indicators" not in keys_said(operational, lines=_hands([30] * 7, half[1:]))
    solo = _hands([19] * 8, [-3.0] * 4 + [-2.001] * 4)
    assert keys_said(operational, lines=solo)["multi_actor_indicators"] == "solo", "less than an octave"
    assert not _break_in_tempo(_hands([40] * 8, [-3.0] * 5 + [-2.0] * 3)), "four lines on either side"
    noisy = [Line("command", 0.0, gaps=2, gap_logs=2 * o, gap_squares=2 * (o * o + 4.0)) for o in half]
    assert not _break_in_tempo(noisy), "what eight standard errors explain"


# --- surroundings ---------------------------------------------------------------------------------


def test_the_multiplexer_by_two_keys_or_its_name_and_its_absence_after_many() -> None:
    def shown(**more: Any) -> Any:
        return keys_said(environmental, **more).get("terminal_multiplexer")

    assert (shown(tmux_keys=1), shown(tmux_keys=2)) == (None, "tmux")
    assert (shown(live=199), shown(live=200)) == (None, "none")
    named = evidence(keys=struck())
    named.commands = [Command(parsed("screen -r"), 0.0)]
    assert said(environmental, named)["terminal_multiplexer"] == "screen"


@pytest.mark.parametrize(
    ("more", "mode"),
    [
        ({"live": 0}, None),
        ({}, "unknown"),
        ({"emacs_keys": 1}, "emacs"),
        ({"vi_keys": 2}, "unknown"),
        ({"vi_keys": 3}, "vi"),
        ({"vi_keys": 3, "emacs_keys": 3}, "emacs"),
        ({"vi_keys": 4, "emacs_keys": 3}, "vi"),
    ],
)
def test_editing_mode_at_its_bounds(more: dict[str, Any], mode: str | None) -> None:
    assert keys_said(environmental, **more).get("editing_mode") == mode


@pytest.mark.parametrize(
    ("layout", "label"),
    [
        ({"qa": 10, "xy": 39}, None),
        ({"qa": 10, "xy": 40}, "azerty"),
        ({"qa": 9, "xy": 41}, "qwerty"),
        ({"yz": 10, "qa": 9, "xy": 31}, "qwertz"),
        ({"YZ": 10, "xy": 40}, "qwertz"),
    ],
)
def test_a_layout_needs_fifty_corrected_letters_and_a_fifth_of_them(
    layout: dict[str, int], label: str | None
) -> None:
    assert keys_said(environmental, layout=layout).get("keyboard_layout") == label


def test_the_shell_needs_two_commands_and_the_keypad_one_key() -> None:
    assert "shell_type" not in said(environmental, _texts("shopt -s x"))
    assert said(environmental, _texts("shopt -s x", "id"))["shell_type"] == "bash"
    assert "numpad_usage" not in keys_said(environmental)
    assert keys_said(environmental, numpad=1)["numpad_usage"] == "detected"


@pytest.mark.parametrize(
    ("slips", "gap", "pause", "vents", "expected"),
    [
        (0, 0.11, 2.9, 0, ("positive", "high_agitated", "eustress_positive")),
        (0, 0.12, 2.9, 0, ("positive", "medium_engaged", "none")),
        (0, 0.11, 3.0, 0, ("positive", "low_calm", "none")),
        (3, 0.11, 2.9, 0, ("neutral", "high_agitated", "none")),
        (10, 0.11, 2.9, 0, ("negative", "high_agitated", "distress_negative")),
        (3, 0.11, 2.9, 1, ("negative", "high_agitated", "distress_negative")),
        (9, 0.25, 3.0, 0, ("neutral", "low_calm", "none")),
        (9, 0.24, 3.0, 0, ("neutral", "medium_engaged", "none")),
    ],
)
def test_affect_at_its_bounds(
    slips: int, gap: float, pause: float, vents: int, expected: tuple[str, ...]
) -> None:
    found = keys_said(
        emotional, lines=lines(3, pause=pause), rhythm=rhythm(median=gap), immediate=slips, vents=vents
    )
    assert (found["valence"], found["arousal"], found["stress_response"]) == expected
    assert "frustration_venting" not in found


def test_venting_is_told_from_two_failures_on() -> None:
    one = [*lines(2, pause=1.0), *lines(1, pause=1.0, failed=True)]
    two = [*lines(1, pause=1.0), *lines(2, pause=1.0, failed=True)]
    assert "frustration_venting" not in keys_said(emotional, lines=one, rhythm=rhythm())
    assert keys_said(emotional, lines=two, rhythm=rhythm())["frustration_venting"] == "none"
    assert keys_said(emotional, lines=two, rhythm=rhythm(), vents=1)["frustration_venting"] == "detected"
    broken = [*lines(3, pause=1.0), *lines(2, pause=1.0, pauses=1)]
    assert keys_said(emotional, lines=broken, rhythm=rhythm())["valence"] == "neutral", (
        "two broken lines in five"
    )


def test_a_client_that_says_nothing_gives_nothing() -> None:
    assert said(toolchain, evidence()) == {}


# --- rhythm ---------------------------------------------------------------------------------------


def test_the_running_figures_are_those_of_all_gaps() -> None:
    kept = Rhythm()
    assert kept.add(1.0001, "ab") is None
    assert [kept.add(gap, pair) for gap, pair in ((1.0, "ab"), (0.25, "bb"), (0.5, "b1"), (0.125, "1 "))] == [
        0,
        -2,
        -1,
        -3,
    ]
    assert (kept.count, kept.pauses, kept.lag_count) == (4, 1, 3)
    assert (kept.total, kept.log_total) == (1.875, -6.0)
    assert kept.octaves == pytest.approx(deviation([0, -2, -1, -3]))
    assert kept.cv == pytest.approx(variation([1.0, 0.25, 0.5, 0.125]))
    assert kept.lag_products == 0 * -2 + -2 * -1 + -1 * -3
    counted = {kind: number for kind, (number, _) in kept.digraphs.items() if number}
    assert counted == {"ll": 1, "==": 1, "ld": 1, "ds": 1}
    assert sum(kept.bins) == 4
    even = Rhythm()
    for _ in range(3):
        even.add(0.25, "ab")
    assert (even.autocorrelation, even.octaves, even.cv) == (0.0, 0.0, 0.0)


# --- what leaves ----------------------------------------------------------------------------------


def test_references_name_session_version_and_moment() -> None:
    assert evidence_ref("s1", 1.5) == "session:s1#behave-1@1500"
    ended = session([], ended_at=1.5, end_reason="closed", command_count=2)
    assert ending_of(SessionEnded.parse(ended), 3) == "0000000000001.500000|2|000000002|000003"


def test_features_are_keyed_hashes_and_logarithms_with_a_floor() -> None:
    found = _texts("wget http://x/1", "exit")
    found.account, found.duration_s = "root", 0.0
    features = session_features(found, [("motor.input_modality", "unknown", 0.5)], b"k")
    assert features["credentials"] == {"session.account": keyed(b"k", "account", "root")}
    assert features["tempo"] == {"session.duration_log2": -7.0, "session.latency_log2": 0.0}
    assert keyed(b"k", "account", "root") != keyed(b"l", "account", "root") != keyed(b"k", "argv0", "root")
    assert len(keyed(b"k", "account", "root")) == 16
    assert features["playbook"] is not None
    assert "wget" not in json.dumps(features)
    again = session_features(_texts("wget http://y/22"), [], b"k")
    assert again["playbook"] == features["playbook"], "addresses and the closing exit are left out"
    assert (again["credentials"], again["typing"], again["habit"]) == (None, None, None)
    found.end_reason = "eof"
    assert features["hours"] == {"session.hour_utc": 0, "session.dow": 3}
    assert session_features(found, [], b"k")["tempo"] == {"session.latency_log2": 0.0}
    assert session_features(evidence(), [], b"k")["playbook"] is None
    assert session_features(_with([Command(parsed("exit"), 0.0)]), [], b"k")["playbook"] is None


def test_a_session_without_commands_is_one_activity_at_its_start() -> None:
    monday = 4 * 86_400.0
    found = extract(session([], started=monday + 3 * 3600))
    assert found.hours == {"3": 1}
    assert {o.primitive for o in found.observations} == {
        "toolchain.ssh.hassh_client",
        "toolchain.ssh.ssh_client_banner",
        "toolchain.ssh.kex_algorithm_order",
        "temporal.session_duration",
    }
    assert extract(session(["a", "b"], started=monday - 3600)).hours == {"167": 2}
    assert all(0.0 <= o.confidence <= 1.0 for o in found.observations)


def test_pipes_and_help_are_counted_outside_of_quotes() -> None:
    assert (lexicon.pipes("a | b; c | d | e"), lexicon.pipes("a 'x|y|z' | b"), lexicon.pipes("a || b")) == (
        2,
        1,
        0,
    )
    assert lexicon.asks_for_help(("x", "-h"))
    assert not lexicon.asks_for_help(("ls", "-h"))
    assert not lexicon.asks_for_help(())
