"""Every counter that exists is in health: the code is searched for counters, and each is faked and looked for.

A new counter fails here until it has its place in a worker's health, or the reason why it is none of the operator's business.
"""

from __future__ import annotations

import ast
import re
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import decnet
from decnet.attribution.worker import AttributionWorker
from decnet.behave.worker import BehaveWorker
from decnet.bounds import BITES, bitten
from decnet.bus.base import Event
from decnet.bus.live import LiveSubscription
from decnet.bus.nats.connection import NatsBus
from decnet.bus.publish import publish_failures
from decnet.config import NotifySettings, Settings, load_settings
from decnet.decoys.canary.desk import Desk
from decnet.decoys.dns.listener import CanaryDns
from decnet.decoys.http.listener import CanaryHttp
from decnet.decoys.listener import Place
from decnet.decoys.mail.listener import FIGURES, MailListener
from decnet.decoys.worker import DecoysWorker
from decnet.engine import Engine
from decnet.events.fields import Epoch
from decnet.events.session import Joined, SessionEnded
from decnet.intel.asking import Asker
from decnet.intel.worker import IntelWorker
from decnet.mail.facts import BOUNDS as MAIL_BOUNDS
from decnet.mutator.worker import MutatorWorker
from decnet.publish_settings import PublishSettings
from decnet.recorder.plan import Plan
from decnet.recorder.worker import LEFT_OUT, RecorderWorker
from decnet.runtime.health import WorkerStats, health_payload
from decnet.runtime.notify import Notifier
from decnet.runtime.parts import PartsHealth
from decnet.runtime.publish.publisher import Publisher
from decnet.sensors.worker import SensorsWorker
from decnet.ttp.base import TaggerEvent
from decnet.ttp.facts import MAX_FACTS, joined_events
from decnet.ttp.worker import TtpWorker
from decnet_tui.model.feed import Feed
from decnet_tui.model.figures import LOSS, TROUBLE, WORK, losses, notes, others
from decnet_tui.screens.workers import WorkersView

