"""What one command amounts to: steps of a story and deeds, from the facts of its session and from its tags; pure.

A command is read by its simple commands. What one brings, makes ready, runs or takes away is a fact of the script;
everything else is what its tags say, and a tag of a stage that the facts know already only adds its technique.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from decnet.attack.catalogue import load_catalogue
from decnet.shell.assets import host_of
from decnet.shell.places import KEYS, STARTUP
from decnet.shell.playbook import Simple, simple, simples
from decnet.shell.programs import COMPILERS, EXTRACTORS, RUNNERS
from decnet.shell.told import Facts
from decnet.ttp.facts import name_of
from decnet.ttp.moves import Step, Writer, clean
from decnet.ttp.severity import CERTAIN, SOMETHING
from decnet.ttp.stages import stage_of

MAX_SIMPLES = 512
"""Simple commands of one line that are steps; a line of more is a generated one, and its tags stand all the same."""
_PLACED = 32
"""Simple commands of a line among which a tag is placed; beyond, it stands at the line's end."""
_WORDS_READ = 8
"""Words of a line that is no command."""
_EDITS = frozenset({"mv", "cp", "ln", "install"})
_SENDS = frozenset({"echo", "printf", "cat", "base64", "xxd", "dd", "tee"})
LEAVES = frozenset({"exit", "logout", "quit", "bye"})
_HOST = re.compile(r"(?:[^\s@'\"]{1,64}@)?(\d{1,3}(?:\.\d{1,3}){3})\b|[^\s@'\"]{1,64}@([\w.-]{1,253})")
_WAYS: Mapping[str, str] = {
    "uploaded": "uploaded", "fetched": "fetched", "compiled": "compiled", "extracted": "unpacked", "decoded": "decoded",
    "written": "wrote", "copied": "copied", "chmodded": "made executable",
}  # fmt: skip
"""How a file came → how that is said; of several the first."""
_SENT = frozenset(
    {"-T", "--upload-file", "-F", "--form", "-d", "--data", "--data-binary", "--post-file", "--post-data"}
)
"""Options with which curl and wget send something instead of bringing it."""
_WRITE_PROBE = "T1083"
"""What a command that writes is tagged with when it only finds out where that can be done."""
_MADE = frozenset({"made executable", "copied"})
"""Ways that do not say where a file came from."""
_DEEDS: Mapping[str, str] = {
    "T1021": "attacked", "T1210": "attacked", "T1570": "attacked", "T1563": "attacked", "T1072": "attacked",
    "T1498": "attacked", "T1499.002": "attacked", "T1611": "escaped", "T1068": "ran", "T1620": "ran", "T1014": "ran",
    "T1098": "changed", "T1531": "changed", "T1562": "blinded", "T1562.003": "looked", "T1070.001": "blinded",
    "T1070.002": "blinded", "T1553": "blinded", "T1485": "ruined", "T1486": "ruined", "T1490": "ruined",
    "T1491": "ruined", "T1561": "ruined", "T1496": "ruined", "T1499": "ruined", "T1657": "ruined", "T1565": "ruined",
    "T1489": "stopped", "T1529": "stopped", "T1090": "tunnelled", "T1572": "tunnelled", "T1219": "tunnelled",
    "T1095": "tunnelled", "T1071.003": "tunnelled", "T1105": "brought", "T1190": "probed",
}  # fmt: skip
_WORDS: Mapping[str, str] = {
    "T1098": "password", "T1098.007": "rights", "T1048.003": "in the clear", "T1098.004": "SSH key", "T1053.002": "at job", "T1053.003": "cron", "T1136": "new account",
    "T1136.001": "new account", "T1543.002": "systemd service", "T1037.004": "start-up script", "T1531": "account taken away",
    "T1546.004": "shell profile", "T1505.003": "web shell", "T1547.006": "kernel module", "T1562.001": "security tools",
    "T1562.004": "firewall", "T1562.006": "logging", "T1562.012": "audit", "T1070.002": "logs", "T1485": "data deleted",
    "T1486": "data encrypted", "T1490": "recovery", "T1489": "services", "T1529": "shutdown", "T1611": "out of the container",
    "T1068": "an exploit", "T1620": "code in memory only", "T1014": "a rootkit",
}  # fmt: skip
"""Techniques as a reason says them; others by the name that ATT&CK has for them."""
_DEEDS_OF_STAGES: Mapping[str, str] = {
    "persist": "persisted",
    "exfil": "took",
    "spread": "attacked",
    "mine": "mined",
}


class Mark(NamedTuple):
    """What a tag says of a step: technique (the sub-technique where there is one), tactic, text, confidence."""

    technique: str
    tactic: str
    matched: str = ""
    confidence: float = 1.0


class Typed(NamedTuple):
    """One command as it was typed, with what its session and the rules tell about it; lines count from 1."""

    line: int
    text: str
    facts: Mapping[str, Facts]
    marks: Sequence[Mark]


