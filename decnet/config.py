"""Settings: every knob of engine and console, frozen, unknown keys refused.

Order of precedence: flag > environment (``DECNET_…``, nested by ``__``: :mod:`decnet.environment`) > ``--config`` file
> default.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from decnet.attack.catalogue import use_bundle
from decnet.decoy_settings import DecoySettings
from decnet.documents import Document
from decnet.durations import parse_duration
from decnet.errors import ConfigError
from decnet.home import db_url_of, default_data_dir, packaged_rules_dir, settings_in_environment
from decnet.publish_settings import PublishSettings
from decnet.section import Networks
from decnet.section import Section as _Section
from decnet.service_settings import (
    AbuseIpdbSettings,
    FeodoSettings,
    GreyNoiseSettings,
    ThreatFoxSettings,
    UrlhausSettings,
    VirusTotalSettings,
)

BUS_SCHEMES = ("nats", "tls", "ws", "wss")
SENSOR_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$"
"""Name of a remote sensor: one token of a subject, and a user of the server."""


class BusSettings(_Section):
    """The bus."""

    type: Literal["nats", "memory", "null"] = "nats"
    """Adapter."""
    url: str | None = None
    """External server or comma separated cluster; without it the engine starts one of its own."""
    token: SecretStr | None = None
    """Token for the server."""
    user: str | None = None
    """User for the server."""
    password: SecretStr | None = None
    """Password for the server."""
    nkeys_seed: Path | None = None
    """File with an nkey seed."""
    tls_ca: Path | None = None
    """CA file; turns TLS on."""
    sensor: str | None = Field(None, pattern=SENSOR_NAME)
    """Name of this host as a remote sensor of an engine elsewhere, whose bus `url` is: all is published as that sensor."""
    stream: str = "DECNET"
    """JetStream stream of the durable topics."""
    max_event_bytes: int = Field(262_144, ge=4096)
    """Largest event, body plus headers, in bytes."""
    max_stream_bytes: int = Field(4 * 2**30, ge=2**20)
    """Size limit of the stream in bytes."""
    retention_s: float = Field(7 * 86400.0, gt=0)
    """Acknowledged events older than this many seconds are purged."""
    read_back_window: int = Field(50_000, ge=0)
    """Newest events that a purge for space leaves for the console."""
    ack_wait_s: float = Field(30.0, gt=0)
    """Seconds until an unacknowledged event is delivered again."""
    connect_timeout_s: float = Field(10.0, gt=0)
    """Seconds until a first connection attempt fails."""
    publish_window: int = Field(256, ge=1)
    """Durable publishes in flight at once."""
    request_timeout_s: float = Field(5.0, gt=0)
    """Seconds until an unanswered request or publish counts as failed."""
    max_ack_pending: int = Field(20_000, ge=1)
    """Delivered but unacknowledged events of one durable consumer."""
    live_queue: int = Field(10_000, ge=1)
    """Events a live subscription buffers for a slow reader; beyond, the oldest are lost and counted."""
    max_blob_store_bytes: int = Field(2 * 2**30, ge=2**24)
    """Size limit of the object store in bytes."""
    replicas: int = Field(1, ge=1, le=5)
    """Copies of a new stream in a cluster."""
    server_start_timeout_s: float = Field(60.0, gt=0)
    """Seconds the embedded server may take to start; it reads its store first."""

    @field_validator("url")
    @classmethod
    def _reachable_kind(cls, url: str | None) -> str | None:
        for part in (url or "").split(","):
            scheme, found, _ = part.strip().partition("://")
            if found and scheme not in BUS_SCHEMES:
                raise ValueError(
                    f"'{scheme}://' is no bus; write nats://HOST:PORT (or tls://, ws://, wss://)"
                )
        return url


class RuntimeSettings(_Section):
    """Workers and their supervisor."""

    batch_events: int = Field(500, ge=1, le=5000)
    """Events in one transaction at most."""
    batch_wait_s: float = Field(2.0, gt=0)
    """Seconds a worker waits for events at first; longer, up to half a minute, while none come."""
    max_failures: int = Field(3, ge=1)
    """Handler failures of one event until it is dead-lettered."""
    heartbeat_s: float = Field(10.0, gt=0)
    """Seconds between heartbeats; three missed ones make a worker stale."""
    grace_s: float = Field(10.0, ge=0)
    """Seconds a shutdown waits for running batches before it cuts them."""
    restart_backoff_s: float = Field(1.0, gt=0)
    """First pause before a failed worker is started again; doubles up to a minute."""
    lease_s: float = Field(15.0, gt=0)
    """Seconds a lease lives without renewal; about the same on all engines of one database."""
    outbox_batch: int = Field(500, ge=1)
    """Outbox rows relayed at once."""
    poll_interval_s: float = Field(60.0, gt=0)
    """Seconds between sweeps for untagged sessions while the bus is away."""
    tail_db_s: float = Field(1.0, gt=0)
    """Seconds between looks for rows that other processes wrote."""


class RecorderSettings(_Section):
    """Rows, and what is told from them."""

    score_thresholds: tuple[float, ...] = (25.0, 50.0, 75.0)
    """Scores (0..100) whose upward crossing is told once for each attacker."""
    derive_interval_s: float = Field(2.0, gt=0)
    """Seconds between looks at attackers whose rows changed."""


class CredentialSettings(_Section):
    """What attackers tried to log in with."""

    keep_clear: bool = False
    """Keep the clear text of captured secrets, from now on; without it only their keyed hash is kept anywhere."""
    key_file: Path | None = None
    """File with the key (32 random bytes or more) that secrets are hashed with, the same on all hosts whose log-ins are to be
    compared; without it each data directory has a key of its own. Hashes that are stored stay as they are."""


class SensorSettings(_Section):
    """Log reading."""

    max_line_bytes: int = Field(262_144, ge=1024)
    """A longer line loses the middles of its strings; one that is too long even so is refused. Both are counted."""
    read_bytes: int = Field(1_048_576, ge=4096)
    """Bytes read from one file in one go."""
    poll_s: float = Field(0.5, gt=0)
    """Seconds between looks at a file that gave no sign of change."""
    idle_session_s: float = Field(3600.0, gt=0)
    """A session without a line for this long in log time is over."""
    probe_idle_s: float = Field(60.0, gt=0)
    """The same for logs that never say when a connection ends (OpenCanary)."""
    max_open_sessions: int = Field(20_000, ge=1)
    """Open sessions kept in memory; beyond, the longest idle one ends."""
    max_commands: int = Field(20_000, ge=1)
    """Commands kept of one session."""
    max_text: int = Field(65_536, ge=256)
    """Characters in one command record; a longer command is kept in several."""
    max_session_bytes: int = Field(16 * 2**20, ge=65_536)
    """Text kept of one session, in bytes (estimated)."""
    max_open_bytes: int = Field(128 * 2**20, ge=2**20)
    """Text kept of all open sessions of one sensor, in bytes (estimated)."""
    reopen_s: float = Field(86_400.0, ge=0)
    """Seconds of log time for which a session that ended without a close line can be taken up again."""
    checkpoint_s: float = Field(1.0, gt=0)
    """Seconds between checkpoints at least."""
    silent_s: float = Field(6 * 3600.0, gt=0)
    """A sensor without a new line for this many seconds is called silent."""
    max_files: int = Field(10_000, ge=1)
    """Files looked at in one sensor's directory; what is beyond is counted and told."""
    max_tty_bytes: int = Field(8 * 2**20, ge=0)
    """Largest tty recording that is put on the bus, in bytes."""
    formats: Path | None = None
    """Folder with your own tables of formats (`*.yaml`); one of a name that is shipped takes its place."""
    max_elements: int = Field(1000, ge=1)
    """Elements of a list in one line that a table reads; what is beyond is counted."""
    max_record_lines: int = Field(64, ge=1)
    """Lines of one record in a CSV log; a longer one is refused and counted."""


