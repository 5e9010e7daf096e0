"""Who reads what is typed: the shell, a password prompt, or a program; judged from the output."""

from __future__ import annotations

import re

SHELL, SECRET, PROGRAM = "shell", "secret", "program"
_ESCAPES = re.compile(rb"\x1b\[[0-9;?]{0,32}[ -/]{0,4}[@-~]|\x1b[()][0-9A-B]|\x1b[=>]|[\x07\x0f]")
_SECRET = re.compile(
    rb"(?i)(?:password|passwd|passphrase|passcode|passwort|kennwort|contrase.{1,3}a|mot de passe|senha|parola|"
    rb"\xd0\xbf\xd0\xb0\xd1\x80\xd0\xbe\xd0\xbb\xd1\x8c|\xe5\xaf\x86\xe7\xa0\x81|pin|secret)[^\n]{0,80}[:?\x9a]\s?\Z"
)
_SHELL = re.compile(rb"[#$%]\s?\Z")
_CONTINUED = re.compile(rb"\A(?:>|quote>|dquote>|heredoc>|cmdand>|for>|while>) ?\Z")
_OWN_PROMPT = re.compile(rb"(?:>>>|\.\.\.|[\w()\[\]. -]{1,60}>) ?\Z")
_EDITORS = frozenset(
    ["vi", "vim", "vim.tiny", "nvim", "view", "nano", "pico", "ed", "ex", "emacs", "joe", "mcedit", "micro"]
)
_READERS = frozenset(
    [
        "python",
        "python2",
        "python3",
        "perl",
        "ruby",
        "node",
        "irb",
        "mysql",
        "psql",
        "sqlite3",
        "redis-cli",
        "mongo",
        "mongosh",
        "ftp",
        "sftp",
        "telnet",
        "ssh",
        "nc",
        "ncat",
        "bc",
        "gdb",
        "passwd",
        "adduser",
        "chpasswd",
        "su",
        "sudo",
        "less",
        "more",
        "man",
        "top",
        "htop",
    ]
)
_CAT = re.compile(r"\A\s*cat\b[^|;&]*(?:<<|>|\Z)")
_CAT_ARGUMENT = re.compile(r"\A\s*cat\s+[^\s<>|;&-]")
_FAILED = re.compile(
    rb"(?i)command not found|no such file or directory|permission denied|operation not permitted|not a directory|"
    rb"is a directory|invalid option|invalid argument|unrecognized option|unknown (?:argument|option|command|host)|"
    rb"missing (?:file )?operand|syntax error|cannot (?:access|open|stat|create|remove|execute)|"
    rb"(?:\A|\n)usage:|illegal option|unable to |could not resolve|connection (?:refused|timed out)|failed:"
)


def mode_after(mode: str, tail: bytes, command: str | None, *, answered: bool, screen: bool) -> str:
    """Who reads the next key.

    ``tail`` is the end of the output since the last line was sent, ``command`` that line when it went
    to a shell, ``answered`` whether there was any output, ``screen`` whether a program has the whole screen.
    """
    last = _ESCAPES.sub(b"", tail).rpartition(b"\n")[2].rpartition(b"\r")[2]
    if _SECRET.search(last):
        return SECRET
    if screen:
        return PROGRAM
    if _SHELL.search(last):
        return SHELL
    if _CONTINUED.match(last):
        return PROGRAM
    if command is not None and _takes_input(command, last, answered=answered):
        return PROGRAM
    return PROGRAM if mode == PROGRAM else SHELL


def _takes_input(command: str, last: bytes, *, answered: bool) -> bool:
    words = command.split(None, 2)
    name = words[0].rpartition("/")[2] if words else ""
    if name == "sudo" and len(words) > 1:
        name = words[1].rpartition("/")[2]
    if name in _EDITORS:
        return True
    if name in _READERS:
        return not answered or not last or bool(_OWN_PROMPT.search(last)) or last.endswith((b":", b": "))
    return bool(_CAT.match(command)) and not (_CAT_ARGUMENT.match(command) and "<<" not in command)


def failed_answer(answer: bytes) -> bool:
    """Whether the first lines of an answer are those of a command that failed."""
    return bool(_FAILED.search(answer))