ROOT = Path(decnet.__file__).parent
SCOPE = ("runtime", "bus", "recorder", "attribution", "mutator", "ttp", "intel", "decoys")
IN_HEALTH = {
    "attribution/link_job.py": {
        "linked": "sessions_linked",
        "unread": "sessions_unlinkable",
        "homeless": "sessions_without_address",
        "contradictions": "linking_contradictions",
    },
    "attribution/worker.py": {
        "contradictory": "contradictory",
        "deferred": "deferred",
        "alerts": "alerts_told",
        "merges_refused": "merges_refused",
        "partings_held": "partings_held",
    },
    "bus/live.py": {"lost": "live_lost", "malformed": "live_malformed"},
    "bus/nats/client.py": {"failed": "connect_failures"},
    "bus/nats/connection.py": {"reconnects": "reconnects"},
    "bus/nats/server.py": {"restarts": "restarts"},
    "intel/asking.py": {"told": "answers_told", "given_up": "questions_given_up", "dropped": "questions_dropped"},
    "intel/library.py": {"taken": "sources_taken", "refused": "sources_refused"},
    "mutator/settle.py": {"rotations": "rotations", "failures": "failed_changes"},
    "recorder/worker.py": {"derived": "derived", "recordings_waiting": "recordings_waiting"},
    "runtime/beats.py": {"not_stored": "beats_not_stored"},
    "runtime/dbwatch.py": {"times_blocked": "times_blocked"},
    "runtime/notify.py": {"dropped": "notify_dropped", "failed": "notify_failed"},
    "runtime/relay.py": {"refused": "outbox_refused"},
    "ttp/matcher.py": {"total": "rule_failures"},
    "ttp/rule_engine.py": {"views_capped": "views_capped"},
    "ttp/windows_engine.py": {"hits": "window_hits", "fired": "windows_fired", "dropped": "window_hits_dropped"},
    "ttp/worker.py": {"inserted": "tags_inserted", "told_once": "tags_told_once", "replaced_later": "tags_replaced_later"},
}  # fmt: skip
"""Attribute that counts to its name in health, by file."""
NO_HEALTH = {
    "runtime/beats.py": {"ended": "a mark of progress for the watchdog"},
    "runtime/dbwatch.py": {"looks": "a mark of progress for the watchdog"},
    "runtime/runner.py": {"turns": "a mark of progress for the watchdog"},
    "runtime/doors.py": {"_all": "connections open now"},
    "runtime/hours.py": {"_events": "told by hours, in the rates of the console"},
    "decoys/mail/folder.py": {"bytes": "the room that kept mails take"},
    "decoys/mail/protocol.py": {"_messages": "the mails of one connection"},
    "decoys/http/request.py": {"_fed": "the bytes of one request"},
    "bus/memory.py": {"bytes": "the room that a stream in memory takes"},
    "bus/nats/decoded.py": {"_bytes": "the room that events decoded once take"},
    "bus/nats/publisher.py": {"_number": "the number of the next message"},
    "intel/ranges.py": dict.fromkeys(
        ("contradicted", "covered_v4", "doubled", "overlapping"), "told with its file by `intel sources`"
    ),
    "ttp/aggregates.py": {"attempts": "a fact about an attacker"},
    "ttp/backfill.py": {"done": "progress of one command", "total": "progress of one command"},
    "ttp/clocked.py": {"judged": "told by `rules judge` itself", "ns": "told by `rules judge` itself"},
    "ttp/sigma/condition.py": dict.fromkeys(("_at", "_depth"), "where one condition is read"),
    "ttp/judge.py": {"_reading_ns": "told by `rules judge` itself"},
    "ttp/compiling.py": {"superseded": "told by the rules themselves, as rules_superseded"},
    "ttp/offline.py": {"_events": "the clock of `tag`", "views_capped": "told by `tag` itself"},
    "ttp/store/impl/database.py": {"version": "what readers compare"},
    "ttp/store/impl/filesystem.py": {"version": "what readers compare"},
    "ttp/windows_memory.py": {"forgotten": "told by `tag` itself"},
}
"""Attribute to the reason why an operator need not know it."""


def counters(path: Path) -> set[str]:
    """Attributes of ``self`` that start at a number and are added to."""
    tree = ast.parse(path.read_text("utf-8"))
    added = {
        node.target.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add) and isinstance(node.target, ast.Attribute)
        and isinstance(node.target.value, ast.Name) and node.target.value.id == "self"
    }  # fmt: skip
    texts = {
        target.attr
        for node in ast.walk(tree)
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and not _is_number(node.value)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Attribute)
    }
    return added - texts


def _is_number(value: ast.expr | None) -> bool:
    return value is None or (isinstance(value, ast.Constant) and type(value.value) is int)


def test_every_counter_of_the_code_is_known_here() -> None:
    found = {
        str(path.relative_to(ROOT)): names
        for part in SCOPE
        for path in sorted((ROOT / part).rglob("*.py"))
        if (names := counters(path))
    }
    assert [file for file, names in IN_HEALTH.items() if not set(names) <= found.get(file, set())] == []
    stats = set(WorkerStats.__dataclass_fields__)
    known = {file: set(names) for file, names in IN_HEALTH.items()}
    for file, names in NO_HEALTH.items():
        known.setdefault(file, set()).update(names)
    unknown = {file: names - known.get(file, set()) for file, names in found.items()}
    assert {file: names for file, names in unknown.items() if names - stats} == {}


def test_every_figure_of_the_runtime_is_in_the_payload() -> None:
    names = ("processed", "failed", "dead_lettered", "lag", "restarts")
    payload = health_payload("ttp", "ok", WorkerStats(**dict.fromkeys(names, 7)), {})
    assert {name: payload[name] for name in names} == dict.fromkeys(names, 7)


def _bites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decnet.bounds.BITES", Counter())
    for name in (
        "facts_capped",
        "script_capped",
        "evidence_cut",
        "attempts_uncounted",
        "news_cut",
        "parts_apart",
        "story_capped",
        "users_capped",
        "groups_too_large",
    ):
        monkeypatch.setitem(BITES, name, 7)