class InboxSettings(_Section):
    """A folder that others put mails, webhooks and lists into."""

    max_files: int = Field(10_000, ge=1)
    """Files of the folder that are looked at; what is beyond waits and is counted."""
    max_message_bytes: int = Field(32 * 2**20, ge=1024)
    """Largest message; of an mbox only a larger one is refused, the rest is read."""
    max_body_bytes: int = Field(2**20, ge=1024)
    """Largest body of a webhook, in bytes."""
    max_list_bytes: int = Field(32 * 2**20, ge=1024)
    """Largest list of a provider, in bytes."""
    max_list_entries: int = Field(200_000, ge=1)
    """Entries of one list that are read; what is beyond is counted."""
    max_lists: int = Field(100, ge=1)
    """Lists that are looked at again for new attackers, the newest ones."""
    lists_every_s: float = Field(300.0, gt=0)
    """Seconds between such looks."""
    batch_bytes: int = Field(8 * 2**20, ge=65_536)
    """Bytes read in one go; a single message may be larger."""


class TtpSettings(_Section):
    """Tagging."""

    tagger_type: str = "composite"
    """Tagger; `composite` is the only one."""
    rule_store_type: Literal["database", "filesystem"] = "database"
    """Where rule definitions and states come from."""
    floor: float = Field(0.3, ge=0, le=1)
    """Tags below this confidence are counted, not stored."""
    max_rule_file_bytes: int = Field(262_144, ge=1024)
    """Largest rule file."""
    max_rule_failures: int = Field(5, ge=1)
    """Failures in a row that trip one rule."""
    aggregate_interval_s: float = Field(5.0, gt=0)
    """Seconds between looks at attackers whose stored rows changed (guessing, spraying, returns)."""
    suppressed_window_s: float = Field(10.0, gt=0)
    """Seconds whose suppressed tags are told of together."""
    reload_debounce_s: float = Field(0.2, ge=0)
    """Seconds of quiet before changed rule files are read."""
    rescan_s: float = Field(5.0, gt=0)
    """Seconds between looks at the stamps of the rule files; every twelfth time they are read, whatever these say."""
    attack_bundle: Path | None = None
    """STIX bundle of another ATT&CK Enterprise release; without it the shipped one."""
    window_retention_s: float = Field(7 * 86_400.0, gt=0)
    """Seconds for which a hit of a window or sequence rule waits for others that come late."""


