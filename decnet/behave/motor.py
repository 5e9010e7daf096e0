"""motor.*: how keys are struck. From the recording, but for the depth of pipes."""

from __future__ import annotations

from collections.abc import Iterator

from decnet.behave import lexicon
from decnet.behave import thresholds as t
from decnet.behave.evidence import Evidence
from decnet.behave.keys import KeyFacts, Line
from decnet.behave.measures import Finding, grade, sure


def motor(found: Evidence) -> Iterator[Finding]:
    """The motor primitives that this session gives."""
    if found.commands:
        deepest = max(command.parsed.pipes for command in found.commands)
        depth = grade(deepest, (t.PIPE_MODERATE, t.PIPE_DEEP), ("shallow", "moderate", "deep"))
        yield "motor.shell_mastery.pipe_chaining_depth", depth, sure(len(found.commands), 2)
    keys = found.keys
    if keys is not None and keys.live + keys.pasted:
        yield from _modality(found, keys)
        yield from _rhythm(keys)
        yield from _corrections(keys)
        yield from _composition(keys)


def typed_lines(keys: KeyFacts) -> list[Line]:
    """Command lines that were struck at least in part."""
    return [line for line in keys.lines if line.kind == "command" and line.live > line.pasted]


def _modality(found: Evidence, keys: KeyFacts) -> Iterator[Finding]:
    share = keys.pasted / (keys.live + keys.pasted)
    label = grade(share, (t.MODALITY_TYPED, t.MODALITY_PASTED), ("typed", "mixed", "pasted"))
    # A Telnet client in line mode sends whole lines however they were struck.
    whole_lines = found.protocol == "telnet" and keys.live == 0
    yield "motor.input_modality", label, sure(keys.live + keys.pasted, 20, 0.6 if whole_lines else 0.95)
    lines = [line for line in keys.lines if line.kind == "command" and line.live + line.pasted]
    if len(lines) < t.MIN_LINES:
        return
    pasted = sum(line.pasted > line.live for line in lines) / len(lines)
    rate = "none" if not keys.pastes else "habitual" if pasted >= t.PASTE_HABITUAL else "occasional"
    yield "motor.paste_burst_rate", rate, sure(len(lines), 3, 0.6 if whole_lines else 0.9)


def _rhythm(keys: KeyFacts) -> Iterator[Finding]:
    rhythm = keys.rhythm
    if rhythm.count < t.MIN_LIVE_GAPS:
        if keys.pasted > keys.live and keys.pastes >= t.MIN_LINES:
            yield "motor.keystroke_cadence", "machine", sure(keys.pastes, 3, 0.8)
        return
    yield "motor.keystroke_cadence", _cadence(keys), sure(rhythm.count, 60)
    if rhythm.count >= t.MIN_TREMOR_GAPS and rhythm.autocorrelation <= t.TREMOR_AUTOCORRELATION:
        stability = "tremor"
    else:
        stability = "steady" if rhythm.octaves <= t.STABILITY_STEADY_OCTAVES else "variable"
    yield "motor.motor_stability", stability, sure(rhythm.count, 60)
    simhash = rhythm.simhash()
    if simhash is not None:
        yield "motor.digraph_simhash", simhash, sure(rhythm.count, 200)


def _cadence(keys: KeyFacts) -> str:
    rhythm = keys.rhythm
    if rhythm.cv < t.CADENCE_MACHINE_CV:
        return "machine"
    if rhythm.median >= t.HUNT_MEDIAN_S:
        return "hunt_and_peck"
    if rhythm.pauses / (rhythm.count + rhythm.pauses) >= t.BURSTY_PAUSE_SHARE:
        return "bursty"
    return "steady" if rhythm.octaves <= t.CADENCE_STEADY_OCTAVES else "bursty"


def _corrections(keys: KeyFacts) -> Iterator[Finding]:
    struck = keys.immediate + keys.deferred
    around = keys.kills + keys.abandoned + sum(line.recalled and line.deletions > 0 for line in keys.lines)
    if struck + around == 0:
        if keys.live >= t.MIN_KEYS_NO_CORRECTION:
            yield "motor.error_correction", "absent", sure(keys.live, 200)
        return
    if around > struck:
        label = "route_around"
    else:
        label = "immediate" if keys.immediate >= keys.deferred else "deferred"
    yield "motor.error_correction", label, sure(struck + around, 3)


def _composition(keys: KeyFacts) -> Iterator[Finding]:
    lines = typed_lines(keys)
    if len(lines) < t.MIN_LINES:
        return
    number = len(lines)
    broken = sum(line.pauses > 0 for line in lines) / number
    if broken >= t.FRAGMENTED_SHARE:
        chunking = "fragmented"
    else:
        chunking = "fluent" if any(lexicon.compound(line.text) for line in lines) else "single_command"
    yield "motor.command_chunking", chunking, sure(number, 4)
    for name, count, often in (
        ("tab_completion", keys.tabs, ("habitual", t.TAB_HABITUAL)),
        ("shortcut_usage", keys.shortcuts, ("heavy", t.SHORTCUT_HEAVY)),
    ):
        some = "occasional" if name == "tab_completion" else "moderate"
        label = "none" if not count else often[0] if count / number >= often[1] else some
        yield f"motor.shell_mastery.{name}", label, sure(number, 5)