def ttp() -> tuple[dict[str, Any], set[str]]:
    worker = TtpWorker(None, load_settings(ttp_rule_store_type="filesystem"))
    engines = list(worker._engines())
    for engine in {id(e.engine): e.engine for e in engines}.values():
        engine.replaced["R1"] = 7
        engine.suppressed["R1", "floor"] = engine.views_capped = engine.failures.total = 7
    worker.inserted = worker.told_once = worker.replaced_later = 7
    worker.sweep._refused = set("abcdefg")
    worker.suppression.ignored["R1", "ignored_source"] = 7
    for window in worker.windows:
        window.hits = window.fired = window.dropped = 7
    own = {
        *IN_HEALTH["ttp/worker.py"].values(),
        *IN_HEALTH["ttp/windows_engine.py"].values(),
        "tags_ignored",
        "sessions_refused",
    }
    return worker.health(), own | {
        "facts_capped",
        "script_capped",
        "tags_replaced",
        "evidence_cut",
        "attempts_uncounted",
        "news_cut",
        "parts_apart",
        "story_capped",
    }


def recorder() -> tuple[dict[str, Any], set[str]]:
    worker = RecorderWorker(Settings())
    worker.recordings_waiting = worker.derived = 7
    worker.left_out.update(dict.fromkeys(LEFT_OUT, 7))
    return worker.health(), {"recordings_waiting", "derived", *LEFT_OUT, "users_capped"}


def behave() -> tuple[dict[str, Any], set[str]]:
    worker = BehaveWorker()
    worker.counts.update({name: 7 - count for name, count in worker.counts.items()})
    return worker.health(), set(worker.counts)


def attribution() -> tuple[dict[str, Any], set[str]]:
    worker = AttributionWorker(Settings())
    worker.contradictory = worker.deferred = worker.alerts = 7
    worker.merges_refused = worker.partings_held = 7
    return worker.health(), {*IN_HEALTH["attribution/worker.py"].values(), "groups_too_large"}


def mutator() -> tuple[dict[str, Any], set[str]]:
    worker = MutatorWorker(Settings())
    worker.service = SimpleNamespace(rotations=7, failures=7)  # type: ignore[assignment]
    worker._counts = dict.fromkeys(("deckies", "pending", "failing"), 7)
    return worker.health(), {*IN_HEALTH["mutator/settle.py"].values(), "deckies", "pending", "failing"}


def intel() -> tuple[dict[str, Any], set[str]]:
    """Also what it sums up over services, and what counts in others' counters."""
    worker = IntelWorker(load_settings(greynoise={"enabled": True}, intel={"own_networks": []}))
    worker.places = SimpleNamespace(  # type: ignore[assignment]
        library=SimpleNamespace(sources=(), passed_over=dict.fromkeys("abcdefg"), taken=7, refused=7)
    )
    asker = worker.asker = Asker(load_settings(greynoise={"enabled": True}), None)  # type: ignore[arg-type]
    asker.told = asker.given_up = asker.dropped = 7
    asker.waiting = {"greynoise": 7}
    asker.desk._not_asked["no_value"] = 7
    state = asker.desk._governor._services["greynoise"]
    state.counts["asked"] = state.faults["timeout"] = 7
    names = {"questions_left_out", "leases_lost"}
    worker._counts.update(dict.fromkeys(names, 7))
    health = worker.health()
    assert health.pop("not_asked")["no_value"] == 7
    names |= {"questions_waiting", "questions_asked", "questions_failed", "sources_passed_over"}
    return health, names | {*IN_HEALTH["intel/asking.py"].values(), *IN_HEALTH["intel/library.py"].values()}