class MutatorSettings(_Section):
    """The fleet and its rotation."""

    substrate: Literal["compose", "opencanary", "dry_run"] = "opencanary"
    """What runs the deckies of a fleet that names none."""
    mutate_interval: str = "never"
    """How often the deckies of a fleet that says nothing rotate: 30m, 12h, 7d or never."""
    catalogue: Path | None = None
    """A file of the shape of the packaged service catalogue, laid over it."""
    max_services: int = Field(3, ge=1, le=16)
    """Services that a rotation lets one decky run at most; pinned ones count."""
    max_deckies: int = Field(1000, ge=1)
    """Deckies in one fleet."""
    max_queued: int = Field(1000, ge=1)
    """Changes that may wait in the queue of one fleet."""
    poll_interval_s: float = Field(10.0, gt=0)
    """Longest pause between looks at the schedule, in seconds."""
    lanes: int = Field(4, ge=2, le=64)
    """Changes worked on at once; the first lane serves operators only."""
    jitter: float = Field(0.1, ge=0, le=0.5)
    """Share of an interval by which a rotation comes earlier or later."""
    retry_backoff_s: float = Field(30.0, gt=0)
    """First pause after a change that failed, in seconds; doubles up to the next one."""
    retry_backoff_max_s: float = Field(3600.0, gt=0)
    """Longest pause after changes that failed, in seconds."""
    apply_timeout_s: float = Field(300.0, gt=0)
    """Seconds one change may take on its substrate; its lease lives longer."""
    observe_s: float = Field(15.0, gt=0)
    """Seconds between looks at what really runs."""
    quiet: bool = True
    """A decky with a live attacker session is not rotated by schedule."""
    quiet_session_s: float = Field(3600.0, gt=0)
    """A session that started longer ago, in seconds, holds back no rotation: it may never be closed."""
    opencanary_env: Path | None = None
    """OpenCanary's environment; without it the one that `fleet setup` makes in the data directory."""
    opencanary_version: str = "0.9.10"
    """Version that `fleet setup` installs."""
    start_timeout_s: float = Field(30.0, gt=0)
    """Seconds an OpenCanary process may take until its ports are open."""
    decoy_log_bytes: int = Field(16 * 2**20, ge=65_536)
    """A decoy's log is rotated at this size, in bytes."""
    decoy_log_files: int = Field(4, ge=1, le=100)
    """Rotated logs kept of each decoy."""
    docker: str = "docker"
    """The Docker client."""
    docker_timeout_s: float = Field(120.0, gt=0)
    """Seconds one call of the Docker client may take."""
    docker_tries: int = Field(3, ge=1, le=10)
    """Tries of a call that failed for a reason that may pass."""

    @field_validator("mutate_interval")
    @classmethod
    def _is_a_duration(cls, text: str) -> str:
        """How long it may be is left to the mutator."""
        if parse_duration(text) == 0:
            raise ValueError("an interval is longer than nothing")
        return text


