"""What a text given to an interpreter fetches or removes, read by its words."""

from __future__ import annotations

import pytest

from decnet.shell.inline import given_text, inline_fetch, inline_removals


@pytest.mark.parametrize(
    ("text", "fetched"),
    [
        ("urllib.request.urlretrieve('http://h/a','/tmp/k')", ("/tmp/k", "http://h/a")),
        ("open('k','wb').write(urlopen('http://h/a').read())", ("k", "http://h/a")),
        ('getstore("http://h/a","b.c")', ("b.c", "http://h/a")),
        ("exec(urlopen('http://h/a').read())", ("", "http://h/a")),
        ("print('http://h/a')", None),
        ("urlopen(host + '/a')", None),
    ],
)
def test_a_text_that_fetches_names_its_file_and_its_url(text: str, fetched: tuple[str, str] | None) -> None:
    assert inline_fetch(text) == fetched


def test_the_text_is_what_follows_the_option() -> None:
    assert given_text(["-c", "import os"]) == "import os"
    assert given_text(["-MLWP::Simple", "-e", "x"]) == "x"
    assert given_text(["a.py", "-v"]) == ""
    assert given_text(["-c"]) == ""


def test_removals_are_those_of_literal_names() -> None:
    assert inline_removals("import os; os.remove('/tmp/k'); os.unlink(\"b\")") == ["/tmp/k", "b"]
    assert inline_removals("unlink 'k'; os.remove(name)") == ["k"]
    assert inline_removals("print('/tmp/k')") == []