def decoys() -> tuple[dict[str, Any], set[str]]:
    """Each counts by name; the names are read from the code, so that a new one is looked for too."""
    settings = Settings()
    place = Place(settings, None, b"")  # type: ignore[arg-type]
    worker = DecoysWorker(settings)
    worker.desk = desk = Desk(settings, None)  # type: ignore[arg-type]
    http, dns = CanaryHttp(place, desk), CanaryDns(place, desk)
    mail = MailListener(place)
    worker.listeners = [http, dns, mail]
    places = (ROOT / "decoys").rglob("*.py")
    text = "".join(path.read_text("utf-8") for path in places)
    names = set(re.findall(r'"((?:canary|http|dns)_[a-z_]+)"', text)) - {
        "canary_http",
        "canary_dns",
        "dns_qname",
        "dns_tcp",
    }
    names |= {
        f"{port}_{what}" for port in ("http", "dns_tcp") for what in re.findall(r"_name\}_([a-z_]+)", text)
    }
    names |= {*FIGURES, *MAIL_BOUNDS, "mail_inside"}
    mail.figures = dict.fromkeys(FIGURES, 7)
    mail._live = set(range(7))  # type: ignore[arg-type]
    BITES.update(dict.fromkeys(MAIL_BOUNDS, 7))
    keys = {name for name in names if name.startswith("canary_keys")}
    worker.counts.update(dict.fromkeys(keys, 7))
    desk.counts.update({name: 7 for name in names - keys if name.startswith("canary")})
    http.counts.update({name: 7 for name in names if name.startswith("http")})
    dns.counts.update({name: 7 for name in names if name.startswith("dns")})
    return worker.health(), names


def engine_parts() -> tuple[dict[str, Any], set[str]]:
    bus = NatsBus("nats://127.0.0.1:1")
    bus.reconnects = bus._attempts.failed = 7
    live = LiveSubscription("a.b", 1)
    live.lost = live.malformed = 3
    bus._live[live] = None
    bus._left.update(live_lost=4, live_malformed=4)
    engine = Engine(Settings())
    engine.server = SimpleNamespace(restarts=7)  # type: ignore[assignment]
    publisher = Publisher(PublishSettings(), None, bus)  # type: ignore[arg-type]
    told = ("publish_sent", "publish_failed", "publish_dropped", "publish_given_up")
    publisher.counts.update(dict.fromkeys(told, 7))
    publisher.waiting["soc"] = 7
    engine.notifier = Notifier(NotifySettings(), None, bus, publisher=publisher)  # type: ignore[arg-type]
    engine.notifier.dropped = engine.notifier.failed = 7
    supervisor = SimpleNamespace(
        relay=SimpleNamespace(backlog=7, refused=7),
        database=SimpleNamespace(trouble="", times_blocked=7),
        beats=SimpleNamespace(not_stored=7),
    )
    parts = PartsHealth(bus, supervisor, Settings(), engine._own_figures)  # type: ignore[arg-type]
    files = ("bus/live.py", "bus/nats/client.py", "bus/nats/connection.py", "bus/nats/server.py", "runtime/beats.py",
             "runtime/dbwatch.py", "runtime/notify.py", "runtime/relay.py")  # fmt: skip
    return {**parts._bus(False), **parts._database(False), "restarts": parts._bus(False)["restarts"]}, {
        "outbox",
        "publish_waiting",
        *told,
        *(name for file in files for name in IN_HEALTH[file].values()),
    }