class AttributionSettings(_Section):
    """Attribution; the thresholds it decides by are in ``decnet.attribution.thresholds``."""

    multi_actor_tick_secs: float = Field(60.0, gt=0)
    """Seconds between looks for identities that several operators share."""
    observation_wait: float = Field(3600.0, ge=0)
    """Seconds that an observation of an attacker whom nobody knows yet is put off; then it is a dead letter."""


class LinkingSettings(_Section):
    """Who is one hand, and what is one campaign; how much a value weighs is in ``decnet.attribution.linking.numbers``.

    Weights are decimal logarithms of likelihood ratios: 3.5 is 3,000 to one.
    """

    enabled: bool = True
    """Whether addresses are linked at all; off, each stays an identity of its own, and what is linked already stays."""
    interval_s: float = Field(2.0, gt=0)
    """Seconds between looks for sessions that came in."""
    join: float = Field(3.5, gt=0)
    """Total from which two addresses are of one hand."""
    hold: float = Field(3.0, gt=0)
    """Total below which a link breaks that was made when its values were rarer; above `join` it counts as that."""
    hard: float = Field(1.5, gt=0)
    """Weight that a key, payload host, file or tunnel has to have, without which nothing is linked."""
    second: float = Field(0.7, ge=0)
    """Weight that something else has to have beside it."""
    members: int = Field(50, ge=2)
    """Addresses of one identity at most; campaigns have no such limit."""
    hub: int = Field(50, ge=2)
    """A value at more addresses than this links nobody, it only names a campaign."""
    similar: float = Field(0.5, gt=0, le=1)
    """Likeness (weighted Jaccard) from which on two scripts are of one kit."""


class IntelFile(_Section):
    """One file that says where addresses are, or which are on a list."""

    path: Path
    """The file; packed with gzip if its name ends in `.gz`."""
    kind: Literal["auto", "mmdb", "iptoasn", "csv", "cidr", "warninglist"] = "auto"
    """What it is; auto goes by the end of its name."""
    name: str | None = Field(None, min_length=1, max_length=60)
    """What it is called in answers; without it the name of the file, or the one that a warninglist has inside."""


class IntelSettings(_Section):
    """Countries, networks and lists of addresses, from files on this host; nothing of it asks anybody."""

    folder: Path | None = None
    """Where files are looked for; without it `intel` in the data directory."""
    files: tuple[IntelFile, ...] = ()
    """Files elsewhere; their answers come before those of the folder, in this order."""
    own_networks: Networks = ()
    """Your own networks and addresses: whoever comes from there is on the list `own`."""
    documentation: bool = False
    """Whether addresses reserved for documentation are looked up too: those of the demo are."""
    refresh_s: float = Field(30.0, gt=0)
    """Seconds between looks of an engine for files that changed."""
    max_files: int = Field(1000, ge=1)
    """Files of the folder; what is beyond is named and not read."""
    max_file_bytes: int = Field(512 * 2**20, ge=1024)
    """Largest file, packed and unpacked, in bytes."""
    max_entries: int = Field(2_000_000, ge=1)
    """Ranges that all files of text together may hold; a file of more is refused. 36 bytes each."""


