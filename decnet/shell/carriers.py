"""Programs that run another one somewhere else or in another way, and what they run.

Other than the wrappers of :mod:`decnet.shell.wrappers`, which leave no trace in what is judged, a carrier
is a command of its own (``docker exec``, ``chroot``, ``ssh``): it keeps its view, and what it runs gets one
beside it. Pure; whether a carried text is a script or words is the carrier's own way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile


@dataclass(frozen=True, slots=True)
class Carried:
    """What one command runs: word lists, and texts that a shell would read."""

    words: tuple[list[str], ...] = ()
    scripts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Way:
    """Options that take a value, operands before the command, whether a shell reads the words as one text."""

    values: frozenset[str] = frozenset()
    operands: int = 0
    script: bool = False


def _way(values: str = "", operands: int = 0, script: bool = False) -> _Way:
    return _Way(frozenset(values.split()), operands, script)


_SSH = _way("-o -p -i -l -F -J -L -R -D -W -b -c -E -e -I -m -O -Q -S -w -B", 1, script=True)
_WAYS: dict[str, _Way] = {
    **dict.fromkeys(("ssh", "dbclient", "slogin"), _SSH),
    **dict.fromkeys(("unbuffer", "fakeroot", "torsocks", "torify", "tsocks", "eatmydata", "linux32"), _way()),
    **dict.fromkeys(("linux64", "i386", "dbus-run-session", "catchsegv", "tini", "dumb-init"), _way()),
    **dict.fromkeys(("setuidgid", "envuidgid", "gosu", "su-exec", "s6-setuidgid", "setarch"), _way("", 1)),
    **dict.fromkeys(("proxychains", "proxychains4"), _way("-f")),
    **dict.fromkeys(("strace", "ltrace"), _way("-e -o -s -u -E -p -P -a -b -I -O -S -X -n -A -l -x -w")),
    "watch": _way("-n --interval -s --shotsdir -q --equexit", script=True),
    "chroot": _way("", 1),
    "nsenter": _way("-t --target -S -G -W"),
    "unshare": _way("-R -w -S -G -l --root --wd --setuid --setgid --map-user --map-group"),
    "taskset": _way("", 1),
    "chrt": _way("-T -P -D", 1),
    "chpst": _way("-u -U -b -/ -e -n -l -L -m -d -o -p -f -c -r -t -a -C -s"),
    "softlimit": _way("-a -c -d -f -l -m -o -p -r -s -t"),
    "sshpass": _way("-p -f -d -P"),
    "pkexec": _way("--user"),
    "setpriv": _way("--reuid --regid --groups --inh-caps --bounding-set"),
    "numactl": _way("-i -p -m -N -C"),
    "cpulimit": _way("-l -p -e -P"),
    "prlimit": _way("-o"),
    "cgexec": _way("-g"),
    "firejail": _way(),
    "proot": _way("-r -b -w -q -k"),
    "xvfb-run": _way("-e -f -n -p -s -w"),
    "rlwrap": _way("-f -H -s -C -D -a"),
    "systemd-run": _way("-u -p -E -H -M --unit --property --slice --setenv --uid --gid --description"),
    "bwrap": _way("--chdir --unsetenv --tmpfs --proc --dev --hostname --uid --gid"),
}
_ENGINES = frozenset({"docker", "podman", "nerdctl", "crictl", "kubectl", "oc", "lxc", "microk8s", "k3s"})
_ENGINE_VALUES = _way(
    "-u -e -w -v -p -c -n -h -l -m -H --user --env --workdir --volume --publish --container --namespace --name"
    " --network --net --entrypoint --hostname --host --context --kubeconfig --mount --pid --ipc --userns --cpus"
    " --memory --label --device --cap-add --cap-drop --security-opt --restart --env-file --cluster --image"
).values


def carried(words: Sequence[str]) -> Carried:
    """What the command of these words runs; nothing for a command that carries none."""
    name = words[0].rpartition("/")[2] if words else ""
    special = _SPECIAL.get(name)
    if special is not None:
        return special(words)
    way = _WAYS.get(name)
    return _by_way(words, way) if way else Carried()


def _by_way(words: Sequence[str], way: _Way) -> Carried:
    i = 1
    for operand in range(way.operands + 1):
        i, ended = skip_options(words, i, way.values)
        if operand == way.operands:
            break
        i += 1
        if ended:
            break
    rest = list(words[i:])
    if not rest:
        return Carried()
    return Carried(scripts=(" ".join(rest),)) if way.script else Carried((rest,))


def skip_options(words: Sequence[str], i: int, values: frozenset[str]) -> tuple[int, bool]:
    """Where the first word stands that is no option, and whether ``--`` ended them.

    A value may follow a cluster of short options whose last one takes it (``-nu root``).
    """
    while i < len(words) and words[i].startswith("-") and words[i] != "-":
        word = words[i]
        if word == "--":
            return i + 1, True
        cluster = len(word) > 2 and word[1] != "-" and word[1:].isalpha() and "-" + word[1] not in values
        i += 2 if word in values or (cluster and "-" + word[-1] in values) else 1
    return i, False


def _after(words: Sequence[str], names: Sequence[str]) -> str | None:
    """The word after the first of these options."""
    for word, value in pairwise(words[1:]):
        if word in names:
            return value
    return None


def _engine(words: Sequence[str]) -> Carried:
    """``docker exec [options] NAME words`` and its like; ``--`` stands before the words of a pod."""
    at, _ = skip_options(words, 1, _ENGINE_VALUES)
    verbs = takewhile(lambda i: i < at + 3, range(at, len(words)))
    verb = next((i for i in verbs if words[i] in ("exec", "run")), None)
    if verb is None:
        return Carried()
    if "--" in words[verb:]:
        rest = list(words[words.index("--", verb) + 1 :])
    else:
        i, _ = skip_options(words, verb + 1, _ENGINE_VALUES)
        rest = list(words[i + 1 :])
    return Carried((rest,)) if rest else Carried()


def _by_way_or_script(way: _Way) -> Callable[[Sequence[str]], Carried]:
    """A carrier that takes words, or a text for a shell after ``-c``."""

    def found(words: Sequence[str]) -> Carried:
        script = _after(words, ("-c", "--command"))
        return Carried(scripts=(script,)) if script else _by_way(words, way)

    return found


def _script(words: Sequence[str]) -> Carried:
    """``script -c TEXT``, also as the last letter of several (``-qc TEXT``)."""
    for word, value in pairwise(words[1:]):
        if word == "--command" or (word[:1] == "-" and word[1:2] != "-" and word.endswith("c")):
            return Carried(scripts=(value,))
    return Carried()


def _ip(words: Sequence[str]) -> Carried:
    at = next((i for i, word in enumerate(words[:6]) if word == "exec"), None)
    named = at is not None and words[at - 1] in ("netns", "net", "vrf")
    return (
        Carried((list(words[at + 2 :]),)) if at is not None and named and len(words) > at + 2 else Carried()
    )


_TERMINAL = _way("-S -s -n -c -t -L -f -T -h -e -p -x -y -F")
_PARALLEL = _way("-j -a -I --jobs -n -L -S")


def _terminal(words: Sequence[str]) -> Carried:
    """``screen -dmS name words`` and ``tmux new-session -d text``: only when they start something."""
    values = _TERMINAL.values
    i, _ = skip_options(words, 1, values)
    if words[0].endswith("tmux"):
        if not words[i : i + 1] or not words[i].startswith(("new", "split", "respawn", "run")):
            return Carried()
        i, _ = skip_options(words, i + 1, values)
        return Carried(scripts=(" ".join(words[i:]),)) if i < len(words) else Carried()
    return Carried((list(words[i:]),)) if i < len(words) else Carried()


def _trap(words: Sequence[str]) -> Carried:
    return Carried(scripts=(words[1],)) if len(words) > 2 and words[1] not in ("-", "") else Carried()


def _parallel(words: Sequence[str]) -> Carried:
    i, _ = skip_options(words, 1, _PARALLEL.values)
    rest = list(takewhile(lambda word: not word.startswith(":::"), words[i:]))
    return Carried(scripts=(" ".join(rest),)) if rest else Carried()


def _daemon(words: Sequence[str]) -> Carried:
    """``start-stop-daemon -S -x PROGRAM -- words``."""
    program = _after(words, ("-x", "--exec", "-a", "--startas"))
    if program is None or not {"-S", "--start"} & set(words):
        return Carried()
    return Carried(([program, *(words[words.index("--") + 1 :] if "--" in words else ())],))


def _find(words: Sequence[str]) -> Carried:
    """What find runs on the files that it finds."""
    rest = iter(words)
    runs = (list(takewhile(lambda word: word not in (";", "+"), rest)) for word in rest if word in _EXECS)
    return Carried(tuple(run for run in runs if run))


_EXECS = frozenset({"-exec", "-execdir", "-ok", "-okdir"})
_SPECIAL: dict[str, Callable[[Sequence[str]], Carried]] = {
    **dict.fromkeys(_ENGINES, _engine),
    "flock": _by_way_or_script(_way("-w -E --timeout --wait", 1)),
    "runuser": _by_way_or_script(_way("-u -g -G -w -l --user --group")),
    "script": _script,
    "ip": _ip,
    "screen": _terminal,
    "tmux": _terminal,
    "trap": _trap,
    "parallel": _parallel,
    "start-stop-daemon": _daemon,
    "find": _find,
    "gfind": _find,
}
CARRIERS = frozenset(_WAYS) | frozenset(_SPECIAL)
