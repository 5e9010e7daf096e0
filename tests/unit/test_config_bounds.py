"""Settings: every bound at its limit, every default, and whose word counts when several speak."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from decnet.config import MutatorSettings, Settings, load_settings
from decnet.errors import ConfigError
from decnet.section import is_section

ABOVE_0 = 5e-324
"""The least number over nothing: 0 itself is refused."""
BOUNDS: list[tuple[str, float, float, float | None]] = [
    ("bus.max_event_bytes", 262144, 4096, None),
    ("bus.max_stream_bytes", 4294967296, 1048576, None),
    ("bus.retention_s", 604800.0, ABOVE_0, None),
    ("bus.read_back_window", 50000, 0, None),
    ("bus.ack_wait_s", 30.0, ABOVE_0, None),
    ("bus.connect_timeout_s", 10.0, ABOVE_0, None),
    ("bus.publish_window", 256, 1, None),
    ("bus.request_timeout_s", 5.0, ABOVE_0, None),
    ("bus.max_ack_pending", 20000, 1, None),
    ("bus.live_queue", 10000, 1, None),
    ("bus.max_blob_store_bytes", 2147483648, 16777216, None),
    ("bus.replicas", 1, 1, 5),
    ("bus.server_start_timeout_s", 60.0, ABOVE_0, None),
    ("runtime.batch_events", 500, 1, 5000),
    ("runtime.batch_wait_s", 2.0, ABOVE_0, None),
    ("runtime.max_failures", 3, 1, None),
    ("runtime.heartbeat_s", 10.0, ABOVE_0, None),
    ("runtime.grace_s", 10.0, 0, None),
    ("runtime.restart_backoff_s", 1.0, ABOVE_0, None),
    ("runtime.lease_s", 15.0, ABOVE_0, None),
    ("runtime.outbox_batch", 500, 1, None),
    ("runtime.poll_interval_s", 60.0, ABOVE_0, None),
    ("runtime.tail_db_s", 1.0, ABOVE_0, None),
    ("recorder.derive_interval_s", 2.0, ABOVE_0, None),
    ("sensor.max_line_bytes", 262144, 1024, None),
    ("sensor.read_bytes", 1048576, 4096, None),
    ("sensor.max_files", 10000, 1, None),
    ("sensor.poll_s", 0.5, ABOVE_0, None),
    ("sensor.idle_session_s", 3600.0, ABOVE_0, None),
    ("sensor.probe_idle_s", 60.0, ABOVE_0, None),
    ("sensor.max_open_sessions", 20000, 1, None),
    ("sensor.max_commands", 20000, 1, None),
    ("sensor.max_text", 65536, 256, None),
    ("sensor.max_session_bytes", 16777216, 65536, None),
    ("sensor.max_open_bytes", 134217728, 1048576, None),
    ("sensor.reopen_s", 86400.0, 0, None),
    ("sensor.checkpoint_s", 1.0, ABOVE_0, None),
    ("sensor.silent_s", 21600.0, ABOVE_0, None),
    ("sensor.max_tty_bytes", 8388608, 0, None),
    ("sensor.max_elements", 1000, 1, None),
    ("sensor.max_record_lines", 64, 1, None),
    ("ttp.floor", 0.3, 0, 1),
    ("ttp.max_rule_file_bytes", 262144, 1024, None),
    ("ttp.max_rule_failures", 5, 1, None),
    ("ttp.aggregate_interval_s", 5.0, ABOVE_0, None),
    ("ttp.suppressed_window_s", 10.0, ABOVE_0, None),
    ("ttp.reload_debounce_s", 0.2, 0, None),
    ("ttp.rescan_s", 5.0, ABOVE_0, None),
    ("ttp.window_retention_s", 604800.0, ABOVE_0, None),
    ("mutator.max_services", 3, 1, 16),
    ("mutator.max_deckies", 1000, 1, None),
    ("mutator.max_queued", 1000, 1, None),
    ("mutator.poll_interval_s", 10.0, ABOVE_0, None),
    ("mutator.lanes", 4, 2, 64),
    ("mutator.jitter", 0.1, 0, 0.5),
    ("mutator.retry_backoff_s", 30.0, ABOVE_0, None),
    ("mutator.retry_backoff_max_s", 3600.0, ABOVE_0, None),
    ("mutator.apply_timeout_s", 300.0, ABOVE_0, None),
    ("mutator.observe_s", 15.0, ABOVE_0, None),
    ("mutator.quiet_session_s", 3600.0, ABOVE_0, None),
    ("mutator.start_timeout_s", 30.0, ABOVE_0, None),
    ("mutator.decoy_log_bytes", 16777216, 65536, None),
    ("mutator.decoy_log_files", 4, 1, 100),
    ("mutator.docker_timeout_s", 120.0, ABOVE_0, None),
    ("mutator.docker_tries", 3, 1, 10),
    ("attribution.multi_actor_tick_secs", 60.0, ABOVE_0, None),
    ("attribution.observation_wait", 3600.0, 0, None),
    ("linking.interval_s", 2.0, ABOVE_0, None),
    ("linking.join", 3.5, ABOVE_0, None),
    ("linking.hold", 3.0, ABOVE_0, None),
    ("linking.hard", 1.5, ABOVE_0, None),
    ("linking.second", 0.7, 0, None),
    ("linking.members", 50, 2, None),
    ("linking.hub", 50, 2, None),
    ("linking.similar", 0.5, ABOVE_0, 1),
    ("intel.refresh_s", 30.0, ABOVE_0, None),
    ("intel.max_files", 1000, 1, None),
    ("intel.max_file_bytes", 536870912, 1024, None),
    ("intel.max_entries", 2000000, 1, None),
    ("decoys.max_waiting_hits", 10000, 1, None),
    ("decoys.max_foreign_tokens", 1000, 0, None),
    ("decoys.max_window_triggers", 100, 1, None),
    ("decoys.canary_http.port", 8080, 1, 65535),
    ("decoys.canary_http.max_connections", 256, 1, None),
    ("decoys.canary_http.max_connections_peer", 16, 1, None),
    ("decoys.canary_http.max_head_bytes", 16384, 1024, 65536),
    ("decoys.canary_http.max_body_bytes", 16384, 1024, 1048576),
    ("decoys.canary_http.request_timeout_s", 10.0, ABOVE_0, None),
    ("decoys.canary_dns.port", 5353, 1, 65535),
    ("decoys.canary_dns.per_second_peer", 20, 1, None),
    ("decoys.canary_dns.max_peers", 4096, 1, None),
    ("decoys.canary_dns.max_connections", 64, 1, None),
    ("decoys.canary_dns.max_connections_peer", 4, 1, None),
    ("decoys.canary_dns.tcp_timeout_s", 10.0, ABOVE_0, None),
    ("inbox.max_files", 10000, 1, None),
    ("inbox.max_message_bytes", 33554432, 1024, None),
    ("inbox.max_body_bytes", 1048576, 1024, None),
    ("inbox.max_list_bytes", 33554432, 1024, None),
    ("inbox.max_list_entries", 200000, 1, None),
    ("inbox.max_lists", 100, 1, None),
    ("inbox.lists_every_s", 300.0, ABOVE_0, None),
    ("inbox.batch_bytes", 8388608, 65536, None),
    ("decoys.mail.port", 2525, 1, 65535),
    ("decoys.mail.max_message_bytes", 1048576, 1024, 33554432),
    ("decoys.mail.max_recipients", 100, 1, None),
    ("decoys.mail.max_connections", 128, 1, None),
    ("decoys.mail.max_connections_peer", 16, 1, None),
    ("decoys.mail.max_messages", 100, 1, None),
    ("decoys.mail.session_s", 120.0, ABOVE_0, None),
    ("decoys.mail.max_folder_bytes", 1073741824, 0, None),
    ("console.ring", 50000, 100, None),
    ("console.write_mode_min", 15.0, ABOVE_0, None),
    ("notify.per_minute", 6, 1, 600),
    ("notify.timeout_s", 30.0, ABOVE_0, None),
    ("publish.keep_s", 259200.0, ABOVE_0, None),
    ("publish.max_waiting", 10000, 1, None),
    ("publish.batch", 100, 1, 1000),
    ("publish.retry_s", 5.0, ABOVE_0, None),
    ("publish.retry_max_s", 600.0, ABOVE_0, None),
    ("telemetry.metrics_interval_s", 60.0, ABOVE_0, None),
    ("greynoise.daily_budget", 50, 1, None),
    ("greynoise.timeout_s", 10.0, ABOVE_0, None),
    ("abuseipdb.daily_budget", 1000, 1, None),
    ("abuseipdb.timeout_s", 10.0, ABOVE_0, None),
    ("virustotal.daily_budget", 500, 1, None),
    ("virustotal.timeout_s", 10.0, ABOVE_0, None),
    ("urlhaus.daily_budget", 1000, 1, None),
    ("urlhaus.timeout_s", 10.0, ABOVE_0, None),
    ("threatfox.daily_budget", 1000, 1, None),
    ("threatfox.timeout_s", 10.0, ABOVE_0, None),
    ("feodo.daily_budget", 24, 1, None),
    ("feodo.timeout_s", 10.0, ABOVE_0, None),
]
"""Setting, default, least and greatest value that is taken (None: no greatest)."""
WORDS = {
    "bus.type": "nats", "bus.url": None, "bus.stream": "DECNET", "ttp.tagger_type": "composite",
    "ttp.rule_store_type": "database", "recorder.score_thresholds": (25.0, 50.0, 75.0),
    "mutator.substrate": "opencanary", "mutator.mutate_interval": "never", "mutator.quiet": True,
    "mutator.docker": "docker", "console.glyphs": "auto", "console.bell": False, "notify.command": None,
    "log.format": "console", "log.level": "INFO", "telemetry.traces": False, "telemetry.endpoint": None,
    "telemetry.metrics": False, "telemetry.metrics_endpoint": None, "metrics.address": None, "notify.severity": "high",
    "publish.targets": (), "credentials.keep_clear": False, "credentials.key_file": None,
    "mutator.opencanary_env": None, "mutator.catalogue": None, "ttp.attack_bundle": None,
    "sensor.formats": None,
    "intel.folder": None, "intel.files": (), "intel.own_networks": (),
    "decoys.watch_keys": False, "decoys.canary_http.enabled": False, "decoys.canary_http.host": "127.0.0.1", "decoys.canary_http.base_url": None,
    "decoys.canary_http.trusted_proxies": (), "decoys.canary_dns.enabled": False,
    "decoys.mail.enabled": False, "decoys.mail.host": "127.0.0.1", "decoys.mail.decky": "mail", "decoys.mail.folder": None,
    "decoys.mail.hostname": "mail.localdomain", "decoys.mail.known_bad": None,
    "decoys.canary_dns.host": "127.0.0.1", "decoys.canary_dns.zone": None, "decoys.canary_dns.answer": "127.0.0.1",
}  # fmt: skip


def value_of(settings: Settings, name: str) -> Any:
    return reduce(getattr, name.split("."), settings)


def section_of(name: str) -> Any:
    return type(value_of(Settings(), name.rpartition(".")[0]))


def taken(name: str, value: Any) -> bool:
    section, key = section_of(name), name.rpartition(".")[2]
    try:
        return bool(getattr(section(**{key: value}), key) == value)
    except ValidationError:
        return False


def test_every_number_has_its_default_and_its_bounds() -> None:
    settings = Settings()
    for name, default, least, most in BOUNDS:
        whole = isinstance(default, int)
        assert value_of(settings, name) == default, name
        assert taken(name, 1 if least == ABOVE_0 and whole else least), f"{name} at its least"
        below = 0 if least == ABOVE_0 else least - 1 if whole else math.nextafter(least, -1)
        assert not taken(name, below), f"{name} below its least"
        if most is not None:
            assert taken(name, most), f"{name} at its greatest"
            assert not taken(name, most + 1 if whole else math.nextafter(most, 9)), (
                f"{name} over its greatest"
            )
        else:
            assert taken(name, 10**9), f"{name} has no greatest"


def test_no_number_of_a_section_is_left_out_of_the_table() -> None:
    def numbers(of: Any, before: str) -> Iterator[str]:
        for key, field in of.model_fields.items():
            if is_section(field.annotation):
                yield from numbers(field.annotation, f"{before}{key}.")
            elif before and field.annotation in (int, float):
                yield f"{before}{key}"

    assert set(numbers(Settings, "")) == {name for name, *_ in BOUNDS}


def test_words_have_their_defaults() -> None:
    settings = Settings()
    assert {name: value_of(settings, name) for name in WORDS} == WORDS


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_number_of_seconds_is_finite(value: float) -> None:
    for name, default, *_ in BOUNDS:
        if isinstance(default, float):
            assert not taken(name, value), name


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("bus.type", "amqp"), ("ttp.rule_store_type", "redis"), ("mutator.substrate", "docker"), ("console.glyphs", "emoji"),
        ("log.format", "xml"), ("notify.severity", "worst"), ("metrics.address", "65536"), ("log.level", "TRACE"), ("mutator.quiet", "perhaps"),
        *((f"decoys.{name}.host", wrong) for name in ("canary_http", "canary_dns", "mail") for wrong in ("", "all", "localhost")),
        *(("decoys.canary_http.base_url", wrong) for wrong in
          ("", "files.example", "ftp://files.example", "http://", "http://a b", "http://h:0", "http://h:x", "http://h/x",
           "http://h?x", "http://h#x", "http://u@h", "http://h\r\nx", "http://-h")),
        ("decoys.canary_http.trusted_proxies", ("10.0.0.0/33",)),
        *(("decoys.canary_dns.zone", wrong) for wrong in
          ("", ".", "a..b", "a b", "-a", "x" * 64, ".".join(["x" * 40] * 3 + ["x" * 38]))),
        *(("decoys.canary_dns.answer", wrong) for wrong in ("", "::1", "host")),
        ("decoys.canary_dns.enabled", True),
        *(("decoys.mail.hostname", wrong) for wrong in ("", "a b", "-a", "a\r\nb", ".".join(["x" * 32] * 2))),
        *(("decoys.mail.decky", wrong) for wrong in ("", "a.b", "a b", "*", ">")),
    ],
)  # fmt: skip
def test_words_outside_their_list_are_refused(name: str, wrong: str) -> None:
    assert not taken(name, wrong)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("never", True), ("1s", True), ("9m", True), ("30m", True), ("12h", True), ("7d", True), ("2w", True), ("999999999d", True),
        ("9999999999d", False), ("0m", False), ("05m", True), ("1h30m", True), ("30", False), ("m", False), ("30m ", True), ("30m\n", True), ("30m\n5s", False),
        (" 30m", True), ("neverr", False), ("1nevers", False), ("1٣m", False), ("30M", True), ("", False),
    ],
)  # fmt: skip
def test_how_an_interval_is_written(text: str, good: bool) -> None:
    assert taken("mutator.mutate_interval", text) is good


def test_every_section_and_the_whole_refuse_unknown_keys_and_changes() -> None:
    settings = Settings()
    for name, info in Settings.model_fields.items():
        if is_section(info.annotation):
            section = getattr(settings, name)
            with pytest.raises(ValidationError, match="Extra inputs"):
                type(section)(nonsense=1)
            key = next(iter(type(section).model_fields))
            with pytest.raises(ValidationError, match="frozen"):
                setattr(section, key, getattr(section, key))
    with pytest.raises(ValidationError, match="Extra inputs"):
        Settings(nonsense=1)
    with pytest.raises(ValidationError, match="frozen"):
        settings.db = "x"
    with pytest.raises(ConfigError, match=r"sensors.0.colour"):
        load_settings(sensors=[{"kind": "cowrie", "path": "x", "colour": "red"}])


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        "db: sqlite:///file\nlog: {level: DEBUG, format: json}\nmutator: {lanes: 7, jitter: 0.2}\n"
    )
    assert load_settings().db is None
    assert load_settings(file).db == "sqlite:///file"
    monkeypatch.setenv("DECNET_DB", "sqlite:///environment")
    monkeypatch.setenv("DECNET_MUTATOR__LANES", "9")
    found = load_settings(file)
    assert (found.db, found.mutator.lanes) == ("sqlite:///environment", 9)
    assert (found.mutator.jitter, found.log.format, found.mutator.max_services) == (0.2, "json", 3)
    found = load_settings(file, db="sqlite:///flag", mutator={"lanes": 11}, log=None)
    assert (found.db, found.mutator.lanes, found.log.level) == ("sqlite:///flag", 11, "DEBUG")
    assert Settings().log.level == "INFO", "a file is forgotten once its settings are made"
    monkeypatch.setenv("DECNET_DB", "")
    assert load_settings(file).db == "sqlite:///file", "an empty variable says nothing"


def test_a_file_that_was_refused_is_forgotten_too(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("log: {level: DEBUG}\nmutator: {lanes: 1}\n")
    with pytest.raises(ConfigError, match=r"c\.yaml:2:11: mutator\.lanes: .*greater than or equal to 2"):
        load_settings(file)
    assert Settings().log.level == "INFO"


def test_faults_without_a_place_come_after_those_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("mutator: {lanes: 1}\nbus: {replicas: 6}\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(file, console={"ring": 99})
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[-2] for line in lines] == ["mutator.lanes", "bus.replicas", "console.ring"]
    assert lines[2].startswith("console.ring: ")
    monkeypatch.setenv("DECNET_NOWHERE__X", "1")
    monkeypatch.setenv("DECNET_ALSO__Y", "1")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "DECNET_ALSO__Y",
        "DECNET_NOWHERE__X",
    ]
    assert "mutator" in str(caught.value)
    assert "data_dir" not in str(caught.value), "it is no section"


def test_a_file_that_is_a_list_or_cut_is_refused_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("- a\n")
    with pytest.raises(ConfigError, match=r"c\.yaml:1:1: the file must be a mapping"):
        load_settings(file)
    file.write_text("bus: {type: [\n")
    with pytest.raises(ConfigError, match=r"c\.yaml:2:1: not YAML"):
        load_settings(file)
    file.write_bytes(b"#\n#\nbus: \xff\n")
    with pytest.raises(ConfigError, match=r"c\.yaml:3:1: not UTF-8"):
        load_settings(file)


def test_secrets_are_not_shown() -> None:
    shown = repr(load_settings(bus={"token": "hush-1", "password": "hush-2"}))
    assert "hush" not in shown
    assert "hush" not in load_settings(bus={"token": "hush-1"}).model_dump_json()


def test_short_forms_rule_over_the_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = load_settings()
    shown = (plain.effective_bus_type, plain.effective_tagger_type, plain.effective_rule_store_type)
    assert shown == ("nats", "composite", "database")
    monkeypatch.setenv("DECNET_BUS_TYPE", "memory")
    monkeypatch.setenv("DECNET_TTP_TAGGER_TYPE", "other")
    monkeypatch.setenv("DECNET_TTP_RULE_STORE_TYPE", "filesystem")
    found = load_settings()
    shown = (found.effective_bus_type, found.effective_tagger_type, found.effective_rule_store_type)
    assert shown == ("memory", "other", "filesystem")
    assert found.bus.type == "nats"


def test_everything_lives_below_the_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    found = load_settings()
    assert found.data_dir == tmp_path / "state" / "decnet-tui"
    assert found.db_url == f"sqlite:///{found.data_dir}/decnet.sqlite"
    assert found.fleet_logs_dir == found.data_dir / "fleet" / "logs"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings().data_dir == tmp_path / ".local" / "state" / "decnet-tui"
    assert load_settings(db="sqlite:////srv/x").db_url == "sqlite:////srv/x"
    assert (found.rules / ".").is_dir()


def test_a_section_of_the_environment_may_be_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECNET_MUTATOR", '{"lanes": 5}')
    assert load_settings().mutator == MutatorSettings(lanes=5)
    monkeypatch.setenv("DECNET_MUTATOR", "lanes")
    with pytest.raises(ConfigError, match=r"DECNET_MUTATOR: a section takes .*DECNET_MUTATOR__NAME"):
        load_settings()