class ConsoleSettings(_Section):
    """The console."""

    ring: int = Field(50_000, ge=100)
    """Events kept for Traffic."""
    glyphs: Literal["auto", "unicode", "ascii"] = "auto"
    """Glyph set; auto looks at the locale."""
    write_mode_min: float = Field(15.0, gt=0)
    """Minutes until write mode ends by itself."""
    bell: bool = False
    """Whether a multi-actor alert rings the terminal's bell."""
    mouse: bool = True
    """Whether a click opens and the wheel scrolls; off, dragging selects text as in any other program."""
    theme: Literal["terminal", "dark", "light", "contrast", "none"] = "terminal"
    """Colours: the terminal's own sixteen, two fixed sets, one of high contrast, or none at all."""
    saved: dict[str, str] = Field(default_factory=dict)
    """Name to a view with its filter, sorting and columns, as `:save` writes them: `actors filter=/wget/ sort=-seen`."""
    keymap: dict[str, str] = Field(default_factory=dict)
    """Action id to key, comma separated for several."""


class TelemetrySettings(_Section):
    """Traces and metrics over OTLP; needs the extra `otel`."""

    traces: bool = False
    """Export spans over OTLP/HTTP."""
    endpoint: str | None = None
    """Where spans go to; without it the exporter's own variables and default count."""
    metrics: bool = False
    """Export metrics over OTLP/HTTP."""
    metrics_endpoint: str | None = None
    """Where metrics go to; without it the exporter's own variables and default count."""
    metrics_interval_s: float = Field(60.0, gt=0)
    """Seconds between two rounds of metrics."""


class MetricsSettings(_Section):
    """The port that Prometheus scrapes."""

    address: str | None = None
    """Where it listens: PORT (on this host only), or HOST:PORT. None: nowhere."""

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, text: str | None) -> str | None:
        if text is not None:
            listening_at(text)
        return text


class NotifySettings(_Section):
    """A program of the operator's that is run for news."""

    command: str | None = None
    """Program and arguments; it gets one JSON object on standard input. None: no program is run."""
    severity: Literal["critical", "high", "medium", "low", "info"] = "high"
    """Sessions from this severity on are told of, to the program and to targets of `publish`."""
    per_minute: int = Field(6, ge=1, le=600)
    """Runs a minute at most."""
    timeout_s: float = Field(30.0, gt=0)
    """Seconds after which a run is ended."""


