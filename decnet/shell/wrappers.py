"""Looks through programs that run another one: sudo, env, timeout, a shell with ``-c`` and their like."""

from __future__ import annotations

import re

from decnet.shell.carriers import skip_options
from decnet.shell.split import KEYWORDS

_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
_NUMBER = re.compile(r"\d+(?:\.\d+)?[smhd]?\Z")
SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"})
# Wrapper → its options that take a value, so that the value is not taken for the command.
_WRAPPERS: dict[str, frozenset[str]] = {
    "sudo": frozenset(
        [
            "-u",
            "-g",
            "-h",
            "-p",
            "-C",
            "-r",
            "-t",
            "-T",
            "-U",
            "-D",
            "-R",
            "--user",
            "--group",
            "--prompt",
            "--chdir",
        ]
    ),
    "env": frozenset(["-u", "-C", "-S", "--unset", "--chdir"]),
    "nohup": frozenset(),
    "nice": frozenset(("-n", "--adjustment")),
    "timeout": frozenset(["-k", "-s", "--signal", "--kill-after"]),
    "time": frozenset(("-f", "-o")),
    "exec": frozenset(("-a",)),
    "eval": frozenset(),
    "xargs": frozenset(
        [
            "-I",
            "-n",
            "-P",
            "-L",
            "-d",
            "-a",
            "-s",
            "-E",
            "--max-args",
            "--max-procs",
            "--replace",
            "--arg-file",
        ]
    ),
    "stdbuf": frozenset(["-i", "-o", "-e", "--input", "--output", "--error"]),
    "busybox": frozenset(),
    "setsid": frozenset(),
    "doas": frozenset(("-u", "-C")),
    "ionice": frozenset(("-c", "-n", "-p", "--class", "--classdata", "--pid")),
    "command": frozenset(),
    "builtin": frozenset(),
}
_ASKS = (["-v"], ["-V"])
"""What makes ``command`` tell where a program is instead of running it."""
LOOKED_THROUGH = frozenset(_WRAPPERS) | SHELLS | {"su"}


def look_through(words: list[str]) -> tuple[list[str], str | None]:
    """The words of the program really run, and the script text that a shell or eval would run."""
    i, n = 0, len(words)
    while i < n:
        word = words[i]
        if _ASSIGNMENT.match(word) or word in KEYWORDS:
            i += 1
            continue
        name = word.rpartition("/")[2]
        if name in SHELLS or name == "su":
            script = _script_of(words, i)
            return words[i:], script
        if name not in _WRAPPERS or (name == "command" and words[i + 1 : i + 2] in _ASKS):
            break
        if name == "eval":
            script = " ".join(words[i + 1 :])
            return script.split(), script
        following = _skip_options(words, i + 1, name)
        if following >= n:
            break
        i = following
    return words[i:], None


def _skip_options(words: list[str], i: int, name: str) -> int:
    i, _ = skip_options(words, i, _WRAPPERS[name])
    if name == "timeout" and i < len(words) and _NUMBER.match(words[i]):
        i += 1
    return i


def _script_of(words: list[str], i: int) -> str | None:
    """The argument of ``-c`` (also ``-lc``) of the shell or su at ``words[i]``."""
    for k in range(i + 1, min(len(words) - 1, i + 8)):
        word = words[k]
        if word.startswith("-") and not word.startswith("--") and word.endswith("c"):
            return words[k + 1]
    return None
