"""Strict YAML with positions: no aliases, no duplicate keys, bounded depth, one document.

Every value keeps the place where it stands, so that a later check can point at it. What an error
is called (a rule's, a fleet file's) is left to the reader of the file, which turns flaws into its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from decnet.documents import Document, Flaw, Path, Spot
from decnet.errors import SourcePosition

MAX_DEPTH = 50
_ALLOWED = {
    "tag:yaml.org,2002:str",
    "tag:yaml.org,2002:int",
    "tag:yaml.org,2002:float",
    "tag:yaml.org,2002:bool",
    "tag:yaml.org,2002:null",
}
_TEXT = "tag:yaml.org,2002:str"
_AS_TEXT = {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value", "tag:yaml.org,2002:merge"}
_FAST: Any = getattr(yaml, "CSafeLoader", None)
"""libyaml's parser where PyYAML was built with it."""
_MARK = re.compile(r"(?:^|[\s\[{,:?-])[!&*]")
"""What may be a tag, which the parsers do not read alike, or an anchor: the slow one's word counts, unless it is none."""
MAX_FAST_CHARS, MAX_FAST_FLOWS, MAX_FAST_LINE = 1 << 18, 2_000, 5_000
"""Of a text with more characters, opening brackets or a longer line libyaml could be made to recurse without end."""


def parse_strict(text: str, file: str) -> tuple[Document | None, list[Flaw]]:
    """The document in ``text`` and all structural errors; None when there is nothing to build on."""
    node = _fast_node(text)
    if node is not None:
        builder = _Builder(file)
        value = builder.build(node, ())
        if builder.depth <= MAX_DEPTH:
            return Document(file, value, builder.keys, builder.values), builder.errors
    # Of what libyaml refuses the slow parser says where, and decides.
    events: list[yaml.Event] = []
    if errors := _check_events(text, file, events):
        return None, errors
    node = _Composer(events).get_single_node()
    if node is None:
        return None, [Flaw("the file is empty", SourcePosition(file, 1, 1))]
    builder = _Builder(file)
    value = builder.build(node, ())
    return Document(file, value, builder.keys, builder.values), builder.errors


def _fast_node(text: str) -> yaml.Node | None:
    """What libyaml makes of a text that cannot make it go too deep; None when it is for the slow parser to say.

    A level of blocks takes a character of its line at least, one of brackets takes a bracket.
    """
    if _FAST is None or len(text) > MAX_FAST_CHARS or "\t" in text:  # nor do they read tabs alike
        return None
    if text.count("[") + text.count("{") > MAX_FAST_FLOWS or max(map(len, text.split("\n"))) > MAX_FAST_LINE:
        return None
    try:
        if _MARK.search(text) and any(map(_is_marked, yaml.parse(text, Loader=_FAST))):
            return None
        loader = _FAST(text)
        try:
            return loader.get_single_node()  # type: ignore[no-any-return]
        finally:
            loader.dispose()
    except (yaml.YAMLError, UnicodeEncodeError):
        return None


def _is_marked(event: Any) -> bool:
    """Whether it has a tag or an anchor, or stands for another; most of what looks so stands within a text."""
    return isinstance(event, yaml.AliasEvent) or bool(
        getattr(event, "anchor", None) or getattr(event, "tag", None)
    )


def _place(file: str, mark: Any) -> SourcePosition:
    return (
        SourcePosition(file, mark.line + 1, mark.column + 1)
        if mark is not None
        else SourcePosition(file, 1, 1)
    )


