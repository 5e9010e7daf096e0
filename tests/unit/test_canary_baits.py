"""What lies on a decoy: each kind is a file that its own reader takes, leads back, and does not say what it is."""

from __future__ import annotations

import configparser
import io
import json
import re
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import asyncssh
import pytest
import yaml

from decnet.config import Settings
from decnet.db.rows.canary import TokenRow
from decnet.decoys.canary.baits import keys
from decnet.decoys.canary.minting import KINDS, bait_of, check_reachable, minted
from decnet.decoys.canary.slugs import ALPHABET, LENGTH, new_slug, slug_in
from decnet.decoys.http.answers import wanted_of
from decnet.errors import ConfigError
from tests.decoykit import SLUG, settings_of, token

URL = f"http://files.example:8080/i/{SLUG}"
NAME = f"{SLUG}.c.example"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(
        tmp_path, canary_http={"base_url": "http://files.example:8080"}, canary_dns={"zone": "c.example"}
    )


def made(kind: str, settings: Settings, path: str | None = None) -> bytes:
    return bait_of(token(kind=kind, path=path), settings)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_the_same_each_time_and_another_one_for_another_slug(kind: str, settings: Settings) -> None:
    assert made(kind, settings) == made(kind, settings)
    assert made(kind, settings) != bait_of(token(kind=kind, slug=new_slug()), settings)


def inside(data: bytes) -> bytes:
    """All the text of a file, also of a packed one."""
    if not data.startswith(b"PK"):
        return data
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return b"".join(archive.read(name) for name in archive.namelist())


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_leads_back_and_does_not_say_what_it_is(kind: str, settings: Settings) -> None:
    text = inside(made(kind, settings))
    assert not re.search(rb"(?i)canary|decnet|honey|token_id", text)
    wanted = {"base_url": URL, "zone": NAME, "": ""}[KINDS[kind].needs].encode()
    assert wanted in text
    if KINDS[kind].needs == "base_url":
        for url in re.findall(rb"http://files\.example:8080[^\s\"'<)]*", text):
            assert wanted_of("GET", url.decode().removeprefix("http://files.example:8080")).slug == SLUG


@pytest.mark.parametrize("kind", [kind for kind, one in KINDS.items() if one.needs])
def test_a_token_that_could_not_come_back_is_not_made(kind: str, tmp_path: Path) -> None:
    named = "canary_http.base_url" if KINDS[kind].needs == "base_url" else "canary_dns.zone"
    with pytest.raises(ConfigError, match=named):
        check_reachable(kind, settings_of(tmp_path))


@pytest.mark.parametrize("kind", ["docx", "xlsx"])
def test_documents_are_whole_and_link_one_picture_outside(kind: str, settings: Settings) -> None:
    with zipfile.ZipFile(io.BytesIO(made(kind, settings))) as archive:
        names = set(archive.namelist())
        trees = {name: ElementTree.fromstring(archive.read(name)) for name in names}
    outside = []
    for name, tree in trees.items():
        if not name.endswith(".rels"):
            continue
        base = Path(name).parent.parent
        for row in tree:
            if row.get("TargetMode") == "External":
                outside.append((row.get("Id"), row.get("Target")))
            else:
                target = (base / str(row.get("Target"))).as_posix()
                parts: list[str] = []
                for part in target.split("/"):
                    parts = parts[:-1] if part == ".." else [*parts, part]
                assert "/".join(parts) in names
    assert outside == [("rId9", f"{URL}/logo.png")]
    linked = [node for tree in trees.values() for node in tree.iter() if node.tag.endswith("}blip")]
    assert [list(node.attrib.values()) for node in linked] == [["rId9"]]


def test_a_pdf_has_its_objects_where_its_table_says(settings: Settings) -> None:
    data = made("pdf", settings)
    start = int(data.rsplit(b"startxref\n", 1)[1].split(b"\n")[0])
    assert data[start:].startswith(b"xref\n0 7\n")
    places = [int(line[:10]) for line in data[start:].split(b"\n")[3:9]]
    assert [data[place:].startswith(b"%d 0 obj" % n) for n, place in enumerate(places, 1)] == [True] * 6
    assert b"/OpenAction << /S /URI /URI (" + URL.encode() in data


def test_settings_of_programs_are_read_by_their_formats(settings: Settings) -> None:
    kube = yaml.safe_load(made("kubeconfig", settings))
    assert kube["clusters"][0]["cluster"]["server"] == URL
    git = configparser.ConfigParser()
    git.read_string(made("git", settings).decode().replace("\t", ""))
    assert git['remote "origin"']["url"] == f"{URL}.git"
    wireguard = configparser.ConfigParser()
    wireguard.read_string(made("wireguard", settings).decode())
    assert wireguard["Peer"]["Endpoint"] == f"{NAME}:51820"
    aws = configparser.ConfigParser()
    aws.read_string(made("aws", settings).decode())
    assert re.fullmatch(r"AKIA[A-Z2-7]{16}", aws["default"]["aws_access_key_id"])
    assert len(aws["default"]["aws_secret_access_key"]) == 40
    assert aws["default"]["aws_access_key_id"] == keys.aws_key_id(SLUG)


def test_a_page_is_html_or_svg_by_its_path(settings: Settings) -> None:
    assert made("page", settings, "/srv/share/pass.html").startswith(b"<!doctype html>")
    drawing = ElementTree.fromstring(made("page", settings, "/srv/plan.SVG"))
    assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
    for text in (made("page", settings), made("page", settings, "/a.svg")):
        assert f"{URL}/s.js".encode() in text


@pytest.mark.parametrize("number", range(8))
def test_an_ssh_key_is_one_that_ssh_reads_with_its_fingerprint(number: int) -> None:
    slug = SLUG[:-1] + ALPHABET[number]
    key = asyncssh.import_private_key(keys.ssh_file(slug))
    assert key.get_fingerprint() == keys.ssh_fingerprint(slug)
    assert key.sign(b"x", b"ssh-ed25519") != b""
    public = key.convert_to_public()
    assert public.public_data == keys.public_blob(slug)


def test_the_public_key_is_that_of_the_standard() -> None:
    """RFC 8032, 7.1, test 1."""
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    wanted = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert keys._public(seed).hex() == wanted


def test_slugs_are_long_and_random_and_found_again_in_any_case() -> None:
    slugs = {new_slug() for _ in range(200)}
    assert len(slugs) == 200
    assert {len(slug) for slug in slugs} == {LENGTH}
    assert len({slug[0] for slug in slugs}) > 20, "not sequential"
    assert {slug_in(slug.upper()) for slug in slugs} == slugs
    assert [slug_in(text) for text in ("", "a" * 25, "a" * 27, "i" * 26, "\u0430" * 26, "a" * 25 + "\n")] == [
        None
    ] * 6


@pytest.mark.parametrize("kind", KINDS)
def test_a_minted_token_tells_nothing_of_its_slug(kind: str) -> None:
    row: TokenRow = minted(kind, "web-01", path=None, memo=None, at=datetime.now(UTC))
    assert re.fullmatch(rf"{kind}-[0-9a-f]{{8}}", row["token_id"])
    assert row["slug"] not in json.dumps(row["token_id"])
    assert (row["watched"] is not None) == (kind in ("aws", "ssh"))