class LogSettings(_Section):
    """Logs."""

    format: Literal["console", "json"] = "console"
    """Shape of a log line."""
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least level that is written."""


INBOX = "inbox"
SENSOR_KINDS = ("cowrie", "opencanary", "jsonl", "table", "tpot", "dshield", INBOX)
_TABLE = re.compile(r"table:([a-z][a-z0-9_]{0,39})\Z")


LOOPBACK = "127.0.0.1"
_MAX_PORT = 65_535


def listening_at(text: str) -> tuple[str, int]:
    """Host and port of ``PORT``, ``:PORT``, ``HOST:PORT`` or ``[IPV6]:PORT``; this host alone where none is named.

    Raises ValueError.
    """
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit()) or int(port) > _MAX_PORT:
        raise ValueError("write PORT (this host only) or HOST:PORT, as 127.0.0.1:9464")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("an IPv6 address stands in brackets: [::1]:9464")
    return host.strip("[]") or LOOPBACK, int(port)


def table_name(kind: str) -> str:
    """The format of a sensor kind ``table:NAME``; empty for any other kind."""
    found = _TABLE.match(kind)
    return "" if found is None else found[1]


class SensorSpec(_Section):
    """One ``--sensor KIND=PATH[,from=start|end|DATE]``."""

    kind: str
    """Parser (cowrie, opencanary, jsonl, a format as `table:NAME`), `table` for whichever format's table fits, or the system
    whose top directory the path is (tpot, dshield), or inbox for a folder of mails, webhooks and lists."""
    path: Path
    """File or directory."""
    start: str = "start"
    """Where a file seen for the first time is read from: start, end or an ISO date."""

    @field_validator("kind")
    @classmethod
    def _is_known(cls, kind: str) -> str:
        """Whether there is a table of such a name is left to the sensors: an operator may have own ones."""
        if kind not in SENSOR_KINDS and not table_name(kind):
            raise ValueError(f"{kind[:40]!r} is none of {', '.join(SENSOR_KINDS)}, table:NAME")
        return kind


class Settings(BaseModel):
    """All settings of one process; :func:`load_settings` makes them."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,  # an error that is shown as it is repeats no key and no password
    )

    data_dir: Path = Field(default_factory=default_data_dir)
    """Everything this program writes lives below it; without it `tag` keeps compiled rules in the user's cache."""
    rules: Path = Field(default_factory=packaged_rules_dir)
    """Rule directory."""
    db: str | None = None
    """Database URL; a SQLite file in the data directory without it."""
    sensors: tuple[SensorSpec, ...] = ()
    """Logs to read."""
    workers: tuple[str, ...] = ()
    """Workers to run; empty means all."""
    bus: BusSettings = BusSettings()
    """The bus."""
    runtime: RuntimeSettings = RuntimeSettings()
    """Workers and supervisor."""
    recorder: RecorderSettings = RecorderSettings()
    """Rows, and what is told from them."""
    credentials: CredentialSettings = CredentialSettings()
    """What attackers tried to log in with."""
    sensor: SensorSettings = SensorSettings()
    """Log reading."""
    inbox: InboxSettings = InboxSettings()
    """Mails, webhooks and lists in a folder."""
    ttp: TtpSettings = TtpSettings()
    """Tagging."""
    mutator: MutatorSettings = MutatorSettings()
    """The fleet and its rotation."""
    attribution: AttributionSettings = AttributionSettings()
    """Attribution."""
    linking: LinkingSettings = LinkingSettings()
    """Identities across addresses, and campaigns."""
    intel: IntelSettings = IntelSettings()
    """Countries, networks and lists of addresses."""
    decoys: DecoySettings = DecoySettings()
    """Our own small decoys; all off."""
    console: ConsoleSettings = ConsoleSettings()
    """The console."""
    notify: NotifySettings = NotifySettings()
    """A program that is run for what people should know of at once."""
    publish: PublishSettings = PublishSettings()
    """Webhooks, syslog servers and files that are told; none."""
    log: LogSettings = LogSettings()
    """Logs."""
    telemetry: TelemetrySettings = TelemetrySettings()
    """Traces and metrics over OTLP."""
    metrics: MetricsSettings = MetricsSettings()
    """The port that Prometheus scrapes; none."""
    greynoise: GreyNoiseSettings = GreyNoiseSettings()
    """GreyNoise; off."""
    abuseipdb: AbuseIpdbSettings = AbuseIpdbSettings()
    """AbuseIPDB; off."""
    virustotal: VirusTotalSettings = VirusTotalSettings()
    """VirusTotal; off."""
    urlhaus: UrlhausSettings = UrlhausSettings()
    """URLhaus; off."""
    threatfox: ThreatFoxSettings = ThreatFoxSettings()
    """ThreatFox; off."""
    feodo: FeodoSettings = FeodoSettings()
    """Feodo Tracker; off."""
    bus_type: Literal["nats", "memory", "null"] | None = None
    """Short form of bus.type (DECNET_BUS_TYPE)."""
    ttp_tagger_type: str | None = None
    """Short form of ttp.tagger_type (DECNET_TTP_TAGGER_TYPE)."""
    ttp_rule_store_type: Literal["database", "filesystem"] | None = None
    """Short form of ttp.rule_store_type (DECNET_TTP_RULE_STORE_TYPE)."""

    @property
    def effective_bus_type(self) -> str:
        """Adapter after the short form."""
        return self.bus_type or self.bus.type

    @property
    def effective_tagger_type(self) -> str:
        """Tagger after the short form."""
        return self.ttp_tagger_type or self.ttp.tagger_type

    @property
    def effective_rule_store_type(self) -> Literal["database", "filesystem"]:
        """Rule store after the short form."""
        return self.ttp_rule_store_type or self.ttp.rule_store_type

    @property
    def fleet_logs_dir(self) -> Path:
        """Where the decoys that the engine starts itself write their logs, and its sensor reads them."""
        return self.data_dir / "fleet" / "logs"

    @property
    def intel_folder(self) -> Path:
        """Where files of countries, networks and lists are looked for."""
        return self.intel.folder or self.data_dir / "intel"

    @property
    def db_url(self) -> str:
        """Database URL in effect."""
        return db_url_of(self.data_dir, self.db)