@dataclass(slots=True)
class Files:
    """What the sensor knows about the session's files, by base name."""

    hashes: dict[str, str] = field(default_factory=dict)
    """The first eight digits of each hash."""
    ways: dict[str, str] = field(default_factory=dict)
    """How each came: uploaded or fetched."""
    failed: set[str] = field(default_factory=set)
    """What could not be fetched."""
    last: str = ""
    """What came last: what a variable is likely to stand for."""

    def called(self, name: str) -> str:
        """The name of a file as it is told."""
        digest = self.hashes.get(name, "")
        return " ".join(filter(None, (clean(name), digest)))


@dataclass(slots=True)
class _Act:
    """One step with its place among the simple commands of the line."""

    place: int
    step: Step


def take(typed: Typed, files: Files, writer: Writer) -> None:
    """Takes a command into a story."""
    found = simples(typed.text)[:MAX_SIMPLES]
    for one in found:
        writer.play(one.play)
    acts: list[_Act] = []
    fetched: tuple[str, ...] = ()
    for place, one in enumerate(_with_facts(found, typed.facts)):
        for step in _by_facts(one, typed, files, writer, fetched):
            acts.append(_Act(place, step))
            fetched = step.what if step.stage == "fetch" else fetched
    _by_marks(typed, found, acts, writer)
    for act in sorted(acts, key=lambda act: act.place):
        writer.step(act.step)


def _with_facts(found: Sequence[Simple], facts: Mapping[str, Facts]) -> Iterator[Simple]:
    """The simple commands, and the lines that are none but of which the session tells something."""
    yield from found
    known = {one.text for one in found}
    for text in facts:
        if text not in known and (words := text.split(None, _WORDS_READ)):
            yield simple(text, words)


# --- what the session tells


def _by_facts(
    one: Simple, typed: Typed, files: Files, writer: Writer, fetched: tuple[str, ...]
) -> Iterator[Step]:
    facts = typed.facts.get(one.text)
    if facts is None:
        return
    values, program = facts.values, one.program
    if (brought := _brought(one, values)) is not None:
        names, how = brought
        files.last = next((name for name in names if name), files.last)
        for name in names or ("",):
            failed = name in files.failed
            writer.deed("tried" if failed else "brought", files.called(name), "fetch" if failed else how)
        for source in values.get("fetch.source", ()):
            writer.asked(clean(host_of(source)))
        yield Step("fetch", typed.line, tuple(map(clean, names)), clean(program))
    elif (ran := _ran(one, values, fetched)) is not None:
        name, how = ran
        name = name if "$" not in name else files.last or SOMETHING
        told = files.called(name)
        how = files.ways.get(name, how) if how in _MADE else how
        writer.deed(*(("ran", told, how) if how else ("tried", told, "run")))
        yield Step("run", typed.line, (clean(name),))
    elif values.get("answer"):
        writer.deed("changed", "password")
        yield Step("creds", typed.line)
    elif (stage := _handled(program, values)) is not None:
        own = tuple(clean(name_of(word)) for word in one.words[1:] if not word.startswith("-"))
        yield Step(stage, typed.line, own[:4] if stage == "clean" else ())


def _brought(one: Simple, values: Mapping[str, Any]) -> tuple[list[str], str] | None:
    """The names of files that a command brings, and how."""
    if "fetch.source" in values and not _SENT.isdisjoint(one.words):
        return None
    if "fetch.source" in values:
        return [name_of(source) or host_of(source) for source in values["fetch.source"]], "fetched"
    if values.get("stdin.origin") == ["client"] or "stdin.received" in values:
        name = name_of(str(values.get("write.path", "")))
        return [name] if name and one.program != "scp" else [], "uploaded"
    return None


def _ran(one: Simple, values: Mapping[str, Any], fetched: tuple[str, ...]) -> tuple[str, str] | None:
    """The name of what a command runs, and how that came (empty: it never did)."""
    origins = values.get("exec.origin") or values.get("later.exec")
    if origins:
        return _target(one, values), _way(origins)
    if one.program in RUNNERS and (fed := values.get("stdin.origin")):
        return ", ".join(fetched) or SOMETHING, _way(fed)
    if "exec.tried_dirs" in values and values["exec.tried_dirs"] > 1:
        return _target(one, values), ""
    return None


def _target(one: Simple, values: Mapping[str, Any]) -> str:
    if values.get("exec.via") == "direct":
        return name_of(one.words[0])
    return name_of(next((word for word in one.words[1:] if not word.startswith("-")), one.words[0]))


def _way(origins: Iterable[str]) -> str:
    given = set(origins)
    return next((said for origin, said in _WAYS.items() if origin in given), "brought")


