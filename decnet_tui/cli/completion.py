"""``completion``: a script that completes commands and options in a shell, made from the commands as they are.

The script is static: a key press starts no Python. File names are completed by the shell itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum, StrEnum
from typing import Annotated, Any, NamedTuple

import typer

_NAME = "decnet-tui"


class Shell(StrEnum):
    """Shells that scripts are made for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


class Choice(NamedTuple):
    """A word that may come next, and what it is."""

    word: str
    says: str
    values: tuple[str, ...] = ()
    """Of an option what may stand behind it; empty for anything."""
    takes: bool = False
    """Whether something stands behind it."""


class Node(NamedTuple):
    """A command: what may follow it."""

    parts: Sequence[Choice]
    options: Sequence[Choice]


def completion(
    shell: Annotated[Shell, typer.Argument(help="bash, zsh or fish.")],
) -> None:
    """Prints a completion script: put it where the shell looks for such, or `source` it."""
    from typer.main import get_command

    from decnet_tui.cli.main import app

    tree = dict(_tree(get_command(app), ""))
    typer.echo({Shell.BASH: _bash, Shell.ZSH: _zsh, Shell.FISH: _fish}[shell](tree), nl=False)


def _tree(command: Any, path: str) -> Iterator[tuple[str, Node]]:
    """Every command by its path (words joined by blanks) with what may follow."""
    parts: list[Choice] = []
    below: list[tuple[str, Any]] = []
    if hasattr(command, "list_commands"):
        context = command.make_context(_NAME, [], resilient_parsing=True)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            parts.append(Choice(name, _first(found.help)))
            below.append((f"{path} {name}".strip(), found))
    options = [
        Choice(name, _first(param.help), _values(param), not param.is_flag)
        for param in command.params
        if param.param_type_name == "option" and not getattr(param, "hidden", False)
        for name in param.opts
    ]
    yield path, Node(parts, [*options, Choice("--help", "Show what it does and end.")])
    for where, found in below:
        yield from _tree(found, where)


def _values(param: Any) -> tuple[str, ...]:
    kind = param.type_descriptor.annotation
    return tuple(str(one.value) for one in kind) if isinstance(kind, type) and issubclass(kind, Enum) else ()


def _first(text: str | None) -> str:
    """The first sentence, without what a shell would read."""
    line = " ".join((text or "").split("\n\n")[0].split()).partition(". ")[0].rstrip(".")
    return "".join(c for c in line if c not in "'\"`\\$[]")[:90]


# --- bash


_BASH = """\
# bash completion for decnet-tui
_decnet_tui() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} path="" next word i words="" files=1
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${{COMP_WORDS[i]}}
        next="${{path:+$path }}$word"
        case "$next" in
            {paths}) path=$next ;;
        esac
    done
    case "$path $prev" in
{values}
    esac
    case "$path" in
{words}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
    if [[ $files == 1 && $cur != -* ]]; then
        COMPREPLY+=($(compgen -f -- "$cur"))
    fi
}}
complete -o filenames -F _decnet_tui decnet-tui
"""


def _bash(tree: Mapping[str, Node]) -> str:
    paths = "|".join(f'"{path}"' for path in tree if path)
    values = [
        f'        "{path} {choice.word}") COMPREPLY=($(compgen -W "{" ".join(choice.values)}" -- "$cur")); return ;;'
        for path, node in tree.items()
        for choice in node.options
        if choice.values
    ]
    words = []
    for path, node in tree.items():
        every = " ".join(choice.word for choice in (*node.parts, *node.options))
        files = " files=0" if node.parts else ""
        words.append(f'        "{path}") words="{every}"{files} ;;')
    return _BASH.format(paths=paths, values="\n".join(values), words="\n".join(words))


def _zsh(tree: Mapping[str, Node]) -> str:
    return "#compdef decnet-tui\nautoload -U +X bashcompinit && bashcompinit\n" + _bash(tree)


# --- fish


def _fish(tree: Mapping[str, Node]) -> str:
    lines = ["# fish completion for decnet-tui"]
    lines += [f"complete -c {_NAME} -n '__fish_is_first_token' -f"]
    for path, node in tree.items():
        when = _fish_when(path, tree)
        lines += [f"complete -c {_NAME} -n '{when}' -f -a {c.word} -d '{c.says}'" for c in node.parts]
        for choice in node.options:
            style = "l" if choice.word.startswith("--") else "s"
            values = f" -x -a '{' '.join(choice.values)}'" if choice.values else " -r" if choice.takes else ""
            lines.append(
                f"complete -c {_NAME} -n '{when}' -{style} {choice.word.lstrip('-')}{values} -d '{choice.says}'"
            )
    return "\n".join(lines) + "\n"


def _fish_when(path: str, tree: Mapping[str, Node]) -> str:
    words = path.split()
    if not words:
        return "__fish_use_subcommand"
    seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in words)
    parts = " ".join(choice.word for choice in tree[path].parts)
    return f"{seen}; and not __fish_seen_subcommand_from {parts}" if parts else seen


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(completion)
