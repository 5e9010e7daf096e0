"""Settings: what a wrong file, variable or flag is told, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from decnet.config import load_settings
from decnet.errors import ConfigError
from decnet.home import Home


def told(config: Path | None = None, **flags: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(config, **flags)
    return str(caught.value)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return path


def test_every_fault_of_a_file_has_its_place_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = written(
        tmp_path, "bus:\n  typ: nats\n  max_event_bytes: 3\nfoo: 1\nsensors:\n- {kind: cowri, path: x}\n"
    )
    lines = told(path).splitlines()
    places = ["2:3: bus.typ", "3:3: bus.max_event_bytes", "4:1: foo", "6:4: sensors.0.kind"]
    assert [line.startswith(f"{path}:{place}: ") for line, place in zip(lines, places, strict=True)] == [
        True
    ] * 4


def test_an_unknown_key_in_a_section_names_the_keys_of_that_section(tmp_path: Path) -> None:
    line = told(written(tmp_path, "bus:\n  typ: nats\n"))
    assert "known: type, url, token" in line
    assert "data_dir" not in line


@pytest.mark.parametrize("text", ["bus: {}\nbus: {type: memory}\n", "bus:\n  type: nats\n  type: memory\n"])
def test_a_key_given_twice_is_an_error(tmp_path: Path, text: str) -> None:
    assert "duplicate key" in told(written(tmp_path, text))


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null\n"])
def test_an_empty_file_sets_nothing(tmp_path: Path, text: str) -> None:
    assert load_settings(written(tmp_path, text)).bus.type == "nats"


def test_a_file_that_cannot_be_read_says_why_once(tmp_path: Path) -> None:
    assert told(tmp_path / "no.yaml") == f"{tmp_path}/no.yaml: cannot be read: No such file or directory"
    assert told(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"
    (tmp_path / "b.yaml").write_bytes(b"bus: {}\n\xff")
    assert told(tmp_path / "b.yaml") == f"{tmp_path}/b.yaml:2:1: not UTF-8"


def test_a_wrong_interval_is_found_before_a_fleet_needs_it(tmp_path: Path) -> None:
    path = written(tmp_path, "mutator: {mutate_interval: 5x}\n")
    assert told(path).startswith(f"{path}:1:11: mutator.mutate_interval: ")


def test_a_fault_of_a_flag_is_not_put_on_the_file(tmp_path: Path) -> None:
    assert told(written(tmp_path, "log: {format: json}\n"), log={"format": "xml"}).startswith("log.format: ")


@pytest.mark.parametrize("name", ["DECNET_SENSORS", "DECNET_BUS", "DECNET_WORKERS"])
def test_a_variable_that_is_no_json_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "cowrie=/x")
    assert told().startswith(f"{name}: ")


def test_a_nested_variable_of_no_section_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECNET_SENSR__IDLE_SESSION_S", "600")
    assert told().startswith("DECNET_SENSR__IDLE_SESSION_S: no such section of settings; known: bus, ")


def test_variables_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECNET_MODE", "agent")
    monkeypatch.setenv("DECNET_SENSOR__IDLE_SESSION_S", "600")
    assert load_settings().sensor.idle_session_s == 600


@pytest.mark.parametrize("url", ["http://host:4222", "nats://a:4222,amqp://b"])
def test_a_bus_of_another_kind_is_refused(url: str) -> None:
    assert "is no bus" in told(bus={"url": url})
    assert load_settings(bus={"url": "nats://a:1, tls://b:2"}).bus.url


@pytest.mark.parametrize(
    ("given", "path"),
    [({"data_dir": Path("data")}, "data/decnet.sqlite"), ({"db": "sqlite:///own/a.sqlite"}, "own/a.sqlite")],
)
def test_an_engine_that_was_started_with_a_relative_path_is_found_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = f"sqlite:///{tmp_path / path}"
    settings = load_settings(**given)
    assert settings.db_url == wanted
    assert Home(settings.data_dir, settings.rules, settings.db).db_url == wanted


@pytest.mark.parametrize(
    "url", ["sqlite:////srv/a.sqlite?timeout=5", "postgresql://u:p@db/decnet", "sqlite://"]
)
def test_other_urls_stay_as_they_are(url: str) -> None:
    assert load_settings(db=url).db_url == url
