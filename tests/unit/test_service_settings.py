"""Settings of services: off as they come, keys kept out of every text, and only addresses that are safe to ask."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from decnet.config import Settings, load_settings
from decnet.errors import ConfigError
from decnet.service_settings import ServiceSettings

BASES = {
    "greynoise": "https://api.greynoise.io",
    "abuseipdb": "https://api.abuseipdb.com",
    "virustotal": "https://www.virustotal.com",
    "urlhaus": "https://urlhaus-api.abuse.ch",
    "threatfox": "https://threatfox-api.abuse.ch",
    "feodo": "https://feodotracker.abuse.ch",
}
KEY = "k3y-0f-0urs"


def section(name: str, **values: object) -> ServiceSettings:
    found = getattr(load_settings(**{name: values}), name)
    assert isinstance(found, ServiceSettings)
    return found


def refused(name: str, **values: object) -> str:
    with pytest.raises(ConfigError) as caught:
        section(name, **values)
    return str(caught.value)


def test_every_service_is_off_without_key_and_proxy_and_stands_where_its_docstring_says() -> None:
    settings = Settings()
    for name, base in BASES.items():
        one = getattr(settings, name)
        assert (one.enabled, one.key, one.proxy, one.base_url) == (False, None, None, base)
        assert f"Sent to {base.removeprefix('https://')}:" in (type(one).__doc__ or ""), name


def test_the_page_of_addresses_says_of_every_service_where_it_is_and_how_often_it_is_asked() -> None:
    page = (Path(__file__).parents[2] / "docs" / "addresses.md").read_text("utf-8")
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.count("|") == 5
    ]
    told = {row[0].split("`")[1]: (row[1], row[3]) for row in rows if row[0].startswith("[`")}
    settings = Settings()
    assert told == {
        name: (base.removeprefix("https://"), str(getattr(settings, name).daily_budget))
        for name, base in BASES.items()
    }


@pytest.mark.parametrize("name", ["abuseipdb", "virustotal", "urlhaus", "threatfox"])
def test_a_service_that_answers_with_a_key_only_is_not_turned_on_without_one(name: str) -> None:
    assert refused(name, enabled=True) == f"{name}: answers with a key only: set `key` too"
    assert section(name, enabled=True, key=KEY).enabled


@pytest.mark.parametrize("name", ["greynoise", "feodo"])
def test_a_service_that_answers_everybody_needs_no_key(name: str) -> None:
    assert section(name, enabled=True).key is None


@pytest.mark.parametrize("key", ["", "two words", "k\n", "k\r\nHost: evil", "schlüssel", "k" * 513])
def test_a_key_that_fits_no_header_is_refused_and_not_repeated(key: str) -> None:
    line = refused("virustotal", key=key)
    assert line == "virustotal.key: a key is up to 512 characters of ASCII without blanks"


def test_a_key_may_have_512_characters() -> None:
    found = section("virustotal", key="k" * 512).key
    assert found is not None
    assert found.get_secret_value() == "k" * 512


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://mirror.example.org", "over https:// only"),
        ("http://127.0.0.1.example.org", "over https:// only"),
        ("ftp://mirror.example.org", "over https:// only"),
        ("https://user:pw@mirror.example.org", "scheme, host and path only"),
        ("https://mirror.example.org/?a=b", "scheme, host and path only"),
        ("https://mirror.example.org/#a", "scheme, host and path only"),
        ("https://mirror.example.org:99999", "no URL"),
        ("https://mirror.example.org:0", "no URL"),
        ("https://mirror.example.org\n", "no URL"),
        ("https://mirrör.example.org", "no URL"),
        ("https://[::1", "no URL"),
        ("https://", "no URL"),
        ("mirror.example.org", "no URL"),
    ],
)
def test_a_base_that_would_give_the_key_away_or_is_none_is_refused(url: str, why: str) -> None:
    assert why in refused("greynoise", base_url=url)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://mirror.example.org/intel/", "https://mirror.example.org/intel"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://localhost:8080/", "http://localhost:8080"),
    ],
)
def test_a_mirror_may_have_a_path_and_this_host_needs_no_tls(url: str, base: str) -> None:
    assert section("greynoise", base_url=url).base_url == base


@pytest.mark.parametrize("url", ["socks5://u:pw@h:1", "h:1", "", "http://u:pw@"])
def test_a_proxy_of_another_kind_is_refused_and_not_repeated(url: str) -> None:
    line = refused("greynoise", proxy=url)
    assert line.startswith("greynoise.proxy: ")
    assert "pw" not in line


def test_keys_and_proxies_stand_in_no_text_of_the_settings_or_of_their_errors() -> None:
    settings = load_settings(virustotal={"key": KEY, "proxy": "http://u:passw0rd@proxy:3128"})
    texts = [repr(settings), str(settings), settings.model_dump_json()]
    with pytest.raises(ValidationError) as caught:
        Settings(virustotal={"key": f"{KEY} {KEY}"}, greynoise={"proxy": "ftp://passw0rd"})  # type: ignore[arg-type]
    texts += [str(caught.value), repr(caught.value)]
    assert [text for text in texts if KEY in text or "passw0rd" in text] == []


def test_a_service_is_turned_on_by_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECNET_THREATFOX__ENABLED", "1")
    monkeypatch.setenv("DECNET_THREATFOX__KEY", KEY)
    found = load_settings().threatfox
    assert found.enabled
    assert found.key is not None
    assert found.key.get_secret_value() == KEY
