"""A session read as one shell would: where files came from, what runs them, who feeds a command; pure, one pass.

Each line is one command as it was typed (see :mod:`decnet.shell.joining` for what was typed over several lines).
For each simple command there are facts that its words alone do not tell, with the line that each rests on. Nothing
is executed; what cannot be known (an unset variable, a file that was there before) is not guessed. The work is
linear in the text, and every bound that bites is counted.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from decnet.shell.files import EXECUTED, HOME, MAX_PENDING, File, Files, origins_of, resolved
from decnet.shell.inline import given_text, inline_removals
from decnet.shell.known import COMMANDS
from decnet.shell.places import BIN, is_device, place_of
from decnet.shell.programs import (
    BUILDERS,
    COMPILERS,
    EDITORS,
    EXTRACTORS,
    INTERPRETERS,
    NO_BUILD,
    PASSES_ON,
    RECON,
    RUNNERS,
    TAKES_IN,
    UNIT_TOOLS,
    UNPACKERS,
    Fetch,
    compiled_to,
    copied_program,
    extracted_to,
    fetches,
    found_by_name,
    grants_running,
    made_by,
    mirrored,
    named_after_source,
    read_from_host,
    receiver,
    runs_others,
    scp_sink,
    untars_input,
    value_of,
)
from decnet.shell.split import MAX_NESTING, Command, split_commands
from decnet.shell.told import Facts, Transfer
from decnet.shell.variables import MAX_VALUES, MAX_VARIABLES, Variables
from decnet.shell.wrappers import SHELLS, look_through

REMEMBERED_CHARS = 1000
"""Characters of a line at most whose reading is remembered for the next session that has it."""
MAX_FACTS = 256
"""Simple commands of one line that have facts."""
TRIVIAL_CHARS = 16
ANSWERS = 3
"""Lines that a prompt may take: the old password, the new one, the new one again."""
REASON_CHARS = 120
_ECHO_OPTIONS = ("-n", "-e", "-ne", "-en")
_REMOVERS = frozenset(("rm", "unlink", "shred"))
_CHANGERS = frozenset(
    ("passwd", "chpasswd", "useradd", "adduser", "usermod", "kill", "pkill", "killall", "unset", "chattr")
)
"""Programs that change accounts, processes or what is kept of the session: more than looking."""
_GLOB = re.compile(r"[*?\[]")
_SCP_FILE = re.compile(r"(?P<kind>[CD])0?[0-7]{3,4} \d{1,15} (?P<name>[^/\s][^/]{0,254})\Z")
_SCP_OTHER = re.compile(r"(?:E|T\d+ \d+ \d+ \d+)\Z")
_SHELL_TEXT = re.compile(r"[;&|`$(){}<>]|#!")


_remembered = lru_cache(maxsize=1024)(split_commands)


class _Pending(NamedTuple):
    """A name that was run before anything of it came."""

    facts: Facts
    path: str


@dataclass(slots=True)
class _Course:
    """How far the session has come."""

    worked: bool = False
    changed: bool = False
    """Whether a file came in any way, one was run, or one of the changers was."""
    recon: int = 0
    last_recon: int = 0


class Script:
    """The facts of a session, line by line; :meth:`line` takes the next one in."""

    def __init__(self, transfers: Iterable[Transfer] = ()) -> None:
        """``transfers`` are the files that the sensor saw come, whenever it did."""
        self.files = Files()
        self.facts: list[dict[str, Facts]] = []
        """For each line the facts of its simple commands, by their texts."""
        self.capped = 0
        """Simple commands that found no room for facts."""
        self._transfers: dict[str, Transfer] = {}
        for one in sorted(transfers, key=lambda t: (t.ts is None, t.ts or 0.0)):
            self._transfers.setdefault(one.name.rpartition("/")[2], one)
        self._cwd = HOME
        self._stack: list[str] = []
        self._variables = Variables()
        self._course = _Course()
        self._tried: dict[str, set[str]] = defaultdict(set)
        self._pending: dict[str, list[_Pending]] = defaultdict(list)
        self._to_run: dict[str, Facts] = {}
        """Files that were made executable → the facts of that command, should they be run."""
        self._aliases: dict[str, str] = {}
        """Path and base name of a copy of a system's program → the program."""
        self._touched: dict[str, Facts] = {}
        """Empty files that were made → the facts of that command, should they be removed as they are."""
        self._printed: tuple[Facts, list[str]] | None = None
        """What a line fetched and only prints, until something takes it in."""
        self._idle: list[bool] = []
        """Of each removal in the line, whether nothing was done before it."""
        self._depth = 0
        self._waiting = 0
        self._answers = 0
        self._sink: str | None = None
        """Where ``scp -t`` puts the file that its protocol names next."""
        self._number = 0
        self._text = ""
        self._ts: float | None = None

    def line(self, text: str, ts: float | None = None) -> dict[str, Facts]:
        """Takes one line in, typed at ``ts``; the facts of its simple commands. Later lines may add to them."""
        self._number += 1
        self._text, self._ts = text, ts
        found: dict[str, Facts] = {}
        self.facts.append(found)
        if self._protocol(text, found) or self._answer(text, found):
            return found
        split = _remembered(text) if len(text) <= REMEMBERED_CHARS else split_commands(text)
        cwd = self._cwd
        before: Command | None = None
        feeding: dict[str, str] = {}
        self._printed = None
        self._idle.clear()
        for command in split.commands:
            if command.inner and not (before and before.inner):
                cwd = self._cwd
            elif before and before.inner and not command.inner:
                self._cwd = cwd
            facts = self._facts(command, found)
            feeding = self._command(command, facts, feeding if command.fed else {})
            before = command
        if before and before.inner:
            self._cwd = cwd
        if len(split.commands) > 1 and self._idle and all(self._idle):
            found.setdefault(text, Facts()).values["session.idle"] = True  # of the line as it stands, too
        for target in split.emptied:
            self._wrote(self._variables.expanded(target)[0], "", found.setdefault(text, Facts()))
        return found

    # --- lines that are no commands

    def _protocol(self, text: str, found: dict[str, Facts]) -> bool:
        """Whether a line is one of scp's own, which names the file that comes."""
        if self._sink is None:
            return False
        named = _SCP_FILE.match(text)
        if named is None:
            if not _SCP_OTHER.match(text):
                self._sink = None
            return self._sink is not None
        folder = self.files.at(self._sink)
        path = (
            self._sink
            if folder and self._sink.rpartition("/")[2] == named["name"]
            else f"{self._sink}/{named['name']}"
        )
        file = self._came(resolved(path, "/"), "uploaded", "uploaded")
        facts = found.setdefault(text, Facts())
        if file is not None:
            facts.say("stdin.received", {"uploaded": file.origins["uploaded"]})
        return True

    def _answer(self, text: str, found: dict[str, Facts]) -> bool:
        """Whether a line answers a prompt."""
        if not self._answers:
            return False
        word = text.strip()
        if not word or " " in word or word in COMMANDS or word.startswith(("/", "./")):
            self._answers = 0
            return False
        self._answers -= 1
        found.setdefault(text, Facts()).values["answer"] = True
        found[text].because["answer"] = (
            f"answers the prompt of an earlier line, no command (line {self._number})"
        )
        return True

    # --- commands

    def _facts(self, command: Command, found: dict[str, Facts]) -> Facts:
        text = " ".join((command.text, *" ".join(command.more).split()))
        if text not in found and len(found) >= MAX_FACTS:
            self.capped += 1
            return Facts()
        return found.setdefault(text, Facts())

    def _command(self, command: Command, facts: Facts, feeding: dict[str, str]) -> dict[str, str]:
        """Takes one simple command in; how what it writes to a pipe came."""
        words = [value for word in command.words for value in self._variables.expanded(word)]
        if self._variables.assigned(words):
            return {}
        rest, script = look_through(words)
        if script is not None:  # its commands are known by their texts as typed
            script = look_through(list(command.words))[1] or script
        if self._aliases and rest and (program := self._program(rest[0])):
            rest, script = look_through([program, *rest[1:]])
        if not rest:
            return {}
        name, arguments = rest[0].rpartition("/")[2], rest[1:]
        if name in COMPILERS | BUILDERS and "/" in rest[0] and place_of(rest[0]) != BIN:
            name = rest[0]  # another's program: no compiler
        self._taken_in(name, command, feeding)
        self._place(name, arguments)
        self._stated(name, facts)
        handled = self._special(name, arguments, command, facts, feeding)
        own = {} if handled else self._own_arguments(name, arguments, facts)
        piped = self._streams(name, arguments, command, facts, feeding) or own
        if script is None and not handled:
            self._ran(rest, facts, feeding)
        elif script is not None:
            self._inner(script)
        if name in RECON or (name == "cat" and any(a.startswith("/proc/") for a in arguments)):
            self._course.recon += 1
            self._course.last_recon = self._number
        return piped

    def _program(self, word: str) -> str:
        """The program that a name is a copy of; empty when it is none that the session made."""
        if "/" in word:
            return self._aliases.get(resolved(word, self._cwd), "")
        return "" if word in COMMANDS else self._aliases.get(word, "")

    def _taken_in(self, name: str, command: Command, feeding: dict[str, str]) -> None:
        """What was fetched to be printed is brought here when a program makes something of it."""
        if self._printed and command.fed and feeding and (name in TAKES_IN or self._target(command)):
            facts, sources = self._printed
            facts.values["fetch.source"] = sources
            self._printed = None

    def _inner(self, script: str) -> None:
        """What a shell or a wrapper is given as text to run, as commands of this line."""
        if self._depth >= MAX_NESTING:
            self.capped += 1
            return
        self._depth += 1
        for command in split_commands(script).commands:
            self._command(command, self._facts(command, self.facts[-1]), {})
        self._depth -= 1

    def _stated(self, name: str, facts: Facts) -> None:
        course = self._course
        if name in _CHANGERS:
            course.changed = True
        elif name in _REMOVERS:
            self._idle.append(not (course.worked or course.changed))
            if self._idle[-1]:
                facts.values["session.idle"] = True
        if course.worked:
            facts.values["session.worked"] = True
        if course.recon:
            facts.values["session.recon"] = course.recon
            facts.values["session.last_recon_lines"] = self._number - course.last_recon

    def _place(self, name: str, arguments: Sequence[str]) -> None:
        if name in ("cd", "pushd", "chdir"):
            target = next((a for a in arguments if not a.startswith("-")), HOME)
            self._stack = [*self._stack[-8:], self._cwd]
            self._cwd = resolved(target, self._cwd) if "$" not in target else self._cwd
        elif name == "popd" and self._stack:
            self._cwd = self._stack.pop()

    def _reason(self, what: str) -> str:
        return f"{what} by line {self._number}: {self._text[:REASON_CHARS]}"

    # --- files

    def _came(self, path: str, origin: str, what: str) -> File | None:
        """Notes that a file came; what was tried under its name before came later."""
        if origin != "copied" and self._aliases.pop(path, ""):
            self._aliases.pop(path.rpartition("/")[2], "")
        file = self.files.came(path, origin, self._reason(what))
        self._course.changed = True
        if origin in ("fetched", "uploaded"):
            self._course.worked = True
            for pending in self._pending.pop(path.rpartition("/")[2], ()):
                self._waiting -= 1
                later = pending.facts.values.setdefault("later.exec", [])
                if origin not in later:
                    later.append(origin)
                pending.facts.because.setdefault("later.exec", self._reason(what))
        return file

    def _file(self, name: str) -> File | None:
        """The file of the session that a name is for: by its path, else by its base name."""
        path = resolved(name, self._cwd)
        found = self.files.at(path)
        if found is not None:
            return found
        folder, _, base = path.rpartition("/")
        if place_of(folder + "/") == BIN and base in COMMANDS:
            return None
        if "/" not in name.removeprefix("./") and (found := self.files.named(base)) is not None:
            return found
        return None if "://" in name else self._sent(path, base)

    def _sent(self, path: str, base: str) -> File | None:
        """The file of a path, when the sensor saw one of its name come before this line."""
        seen = self._transfers.get(base)
        if seen is None or seen.ts is None or self._ts is None or seen.ts > self._ts:
            return None
        if seen.name.startswith("/") and seen.name != path:
            return None
        self._course.worked = True
        return self.files.came(path, seen.kind, seen.reason)

    def _files(self, name: str) -> list[File]:
        if _GLOB.search(name):
            return self.files.matching(resolved(name, self._cwd))
        found = self._file(name)
        return [found] if found else []

    def _own_arguments(self, name: str, arguments: Sequence[str], facts: Facts) -> dict[str, str]:
        """What files of the session are among the arguments; how what is read of them came."""
        own: list[File] = []
        if name in INTERPRETERS:
            arguments = inline_removals(given_text(arguments)) or arguments
        for word in arguments:
            if not word.startswith("-"):
                own += self._files(word) or (self._files(word + ".service") if name in UNIT_TOOLS else [])
        origins = origins_of(own) or self._unpacked_here(name, arguments)
        facts.say("arg.origin", origins)
        if own and all(file.trivial and not file.runs for file in own):
            facts.values["arg.trivial"] = True
            facts.because.setdefault("arg.trivial", facts.because["arg.origin"])
        self._became(name, arguments, own, facts)
        return origins if name in ("cat", "head", "tail", "base64", "xxd", "zcat", "dd") else {}

    def _unpacked_here(self, name: str, arguments: Sequence[str]) -> dict[str, str]:
        """Whether arguments may be files that came out of an archive of the session."""
        plain = [word for word in arguments if not word.startswith("-")] if name in ("cat", "chmod") else []
        words = plain[name == "chmod" :] or [
            word for word in arguments if _GLOB.search(word) or word.startswith("./")
        ]
        paths = (resolved(word, self._cwd) for word in words)
        reason = next(filter(None, map(self.files.unpacked, paths)), "")
        return {"extracted": reason} if reason else {}

    def _became(self, name: str, arguments: Sequence[str], own: Sequence[File], facts: Facts) -> None:
        """What a command makes of the files of the session, and which become its own by it."""
        if name in ("rm", "unlink", "shred"):
            self._removed(own)
        elif name == "rmdir":
            self._undone(arguments, facts)
        elif name == "chmod" and grants_running(arguments):
            self._armed(arguments, own, facts)
        elif name in ("cp", "mv", "ln", "install"):
            if own:
                self._renamed(arguments, own)
            else:
                self._copied_program(arguments)
        elif name in ("touch", "mkdir", *EDITORS):
            for word in made_by(name, arguments):
                self._made(name, word, facts)

    def _removed(self, own: Sequence[File]) -> None:
        for file in own:
            file.removed = True
            if file.trivial and (made := self._touched.pop(file.path, None)) is not None:
                made.values["write.trivial"] = True

    def _undone(self, arguments: Sequence[str], facts: Facts) -> None:
        """Directories that were made and are removed as empty as they were: they only asked whether that can be done."""
        for path in (resolved(word, self._cwd) for word in arguments if not word.startswith("-")):
            made = self._touched.get(path)
            if made is None or self.files.at(path) is not None or self.files.below(path):
                continue
            made.values["write.trivial"] = facts.values["arg.trivial"] = True
            facts.say("arg.origin", {"written": made.because["write.path"]})
            facts.because["arg.trivial"] = made.because["write.path"]

    def _armed(self, arguments: Sequence[str], own: Sequence[File], facts: Facts) -> None:
        for file in own:
            file.executable = True
            file.origins.setdefault("chmodded", self._reason("made executable"))
            self._to_run[file.path] = facts
        for word in [] if own else [a for a in arguments if not a.startswith("-")][1:]:
            if not _GLOB.search(word) and "$" not in word:
                self._came(path := resolved(word, self._cwd), "chmodded", "made executable")
                self._to_run[path] = facts

    def _made(self, name: str, word: str, facts: Facts) -> None:
        """An empty file or a directory that a command makes, or a text that somebody types into an editor."""
        path = resolved(word, self._cwd)
        if name == "mkdir":
            facts.values["write.path"], facts.values["write.place"] = path, place_of(path)
            facts.because["write.path"] = self._reason("made")
            if len(self._touched) < MAX_PENDING:
                self._touched.setdefault(path, facts)
        elif name != "touch":
            if (file := self._came(path, "written", "written")) is not None:
                file.trivial = False
        elif self.files.at(path) is None:
            self._wrote(word, "", facts)
            facts.values.pop("write.trivial", None)
            if len(self._touched) < MAX_PENDING:
                self._touched[path] = facts

    def _copied_program(self, arguments: Sequence[str]) -> None:
        """A program of the system that gets another name."""
        program, target = copied_program(arguments)
        if program and len(self._aliases) < MAX_VARIABLES:
            self._came(path := resolved(target, self._cwd), "copied", "copied")
            self._aliases[path] = self._aliases[path.rpartition("/")[2]] = program

    def _renamed(self, arguments: Sequence[str], own: Sequence[File]) -> None:
        target = [a for a in arguments if not a.startswith("-")][-1]
        folder = target.endswith("/") or target in (".", "..") or len(own) > 1
        for file in own:
            path = resolved(f"{target}/{file.name}" if folder else target, self._cwd)
            if path == file.path:
                continue
            for origin, reason in list(file.origins.items()):
                self.files.came(path, origin, reason)
            self.files.came(path, "copied", self._reason("copied"))

    def _special(
        self, name: str, arguments: Sequence[str], command: Command, facts: Facts, feeding: dict[str, str]
    ) -> bool:
        """Programs that bring, unpack, make or receive files; whether it was one."""
        if name == "passwd":
            fed = command.fed or any("<" in operator for operator, _ in command.redirects)
            self._answers = 0 if fed else ANSWERS
            return True
        if name == "scp" and (sink := scp_sink(arguments)) is not None:
            self._scp(sink, facts)
            return True
        brought = fetches(name, arguments)
        if not brought and not command.fed and self._target(command):
            brought = read_from_host(name, arguments)
        if brought:
            self._brought(brought, command, facts, name in INTERPRETERS)
            folders = [one.name for one in brought] if name == "git" else mirrored(arguments)
            for folder in folders if name in ("git", "wget") else ():
                self.files.unpack(resolved(folder, self._cwd), self._reason("fetched"))
            return True
        if name in BUILDERS:
            self._built(arguments, facts)
            return True
        if name in COMPILERS:
            self._compiled(name, arguments, facts)
            return True
        if name in EXTRACTORS:
            return self._extracted(name, arguments, command, facts, feeding)
        return False

    def _brought(self, brought: Sequence[Fetch], command: Command, facts: Facts, kept: bool) -> None:
        paths = [resolved(to, self._cwd) for one in brought if (to := one.name or self._target(command))]
        for path in paths:
            self._came(path, "fetched", "fetched")
        if paths:
            kept = True
            facts.values["fetch.path"] = paths[:MAX_VALUES]
            facts.because["fetch.path"] = self._reason("fetched")
        self._course.worked = True
        sources = [one.source for one in brought[:MAX_VALUES]]
        if kept or command.inner or self._depth:
            facts.values["fetch.source"] = sources
        else:
            self._printed = facts, sources
        facts.because["fetch.source"] = self._reason("fetched")

    def _scp(self, sink: str, facts: Facts) -> None:
        path = resolved(sink, self._cwd)
        self._sink = path
        if not sink.endswith("/") and sink != ".":
            self._came(path, "uploaded", "uploaded")
        self._receives(facts, path)

    def _receives(self, facts: Facts, path: str) -> None:
        self._course.worked = True
        facts.values["stdin.origin"] = ["client"]
        facts.values["write.path"], facts.values["write.place"] = path, place_of(path)
        facts.because["stdin.origin"] = (
            f"nobody here feeds it: the bytes come from the client (line {self._number})"
        )

    def _built(self, arguments: Sequence[str], facts: Facts) -> None:
        """``make`` and its like, in a directory that the session brought; what only checks or copies builds nothing."""
        if not NO_BUILD.isdisjoint(arguments):
            return
        folder = value_of(arguments, "-C") or "."
        inside = resolved(f"{folder}/Makefile", self._cwd)
        reason = self.files.unpacked(inside)
        own = self.files.at(inside)
        facts.say("arg.origin", {"extracted": reason} if reason else origins_of([own] if own else []))

    def _compiled(self, name: str, arguments: Sequence[str], facts: Facts) -> None:
        sources, target = compiled_to(arguments)
        target = named_after_source(name, arguments) or target
        own = [file for word in sources for file in self._files(word)]
        facts.say("arg.origin", origins_of(own))
        if own:
            self._came(resolved(target, self._cwd), "compiled", "compiled")

    def _extracted(
        self, name: str, arguments: Sequence[str], command: Command, facts: Facts, feeding: dict[str, str]
    ) -> bool:
        archives, folder = extracted_to(name, arguments)
        own = origins_of(file for word in archives for file in self._files(word)) | (
            feeding if command.fed else {}
        )
        fed = command.fed or command.inner or any("<" in op for op, _ in command.redirects)
        if not own and not fed and untars_input(name, arguments):
            self._receives(facts, resolved(folder, self._cwd))
            self.files.unpack(resolved(folder, self._cwd), self._reason("unpacked"))
        facts.say("arg.origin", own)
        if own:
            self.files.unpack(resolved(folder, self._cwd), self._reason("unpacked"))
            for word in archives:
                stem = re.sub(r"\.(?:gz|bz2|xz|lzma|zst|tgz|tar\.\w+|tar|zip)\Z", "", word)
                if stem != word and name in UNPACKERS:
                    self._came(resolved(stem, self._cwd), "extracted", "unpacked")
        return True

    # --- what goes in and out

    def _target(self, command: Command) -> str:
        """The file that the output goes to; empty for none."""
        return next(
            (
                self._variables.expanded(t)[0]
                for op, t in command.redirects
                if op in (">", ">>", ">|", "&>", "&>>") and not is_device(t)
            ),
            "",
        )

    def _streams(
        self, name: str, arguments: Sequence[str], command: Command, facts: Facts, feeding: dict[str, str]
    ) -> dict[str, str]:
        """Where the input comes from and the output goes."""
        read = [self._variables.expanded(t)[0] for op, t in command.redirects if op == "<"]
        feeding = feeding | origins_of(file for word in read for file in self._files(word))
        if feeding:
            facts.say("stdin.origin", feeding)
        fed = command.fed or bool(command.more) or any("<" in op for op, _ in command.redirects)
        target = self._target(command)
        filled = receiver(name, arguments, target) if not fed else ""
        if filled:
            self._receives(facts, resolved(filled, self._cwd))
            self._came(resolved(filled, self._cwd), "uploaded", "uploaded")
        elif name in ("tee", "dd") and (kept := receiver(name, arguments, target)):
            self._wrote(kept, None, facts)
        elif target and "fetch.source" not in facts.values:
            self._wrote(target, _written(name, arguments, command), facts)
        printed = self._printed is not None and self._printed[0] is facts
        if (printed or "fetch.source" in facts.values) and not target:
            return {"fetched": self._reason("fetched")}
        if name in ("base64", "xxd", "openssl") and any(
            a in ("-d", "-D", "--decode", "-r", "-p") for a in arguments
        ):
            return {"decoded": self._reason("decoded")}
        return feeding if name in PASSES_ON else {}

    def _wrote(self, target: str, text: str | None, facts: Facts) -> None:
        """A file that a redirection writes; its text, None when a program writes what the line does not say."""
        path = resolved(target, self._cwd)
        known, changed = self.files.at(path), self._course.changed
        file = self._came(path, "written", "written")
        if file is not None:
            file.trivial = (
                text is not None
                and (known is None or known.trivial)
                and len(text) <= TRIVIAL_CHARS
                and len(text.split()) < 2
                and not _SHELL_TEXT.search(text)
            )
        facts.values["write.path"], facts.values["write.place"] = path, place_of(path)
        if file is not None and file.trivial:
            facts.values["write.trivial"] = True
            self._course.changed = changed  # whoever only asks whether it may write has changed nothing yet
        if text and (named := self._names_own(text, path)):
            facts.values["write.names_own"] = True
            facts.because["write.names_own"] = next(iter(named.origins.values()))

    def _names_own(self, text: str, besides: str) -> File | None:
        for word in re.split(r"[\s;&|<>\"'()=]+|\\n", text)[:MAX_FACTS]:
            file = self.files.at(resolved(word, self._cwd)) if "/" in word else None
            if file is not None and file.path != besides:
                return file
        return None

    # --- what is run

    def _ran(self, words: Sequence[str], facts: Facts, feeding: dict[str, str]) -> None:
        """What a command runs, and how that came here."""
        name = words[0].rpartition("/")[2]
        target, via = words[0], "direct"
        if runs_others(name) and (name == words[0] or place_of(words[0]) == BIN or name not in RUNNERS):
            plain = [w for w in words[1:] if not w.startswith("-")]
            if not plain or (feeding and "-s" in words):
                if feeding and name in SHELLS:
                    self._course.worked = True
                    facts.values["exec.via"] = "sh"
                return
            target, via = plain[0], "sh" if name in SHELLS or name in (".", "source") else name
        elif name == "find":
            names, runner = found_by_name(words[1:])
            for file in (
                [f for n in names for f in self._files(n)] if runs_others(runner) or runner == "{}" else ()
            ):
                self._run(file.path, "sh" if runner in SHELLS else runner, facts)
            return
        elif "/" not in words[0] and words[0] in COMMANDS:
            return
        self._run(target, via, facts)

    def _run(self, target: str, via: str, facts: Facts) -> None:
        path = resolved(target, self._cwd)
        base = path.rpartition("/")[2]
        file = self._file(target)
        origins = {how: why for how, why in (file.origins if file else {}).items() if how != EXECUTED}
        if not origins and (reason := self.files.unpacked(path)) and ("/" in target or via != "direct"):
            origins = {"extracted": reason}
        if file is not None:
            file.runs += 1
            file.origins.setdefault(EXECUTED, self._reason("run"))
            if (made := self._to_run.pop(file.path, None)) is not None:
                made.values["arg.run_later"] = True
                made.because["arg.run_later"] = self._reason("run")
        if origins:
            facts.say("exec.origin", origins)
            facts.values["exec.via"] = via
            self._course.worked = True
            return
        if base in COMMANDS or "$" in target or _GLOB.search(target) or not base:
            return
        seen = self._transfers.get(base)
        if seen is not None:
            facts.values["later.exec"] = [seen.kind]
            facts.because["later.exec"] = seen.reason
        self._course.changed |= "/" in target or via != "direct"
        self._try(path, base, via, facts)

    def _try(self, path: str, base: str, via: str, facts: Facts) -> None:
        """A name that nothing is known of: it may be tried elsewhere, or come later."""
        tried = self._tried[base] if base in self._tried or len(self._tried) < MAX_PENDING else set[str]()
        tried.add(path.rpartition("/")[0])
        facts.values["exec.tried_dirs"], facts.values["exec.via"] = len(tried), via
        for earlier in self._pending.get(base, ()):
            earlier.facts.values["exec.tried_dirs"] = len(tried)
        if self._waiting < MAX_PENDING:
            self._waiting += 1
            self._pending[base].append(_Pending(facts, path))


def _written(name: str, arguments: Sequence[str], command: Command) -> str | None:
    """What a command writes, where the line says it itself."""
    if name in ("echo", "printf", ":", "true"):
        return " ".join((*(a for a in arguments if a not in _ECHO_OPTIONS), *command.more))
    return " ".join(command.more) if name == "cat" and (command.more or not arguments) else None


def read_script(lines: Iterable[str], transfers: Iterable[Transfer] = ()) -> Script:
    """The facts of all lines of a session."""
    script = Script(transfers)
    for line in lines:
        script.line(line)
    return script
