"""Features of one session for the multi-actor test, one flat object for each evidence family.

Hashes are keyed, numbers are logarithms, labels are the registry's: no text of the attacker. What the
families prove together is left to ``decnet.attribution``.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from datetime import UTC, datetime
from math import log2
from statistics import median

from decnet.behave import lexicon
from decnet.behave.cognitive import working_commands
from decnet.behave.evidence import Evidence
from decnet.behave.measures import Finding

FAMILIES = ("client", "playbook", "tempo", "credentials", "typing", "habit", "hours")
LEAST_S = 2.0**-7
"""Shortest time that a logarithm is taken of: below it, network and clock decide."""
Family = dict[str, object] | None


def session_features(found: Evidence, findings: Iterable[Finding], key: bytes) -> dict[str, Family]:
    """One flat object for each family of :data:`FAMILIES`, None where it was not measured."""
    labels = {primitive: value for primitive, value, _ in findings if value != "unknown"}
    return {
        "client": {"session.client": _client(found)},
        "playbook": _playbook(found, key),
        "tempo": _tempo(found),
        "credentials": {"session.account": keyed(key, "account", found.account)} if found.account else None,
        "typing": _typing(found, labels),
        "habit": _habit(labels),
        "hours": _hours(found.started_at),
    }


def keyed(key: bytes, kind: str, text: str) -> str:
    """16 hex digits that only the holder of ``key`` can compare with a guess."""
    return hmac.new(key, f"{kind}\0{text}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:16]


def _client(found: Evidence) -> str:
    client = found.client
    if client["hassh"]:
        return f"{found.protocol}:{client['hassh']}"
    if client["version"] or client["kex"]:
        offer = "\0".join([client["version"] or "", *client["kex"]])
        return f"{found.protocol}:{hashlib.sha256(offer.encode('utf-8', 'replace')).hexdigest()[:24]}"
    return f"{found.protocol}:"


def _playbook(found: Evidence, key: bytes) -> Family:
    lines = [command.parsed for command in working_commands(found)]
    if not lines:
        return None
    return {
        "session.playbook": keyed(
            key, "playbook", "\n".join(lexicon.normalised(line.text) for line in lines)
        ),
        "session.argv0": keyed(key, "argv0", "\n".join(" ".join(line.names) for line in lines)),
    }


def _tempo(found: Evidence) -> Family:
    tempo: dict[str, object] = {}
    if found.end_reason != "eof":
        tempo["session.duration_log2"] = _log(found.duration_s)
    if gaps := found.gaps:
        tempo["session.latency_log2"] = _log(median(gaps))
    return tempo or None


def _log(seconds: float) -> float:
    return round(log2(max(seconds, LEAST_S)), 4)


def _typing(found: Evidence, labels: dict[str, object]) -> Family:
    if found.keys is None:
        return None
    depth = "motor.shell_mastery.pipe_chaining_depth"
    typing = {p: v for p, v in labels.items() if p.startswith("motor.") and p != depth}
    rhythm = found.keys.rhythm
    if rhythm.count:
        typing["session.key_gap_log2"] = _log(rhythm.median)
    return typing or None


def _habit(labels: dict[str, object]) -> Family:
    """The remaining labels of the registry; tempo and client have families of their own."""
    apart = ("motor.", "toolchain.", "cognitive.inter_command_latency_class", "temporal.session_duration")
    habit: dict[str, object] = {
        p: v for p, v in labels.items() if isinstance(v, str) and not p.startswith(apart)
    }
    if (depth := labels.get("motor.shell_mastery.pipe_chaining_depth")) is not None:
        habit["motor.shell_mastery.pipe_chaining_depth"] = depth
    return habit or None


def _hours(started_at: float) -> Family:
    moment = datetime.fromtimestamp(started_at, UTC)
    return {"session.hour_utc": moment.hour, "session.dow": moment.weekday()}