def _check_events(text: str, file: str, events: list[yaml.Event]) -> list[Flaw]:
    """Errors that must be known before nodes are built: syntax, aliases, depth, more documents.

    ``events`` gets what was read, one at a time: the parser goes no deeper than it is asked to.
    """
    errors: list[Flaw] = []
    depth = documents = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            events.append(event)
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents == 2:
                    errors.append(Flaw("only one document a file", _place(file, event.start_mark)))
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    return [*errors, Flaw(f"nesting over {MAX_DEPTH}", _place(file, event.start_mark))]
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            errors += _anchor_error(event, file)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        errors.append(Flaw(f"not YAML: {error.problem or error.context}", _place(file, mark)))
    except UnicodeEncodeError as error:
        errors.append(Flaw(f"not YAML: {error.reason}", SourcePosition(file, 1, 1)))
    except yaml.YAMLError as error:
        errors.append(Flaw(f"not YAML: {str(error).splitlines()[0]}", _offset_place(file, text, error)))
    return errors


def _offset_place(file: str, text: str, error: yaml.YAMLError) -> SourcePosition:
    """The place of a character that YAML does not allow; the reader only knows an offset."""
    position = getattr(error, "position", None)
    if not isinstance(position, int):
        return SourcePosition(file, 1, 1)
    before = text[:position]
    return SourcePosition(file, before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1)


def _anchor_error(event: Any, file: str) -> list[Flaw]:
    if isinstance(event, yaml.AliasEvent):
        return [Flaw(f"alias '*{event.anchor}' is not allowed", _place(file, event.start_mark))]
    if getattr(event, "anchor", None):
        return [Flaw(f"anchor '&{event.anchor}' is not allowed", _place(file, event.start_mark))]
    return []


class _Composer(yaml.composer.Composer, yaml.resolver.Resolver):
    """Nodes from events that were read before: reading the text is most of the work, and is done once."""

    def __init__(self, events: Sequence[yaml.Event]) -> None:
        yaml.composer.Composer.__init__(self)
        yaml.resolver.Resolver.__init__(self)
        self._events = events
        self._at = 0

    def peek_event(self) -> yaml.Event | None:
        """The next event."""
        return self._events[self._at] if self._at < len(self._events) else None

    def check_event(self, *choices: type[yaml.Event]) -> bool:
        """Whether there is a next event, of one of these kinds."""
        event = self.peek_event()
        return event is not None and (not choices or isinstance(event, choices))

    def get_event(self) -> yaml.Event | None:
        """Takes the next event."""
        event = self.peek_event()
        self._at += 1
        return event


class _Builder:
    """Turns nodes into values; the depth is bounded by the event check before."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.errors: list[Flaw] = []
        self.keys: dict[Path, Spot] = {}
        self.values: dict[Path, Spot] = {}
        self.depth = 0
        """Collections within each other."""
        self._constructor = yaml.constructor.SafeConstructor()

    def build(self, node: yaml.Node, path: Path) -> Any:
        mark = node.start_mark
        self.values[path] = (mark.line + 1, mark.column + 1)
        if isinstance(node, yaml.ScalarNode):
            return str(node.value) if node.tag == _TEXT else self._scalar(node)
        if (depth := len(path) + 1) > self.depth:
            self.depth = depth
        if depth > MAX_DEPTH:
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, i)) for i, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                place = _place(self.file, key_node.start_mark)
                self.errors.append(Flaw("a key must be plain text", place))
                continue
            key = str(key_node.value)
            if key in out:
                place = _place(self.file, key_node.start_mark)
                self.errors.append(Flaw(f"duplicate key '{key}'", place))
                continue
            mark = key_node.start_mark
            self.keys[(*path, key)] = (mark.line + 1, mark.column + 1)
            out[key] = self.build(value_node, (*path, key))
        return out

    def _scalar(self, node: yaml.Node) -> Any:
        if node.tag in _AS_TEXT:
            return str(node.value)
        if node.tag not in _ALLOWED:
            self.errors.append(Flaw(f"tag '{node.tag}' is not allowed", _place(self.file, node.start_mark)))
            return str(node.value)
        try:
            return self._constructor.construct_object(node)
        except (ValueError, yaml.YAMLError) as error:
            self.errors.append(Flaw(f"bad value: {error}", _place(self.file, node.start_mark)))
            return None