@pytest.mark.parametrize("of", [ttp, recorder, behave, attribution, mutator, intel, decoys, engine_parts])
def test_each_counter_is_in_the_health_of_who_counts(of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _bites(monkeypatch)
    monkeypatch.setattr("decnet.bounds.BITES", BITES)
    publish_failures.clear()
    payload, names = of()
    assert {name: payload.get(name) for name in names} == dict.fromkeys(names, 7)


@pytest.mark.parametrize("of", [ttp, recorder, behave, attribution, mutator, intel, decoys, engine_parts])
def test_each_has_words_in_the_workers_view_when_it_is_more_than_nothing(of: Any) -> None:
    payload, names = of()
    words = LOSS | TROUBLE | WORK
    assert names - words.keys() == set()
    assert others({k: v for k, v in payload.items() if isinstance(v, (int, float))}) == [], (
        "figures without words"
    )
    feed = Feed()
    feed.add(Event("system.x.health", {"state": "ok", **dict.fromkeys(names, 7)}, ts=time.time()))
    view = WorkersView(feed)
    view.sync(time.time())
    entry = next(e for e in view.entries if e.key == "x")
    assert view.records()[0].items() >= dict.fromkeys(names, 7).items(), "all figures are in what is exported"
    said = "  ".join(notes({"state": "ok", **dict.fromkeys(names, 7)}))
    for name in names:
        assert f"7{'' if name == 'stream_fill_pct' else ' '}{words[name][1]}" in said
    assert "".join(text for text, _ in entry.line).strip()
    assert notes({"state": "ok", **dict.fromkeys(names, 0)}) == []


def test_the_sensors_figures_have_words() -> None:
    health = SensorsWorker(Settings()).health()
    figures = {k for k, v in health.items() if type(v) is int}
    assert len(figures) > 10
    assert figures - (LOSS | TROUBLE | WORK).keys() == {"processed", "lag"}, "these have columns of their own"


def test_what_is_lost_comes_first_and_is_the_first_line_of_the_view() -> None:
    feed = Feed()
    feed.add(
        Event(
            "system.ttp.health",
            {"state": "ok", "rules_loaded": 9, "restarts": 1, "facts_capped": 2},
            ts=time.time(),
        )
    )
    feed.add(Event("system.sensors.health", {"state": "ok", "lines_refused": 1}, ts=time.time()))
    feed.lost = 5
    view = WorkersView(feed)
    view.sync(time.time())
    assert "".join(text for text, _ in view.line(0, 200)) == (
        "lost or limited  sensors: 1 line refused; ttp: 2 facts beyond what rules look at; this console: 5 live events not shown"
    )
    assert notes(feed.workers["ttp"].payload) == [
        "2 facts beyond what rules look at",
        "1 restart",
        "9 rules loaded",
    ]
    assert losses({"dead_lettered": 1}) == ["1 event given up"]


@pytest.mark.parametrize(("items", "counted"), [(MAX_FACTS, 0), (MAX_FACTS + 1, 1), (MAX_FACTS + 5, 5)])
def test_facts_beyond_what_rules_look_at_are_counted(items: int, counted: int) -> None:
    before = bitten("facts_capped")["facts_capped"]
    joined = [Joined(id=f"j{n}", command_text="id") for n in range(items)]
    session = SessionEnded(session_id="s", attacker_uuid="a", ended_at=Epoch(1), joined=joined)
    event = TaggerEvent("session", "s", "a", session_id="s", payload={})
    assert len(joined_events(event, session)) == min(items, MAX_FACTS)
    assert bitten("facts_capped")["facts_capped"] - before == counted


def test_what_sessions_lack_is_summed_by_the_recorder() -> None:
    worker = RecorderWorker(Settings())
    for lacks in (
        {"commands_dropped": 2, "items_dropped": 1},
        {"commands_dropped": 3, "items_dropped": "x"},
        {},
    ):
        worker._note_left_out(Plan(sessions=[lacks]))
    assert worker.health().items() >= {"commands_dropped": 5, "items_dropped": 1}.items()


def test_nothing_is_lost_only_when_no_sensor_refused_and_no_letter_is_dead() -> None:
    feed = Feed()
    feed.add(
        Event(
            "system.sensors.health",
            {"state": "ok", "sensors": [{"path": "/l", "refused": 2}]},
            ts=time.time(),
        )
    )
    view = WorkersView(feed)
    letter = {"id": 1, "worker": "ttp", "topic": "t", "reason": "r", "seq": 1, "ts": datetime.now(UTC)}
    view.load([letter])
    view.sync(time.time())
    said = "".join(text for text, _ in view.line(0, 200))
    assert said == "lost or limited  sensors: 2 lines refused; dead letters: 1 event given up"
