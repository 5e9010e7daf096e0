"""What a text given to an interpreter (``python -c``, ``perl -e``, ``php -r``) fetches or removes; pure, read by its words.

Nothing is parsed: a call that is known to fetch, a URL, and the quoted name beside it. What a text builds from
parts is not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_GIVEN = re.compile(r"-\w*[cer]\Z")
_FETCHES = re.compile(
    r"urlretrieve|urlopen|requests\.get|getstore|LWP|mirror\(|file_get_contents|curl_exec|\bcopy\(|URI\.open|open-uri|Net::HTTP"
    r"|HTTP::Tiny|http\.get|socket\.http|wget\.download"
)
_REMOVES = re.compile(
    r"(?:os\.(?:remove|unlink)|\bunlink|shutil\.rmtree|File\.delete|FileUtils\.rm\w*)[\s(]*['\"]([^'\"\s]{1,256})['\"]"
)
_QUOTED = re.compile(r"['\"]([^'\"\s]{1,256})['\"]")
_URL = re.compile(r"(?i)(?:https?|ftp)://\S+")
_MODES = frozenset({"r", "w", "a", "rb", "wb", "ab", "w+", "wb+", "r+", "utf-8"})


def given_text(words: Sequence[str]) -> str:
    """The text that an interpreter's arguments give it to run; empty when they give none."""
    return next((words[i + 1] for i, word in enumerate(words[:-1]) if _GIVEN.match(word)), "")


def inline_fetch(text: str) -> tuple[str, str] | None:
    """The file (empty: none is named) and the URL of what a text fetches; None when it fetches nothing."""
    if not _FETCHES.search(text) or not (url := _URL.search(text)):
        return None
    names = [m for m in _QUOTED.finditer(text) if "://" not in m[1] and m[1] not in _MODES]
    after = [m[1] for m in names if m.start() >= url.start()]
    before = [m[1] for m in names if m.start() < url.start()]
    source = re.split(r"['\"\s)]", url[0], maxsplit=1)[0]
    return (after[0] if after else before[-1] if before else ""), source


def inline_removals(text: str) -> list[str]:
    """The files that a text removes by their names."""
    return _REMOVES.findall(text)