def load_settings(config: Path | None = None, **flags: Any) -> Settings:
    """Settings from flags, environment and config file; None flags count as not given.

    Raises ConfigError that names every wrong key, with the file's place where it has one.
    """
    document = _read_config(config) if config else None
    given = {name: value for name, value in flags.items() if value is not None}
    values = _laid_over(_environment() if settings_in_environment() else {}, given)
    try:
        settings = Settings(**_laid_over(_written(document), values))
        use_bundle(settings.ttp.attack_bundle)
        return settings
    except ValidationError as error:
        raise ConfigError(_explain(error, document, flags)) from error


def _written(document: Document | None) -> dict[str, Any]:
    return document.value if document is not None else {}


def _environment() -> dict[str, Any]:
    """What the environment says. Raises ConfigError for a variable that cannot be read or names nothing."""
    from decnet.environment import values_of  # here: what reads the environment loads slowly

    return values_of(Settings)


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Both, of one setting what is above; of a section its settings one by one."""
    out = dict(below)
    for name, value in above.items():
        known = out.get(name)
        sections = isinstance(known, dict) and isinstance(value, dict)
        out[name] = _laid_over(out[name], value) if sections else value
    return out


def _read_config(path: Path) -> Document | None:
    """The file's settings with their places; None when it is empty. Raises ConfigError with every fault."""
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}:{raw[: error.start].count(10) + 1}:1: not UTF-8") from error
    if not any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines()):
        return None
    from decnet.yaml_places import parse_strict  # here: few starts have a file of settings

    document, flaws = parse_strict(text, str(path))
    if flaws:
        raise ConfigError("\n".join(f"{flaw.place}: {flaw.message}" for flaw in flaws))
    if document is None or document.value is None:
        return None
    if not isinstance(document.value, dict):
        raise ConfigError(f"{path}:1:1: the file must be a mapping of settings")
    return document


def _explain(error: ValidationError, document: Document | None, flags: dict[str, Any]) -> str:
    """One line for each fault, those of the file first and in its order."""
    lines = []
    for item in error.errors():
        loc = item["loc"]
        key = ".".join(str(part) for part in loc)
        told = document is not None and loc in document.keys and flags.get(str(loc[0])) is None
        place = document.key_place(loc) if document and told else None
        text = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            text = f"unknown key; known: {', '.join(_known_beside(loc))}"
        order = (place.line, place.column) if place else (1 << 30, 0)
        lines.append((order, f"{place}: {key}: {text}" if place else f"{key}: {text}"))
    return "\n".join(line for _, line in sorted(lines, key=lambda found: found[0]))


def _known_beside(loc: tuple[int | str, ...]) -> list[str]:
    """The settings of the section in which an unknown key stands."""
    if loc[0] == "sensors":
        return list(SensorSpec.model_fields)
    section: Any = Settings
    for name in loc[:-1]:
        if not (isinstance(section, type) and issubclass(section, BaseModel)):
            return []
        section = section.model_fields[str(name)].annotation
    return list(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else []
