"""``intel``: what the operator's files say of an address, beside what is stored of it; which files there are.

What services said, and asking them, is left to :mod:`decnet_tui.cli.intelasked`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from decnet.config import Settings
from decnet.errors import DecnetError
from decnet.hostile import visible
from decnet.intel.library import Source
from decnet.intel.places import Asked, Place, Places, registry_origin
from decnet.intel.services.base import Value
from decnet.intel.services.values import Unaskable, value_of
from decnet_tui.cli import common
from decnet_tui.cli.intelasked import Known, known_of, service_lines, stored_lines, stored_rows
from decnet_tui.model.words import ago

app = typer.Typer(
    help="Countries, networks and lists of addresses, from files on this host: lookup, sources.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
_ASKED = ("source", "kind", "age", "verdict", "answer")
_SOURCES = ("name", "kind", "state", "entries", "unit", "age", "left_out", "path")
_LONGEST = 500


@app.command()
def lookup(
    what: Annotated[
        str, typer.Argument(metavar="IP", help="Address, of IPv4 or IPv6; or a file's SHA-256, or a URL.")
    ],
    ask: Annotated[
        bool, typer.Option("--ask", help="Ask the services that are turned on, within their budgets.")
    ] = False,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """What every source says of an address, how old that is, what is stored of it, and what services said.

    Asks nobody outside this host unless --ask is given.
    """
    settings = common.settings_of(config, data_dir=data_dir, db=db)
    now = time.time()
    value, place, asked = _meant(what, settings, now)
    found, trouble = common.run(lambda: _known(settings, value, now, ask))
    if as_json:
        typer.echo(common.to_json(_as_json(value, place, asked, found, trouble, now)))
    else:
        for line in _for_people_all(value, place, asked, found, settings, now):
            typer.echo(line)
    if trouble:
        common.fail(f"what is stored of it cannot be read: {trouble}")


def _meant(text: str, settings: Settings, now: float) -> tuple[Value, Place | None, list[dict[str, Any]]]:
    """What is looked up, with what this host's own files say when it is an address; else ends with exit code 2."""
    places = Places.of(settings)
    for kind in ("sha256", "url"):
        with suppress(Unaskable):
            return value_of(kind, text), None, []
    try:
        place = places.lookup(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return Value("address", place.address), place, [_asked(one, place, now) for one in places.ask_all(text)]


async def _known(settings: Settings, value: Value, now: float, ask: bool) -> tuple[Known | None, str | None]:
    """What is stored, None without a database; and why it cannot be read. With ``ask`` that is no side matter."""
    if not ask and not common.has_database(settings):
        return None, None
    try:
        return await known_of(settings, value, now, ask=ask), None
    except DecnetError as error:
        if ask:
            raise
        return None, str(error)


def _as_json(
    value: Value,
    place: Place | None,
    asked: Sequence[Mapping[str, Any]],
    found: Known | None,
    trouble: str | None,
    now: float,
) -> dict[str, Any]:
    return {
        **({value.kind: value.text} if place is None else place.row(now)),
        "sources": asked,
        "stored": None if found is None else stored_rows(found.stored, now),
        "stored_error": trouble,
        "services": None if found is None else found.services,
        "waiting": None if found is None else found.waiting,
        "asked": None if found is None else found.asked,
    }


def _for_people_all(
    value: Value,
    place: Place | None,
    asked: Sequence[Mapping[str, Any]],
    found: Known | None,
    settings: Settings,
    now: float,
) -> Iterator[str]:
    if place is None:
        yield visible(value.text, _LONGEST)
    else:
        yield from _page(place, now)
        common.print_rows([_for_people(row) for row in asked], _ASKED, False, "")
    yield ""
    if found is None:
        yield f"stored: no database of {settings.data_dir} to be asked"
        return
    yield from service_lines(found)
    if place is not None:
        yield from stored_lines(stored_rows(found.stored, now))


def _asked(one: Asked, place: Place, now: float) -> dict[str, Any]:
    """A source's row: its answer in parts, and what that comes to in a word."""
    said = one.said
    return {
        "source": one.origin.name,
        "kind": one.origin.kind,
        "path": str(one.source.path) if one.source else None,
        "state": one.source.state if one.source else "ok",
        "age_s": one.origin.age_s(now),
        "verdict": _verdict(one, place),
        "country": said.country if said else None,
        "allocated": said.allocated if said else False,
        "asn": said.asn if said else None,
        "as_name": said.as_name if said else None,
        "error": (one.source.error or None) if one.source else None,
    }


def _verdict(one: Asked, place: Place) -> str:
    if one.source is not None and one.source.content is None:
        return one.source.state
    if one.said is not None:
        return "listed" if one.listing else "place"
    if place.unasked is not None and one.origin.kind != "setting":
        return "not asked"
    return "not listed" if one.listing else "no answer"


def _for_people(row: Mapping[str, Any]) -> dict[str, Any]:
    words = [_country(row), _network(row)]
    answer = "  ".join(word for word in words if word) or row["error"] or "-"
    return {**row, "age": ago(row["age_s"]), "answer": answer}


def _country(row: Mapping[str, Any]) -> str:
    if row["country"] is None:
        return ""
    return f"allocated in {row['country']}" if row["allocated"] else str(row["country"])


def _network(row: Mapping[str, Any]) -> str:
    return "" if row["asn"] is None else f"AS{row['asn']} {row['as_name'] or ''}".rstrip()


def _page(place: Place, now: float) -> Iterator[str]:
    """What it comes to, each part with its source and age."""
    row = place.row(now)
    yield place.address
    if place.unasked:
        yield f"  not looked up: {place.unasked} address"
    parts = (
        ("country", _country(row), row["country_source"], row["country_age_s"]),
        ("network", _network(row), row["as_source"], row["as_age_s"]),
    )
    for name, words, source, age in parts if not place.unasked else ():
        by = (
            f"  ({visible(source, 60)}, {ago(age) if age is not None else 'age not known'})" if source else ""
        )
        yield f"  {name}  {visible(words, 200) or '-'}{by}"
    yield f"  lists    {visible(', '.join(place.lists), _LONGEST) or '-'}"
    yield ""


@app.command()
def sources(
    as_json: common.AsJson = False,
    limit: common.Limit = 100,
    since: common.Since = None,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
) -> None:
    """Every file with its kind, entries and age, what of it cannot be read, and where; --since: data newer."""
    settings = common.settings_of(config, data_dir=data_dir)
    newest = common.parse_since(since)
    places, now = Places.of(settings), time.time()
    rows = [
        row
        for row in _rows(places, settings, now)
        if newest is None or (row["dated"] and row["dated"] >= newest)
    ]
    rows = rows[: limit or None]
    shown = (
        rows
        if as_json
        else [{**row, "age": ago(row["age_s"]), "left_out": sum(row["wrong"].values())} for row in rows]
    )
    common.print_rows(
        shown, _SOURCES, as_json, "no source has data so young: ask without --since to see them all"
    )
    for line in () if as_json else _notes(rows):
        typer.echo(visible(line, _LONGEST))


def _rows(places: Places, settings: Settings, now: float) -> Iterator[dict[str, Any]]:
    own = settings.intel.own_networks
    if own:
        yield {
            **_BLANK,
            "name": "own",
            "kind": "setting",
            "listing": True,
            "entries": len(own),
            "unit": "networks",
        }
    for source in places.library.sources:
        yield _row(source, now)
    for path, why in places.library.passed_over.items():
        yield {**_BLANK, "state": "not read", "path": path, "error": why}
    yield {**_BLANK, "name": registry_origin().name, "kind": "registry", "listing": False}


_BLANK: Mapping[str, Any] = {
    "name": None, "kind": None, "state": "ok", "path": None, "listing": None, "entries": None, "unit": None, "dated": None,
    "age_s": None, "wrong": {}, "notes": {}, "faults": [], "error": None,
}  # fmt: skip


def _row(source: Source, now: float) -> dict[str, Any]:
    content, tally, dated = source.content, source.tally, source.dated
    return {
        **_BLANK,
        "name": source.name,
        "kind": source.kind or None,
        "state": source.state,
        "path": str(source.path),
        "listing": content.listing if content else None,
        "entries": content.entries if content else None,
        "unit": content.unit if content else None,
        "dated": None if dated is None else datetime.fromtimestamp(dated, UTC),
        "age_s": None if dated is None else max(0.0, round(now - dated, 1)),
        "wrong": dict(tally.wrong) if tally else {},
        "notes": dict(tally.notes) if tally else {},
        "faults": list(tally.places) if tally else [],
        "error": source.error or None,
    }


def _notes(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What is wrong with each file, a line each."""
    for row in rows:
        counts = ", ".join(f"{why}: {count}" for why, count in (row["wrong"] | row["notes"]).items())
        if counts:
            yield f"{row['name']}: {counts}"
        yield from (f"  {place}" for place in row["faults"])
        if row["error"]:
            yield f"{row['state']}: {row['error'] if row['name'] else row['path'] + ': ' + row['error']}"


def register(parent: typer.Typer) -> None:
    """Adds the commands."""
    parent.add_typer(app, name="intel")