def _handled(program: str, values: Mapping[str, Any]) -> str | None:
    """The stage of what a command does with files of the session."""
    if "arg.origin" in values:
        if program == "rm":
            return "clean"
        if program == "chmod" or program in EXTRACTORS or program in COMPILERS:
            return "arm"
        if program in _EDITS:
            return "hide"
    written = str(values.get("write.path", ""))
    if not written or program not in _SENDS or written.startswith("/etc/"):
        return None
    return None if values.get("write.place") in (STARTUP, KEYS) else "prepare"


# --- what the tags say


def _by_marks(typed: Typed, found: Sequence[Simple], acts: list[_Act], writer: Writer) -> None:
    """Adds the techniques of tags to the steps of their stage, and steps for those that have none."""
    by_stage = {act.step.stage: act for act in reversed(acts)}
    by_facts = frozenset(by_stage)
    shell = any(m.technique.startswith("T1059") and m.confidence >= CERTAIN for m in typed.marks)
    ran = "run" in by_facts or (shell and _runs(typed.marks, by_facts))
    for mark in sorted(typed.marks, key=_is_shell):
        stage = stage_of(mark.technique, mark.tactic)
        if stage == "run" and not ran and _is_shell(mark):  # the use of a shell, of nothing that came
            stage = next(iter(by_stage), "prepare")
        if mark.technique == _WRITE_PROBE and by_facts and _probes(typed.facts):
            stage = next(iter(by_stage))
        place = _place(mark, found)
        act = by_stage.get(stage)
        if act is None:
            act = by_stage[stage] = _Act(place, Step(stage, typed.line))
            acts.append(act)
        known = act.step.techniques
        if mark.technique not in known:
            act.step = act.step._replace(techniques=(*known, mark.technique))
        if stage not in by_facts and not (shell and mark.technique == "T1095"):
            _achieved(mark, stage, found[place] if place < len(found) else None, writer)
    if ran and "run" not in by_facts:
        _run_unseen(typed.marks, by_stage, writer)


def _probes(facts: Mapping[str, Facts]) -> bool:
    return any("write.trivial" in one.values or "arg.trivial" in one.values for one in facts.values())


def _is_shell(mark: Mark) -> bool:
    return mark.technique.startswith("T1059")


def _runs(marks: Iterable[Mark], by_facts: Collection[str]) -> bool:
    """Whether the use of a shell is the running of something: the line fetches too, or talks to the outside."""
    if "fetch" in by_facts:
        return True
    certain = [mark for mark in marks if mark.confidence >= CERTAIN]
    return any(m.technique == "T1095" or stage_of(m.technique, m.tactic) == "fetch" for m in certain)


def _run_unseen(marks: Sequence[Mark], by_stage: Mapping[str, _Act], writer: Writer) -> None:
    """What tags alone say of running: a shell that was opened to the outside, or what the same line fetched."""
    if any(mark.technique == "T1095" and mark.confidence >= CERTAIN for mark in marks):
        writer.deed("shell")
    elif (fetch := by_stage.get("fetch")) is not None:
        writer.deed("ran", ", ".join(fetch.step.what) or SOMETHING, "fetched")


def _place(mark: Mark, found: Sequence[Simple]) -> int:
    """Which simple command a tag is about: that of its text, else that of its program; behind all when it is none."""
    if not mark.matched:
        return len(found)
    words = mark.matched.lstrip(";&| ").split(None, 1)
    program = words[0].rpartition("/")[2] if words else ""
    same = len(found)
    for place, one in enumerate(found[:_PLACED]):
        if mark.matched in one.text or one.text in mark.matched:
            return place
        if one.program == program:
            same = min(same, place)
    return same


def _achieved(mark: Mark, stage: str, one: Simple | None, writer: Writer) -> None:
    """Writes down what a tag of a command says was achieved."""
    kind = deed_of(mark, stage)
    if kind is None:
        return
    what = word_of(mark.technique)
    if kind == "attacked":
        what = _host(one) or what
    elif kind == "brought":
        what = clean(name_of(one.words[-1])) if one is not None else ""
    writer.deed(kind, what, {"brought": "fetched", "ran": "brought"}.get(kind, ""))


def word_of(technique: str) -> str:
    """A technique as a reason says it."""
    return _WORDS.get(technique) or load_catalogue().name(technique) or technique


def deed_of(mark: Mark, stage: str) -> str | None:
    """The kind of deed that a tag stands for; None where it only tells what was done."""
    if mark.confidence < CERTAIN:
        return None
    parent = mark.technique.partition(".")[0]
    kind = _DEEDS.get(mark.technique) or _DEEDS_OF_STAGES.get(stage) or _DEEDS.get(parent)
    return None if kind == "looked" else kind


def _host(one: Simple | None) -> str:
    found = _HOST.search(" ".join(one.words[1:])[:2000]) if one is not None else None
    return clean(found[1] or found[2]) if found else ""
