"""environmental.*, emotional_valence.*, toolchain.ssh.*: keyboard and shell, mood, the client."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from statistics import median

from decnet.behave import lexicon
from decnet.behave import thresholds as t
from decnet.behave.cognitive import error_rate
from decnet.behave.evidence import Evidence
from decnet.behave.keys import KeyFacts
from decnet.behave.measures import Finding, sure
from decnet.behave.motor import typed_lines

_AZERTY = frozenset({"qa", "aq", "zw", "wz", "m,", "m;", ",m", ";m"})
_QWERTZ = frozenset({"yz", "zy"})
_HASH_SURE, _BANNER_SURE, _ORDER_SURE = 0.95, 0.9, 0.95


def toolchain(found: Evidence) -> Iterator[Finding]:
    """What the SSH client said of itself."""
    client = found.client
    if client["hassh"]:
        yield "toolchain.ssh.hassh_client", client["hassh"], _HASH_SURE
    if client["version"]:
        yield "toolchain.ssh.ssh_client_banner", client["version"], _BANNER_SURE
    if client["kex"]:
        yield "toolchain.ssh.kex_algorithm_order", client["kex"], _ORDER_SURE


def environmental(found: Evidence) -> Iterator[Finding]:
    """Keyboard, multiplexer, editing mode, shell."""
    shells = Counter(_shell_of(command.parsed.text) for command in found.commands)
    del shells[""]
    if shells and len(found.commands) >= t.MIN_COMMANDS_CONDUCT:
        shell, hits = shells.most_common(1)[0]
        yield "environmental.shell_type", shell, sure(hits, 1, 0.85)
    keys = found.keys
    if keys is None:
        return
    if keys.numpad:
        # Most terminals send plain digits for the keypad, so its absence cannot be seen.
        yield "environmental.numpad_usage", "detected", sure(keys.numpad, 2)
    yield from _multiplexer(found, keys)
    yield from _editing(found, keys)
    yield from _layout(keys)


def _shell_of(text: str) -> str:
    return next((name for name, mark in lexicon.SHELL_MARKS if mark.search(text)), "")


def _multiplexer(found: Evidence, keys: KeyFacts) -> Iterator[Finding]:
    names = {name for command in found.commands for name in command.parsed.names}
    if "tmux" in names or keys.tmux_keys >= 2:
        yield "environmental.terminal_multiplexer", "tmux", 0.8
    elif "screen" in names:
        yield "environmental.terminal_multiplexer", "screen", 0.8
    elif keys.live >= t.MIN_KEYS_NO_MULTIPLEXER:
        yield "environmental.terminal_multiplexer", "none", 0.5


def _editing(found: Evidence, keys: KeyFacts) -> Iterator[Finding]:
    if not keys.live:
        return
    if any(lexicon.SET_VI.search(command.parsed.text) for command in found.commands):
        yield "environmental.editing_mode", "vi", 0.98
    elif keys.vi_keys >= t.MIN_VI_KEYS and keys.vi_keys > keys.emacs_keys:
        yield "environmental.editing_mode", "vi", sure(keys.vi_keys, 3)
    elif keys.emacs_keys:
        yield "environmental.editing_mode", "emacs", sure(keys.emacs_keys, 2)
    else:
        yield "environmental.editing_mode", "unknown", 0.1


def _layout(keys: KeyFacts) -> Iterator[Finding]:
    total = sum(keys.layout.values())
    if total < t.MIN_LAYOUT_ERRORS:
        return
    shares = {
        name: sum(n for pair, n in keys.layout.items() if pair.lower() in swaps) / total
        for name, swaps in (("azerty", _AZERTY), ("qwertz", _QWERTZ))
    }
    best = max(sorted(shares), key=lambda name: shares[name])
    label = best if shares[best] >= t.LAYOUT_SHARE else "qwerty"
    yield "environmental.keyboard_layout", label, sure(total, 50, 0.8)


def emotional(found: Evidence) -> Iterator[Finding]:
    """Affect from typing dynamics alone; needs keys struck by hand."""
    keys = found.keys
    if keys is None or keys.rhythm.count < t.MIN_LIVE_KEYS_AFFECT:
        return
    lines = typed_lines(keys)
    pauses = [line.pause for line in lines if line.pause is not None]
    if len(pauses) < t.MIN_LINES:
        return
    slips, gap, pause = error_rate(keys), keys.rhythm.median, median(pauses)
    confidence = sure(keys.rhythm.count, 200, 0.7)
    broken = sum(line.pauses > 0 for line in lines) / len(lines)
    failures = sum(line.failed for line in lines)
    arousal = _arousal(slips, gap, pause)
    fluent = slips < t.ERROR_LOW and broken < t.FRAGMENTED_SHARE
    valence = "negative" if slips >= t.ERROR_HIGH or keys.vents else "positive" if fluent else "neutral"
    yield "emotional_valence.valence", valence, confidence
    yield "emotional_valence.arousal", arousal, confidence
    yield "emotional_valence.stress_response", _stress(keys, arousal, slips), confidence
    if failures >= t.VENTING_FAILURES:
        yield (
            "emotional_valence.frustration_venting",
            "detected" if keys.vents else "none",
            sure(failures, 4, 0.7),
        )


def _arousal(slips: float, gap: float, pause: float) -> str:
    if gap <= t.GAP_FAST_S and pause < t.PAUSE_CALM_S:
        return "high_agitated"
    return (
        "low_calm"
        if pause >= t.PAUSE_CALM_S and (gap >= t.GAP_CALM_S or slips < t.ERROR_LOW)
        else "medium_engaged"
    )


def _stress(keys: KeyFacts, arousal: str, slips: float) -> str:
    if arousal != "high_agitated":
        return "none"
    if slips < t.ERROR_LOW:
        return "eustress_positive"
    return "distress_negative" if slips >= t.ERROR_HIGH or keys.vents else "none"
