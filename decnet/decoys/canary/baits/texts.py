"""Baits that are text: links, pages, settings of programs that go out by themselves."""

from __future__ import annotations

from html import escape
from typing import Final

from decnet.decoys.canary.baits.derived import key_text, word

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Access - internal</title></head>
<body><h1>Access</h1>
<img src="{url}/logo.png" width="1" height="1" alt="">
<table border="1"><tr><th>System</th><th>User</th><th>Password</th></tr>
<tr><td>backup</td><td>svc-backup</td><td>{one}</td></tr>
<tr><td>wiki</td><td>admin</td><td>{two}</td></tr></table>
<script src="{url}/s.js"></script></body></html>
"""
_DRAWING: Final = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="640" height="320">
<rect x="20" y="20" width="180" height="60" fill="none" stroke="black"/><text x="40" y="55">gateway 10.20.0.1</text>
<rect x="260" y="20" width="180" height="60" fill="none" stroke="black"/><text x="280" y="55">backup 10.20.0.14</text>
<image xlink:href="{url}/logo.png" width="1" height="1"/><script xlink:href="{url}/s.js"/></svg>
"""
_GIT: Final = """[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = false
\tlogallrefupdates = true
[remote "origin"]
\turl = {url}.git
\tfetch = +refs/heads/*:refs/remotes/origin/*
[branch "main"]
\tremote = origin
\tmerge = refs/heads/main
"""
_KUBECONFIG: Final = """apiVersion: v1
kind: Config
clusters:
- name: prod
  cluster:
    server: {url}
    insecure-skip-tls-verify: true
contexts:
- name: prod
  context: {{cluster: prod, user: deployer, namespace: default}}
current-context: prod
users:
- name: deployer
  user:
    token: {one}
"""
_ENV: Final = """APP_ENV=production
APP_KEY=base64:{key}
DB_HOST=10.20.0.11
DB_USERNAME=app
DB_PASSWORD={one}
API_BASE={url}
API_TOKEN={two}
"""
_WIREGUARD: Final = """[Interface]
PrivateKey = {key}
Address = 10.66.0.7/32
DNS = 10.66.0.1

[Peer]
PublicKey = {other}
AllowedIPs = 10.20.0.0/16
Endpoint = {name}:51820
PersistentKeepalive = 25
"""
_SQL: Final = """-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)
-- Host: localhost    Database: app
CREATE DATABASE IF NOT EXISTS `app`;
USE `app`;
CHANGE REPLICATION SOURCE TO SOURCE_HOST='{name}', SOURCE_PORT=3306, SOURCE_USER='repl',
  SOURCE_PASSWORD='{one}', SOURCE_LOG_FILE='binlog.000214', SOURCE_LOG_POS=157;
START REPLICA;
CREATE TABLE `users` (`id` int NOT NULL AUTO_INCREMENT, `name` varchar(64), `hash` varchar(64), PRIMARY KEY (`id`));
INSERT INTO `users` VALUES (1,'admin','{two}'),(2,'backup','{three}');
"""


def link(url: str) -> str:
    """The bare URL."""
    return f"{url}\n"


def pixel(url: str) -> str:
    """A picture for a page or a mail of your own."""
    return f'<img src="{escape(url)}/logo.png" width="1" height="1" alt="">\n'


def page(url: str, slug: str, *, drawing: bool = False) -> str:
    """A page whose script tells what browser shows it; as SVG where that is wanted."""
    template = _DRAWING if drawing else _PAGE
    return template.format(url=escape(url), one=word(slug, "page-one", 14), two=word(slug, "page-two", 12))


def git(url: str) -> str:
    """``.git/config``: ``git fetch`` goes there."""
    return _GIT.format(url=url)


def kubeconfig(url: str, slug: str) -> str:
    """``kubectl`` asks there."""
    return _KUBECONFIG.format(url=url, one=word(slug, "kube", 40))


def env(url: str, slug: str) -> str:
    """Settings of an application, with a place of its API."""
    return _ENV.format(
        url=url, one=word(slug, "env-one", 16), two=word(slug, "env-two", 32), key=key_text(slug, "env")
    )


def wireguard(name: str, slug: str) -> str:
    """A tunnel: bringing it up asks for the name."""
    return _WIREGUARD.format(name=name, key=key_text(slug, "wg"), other=key_text(slug, "wg-peer"))


def sql(name: str, slug: str) -> str:
    """A dump: loading it makes the server ask for its source."""
    passwords = {
        what: word(slug, f"sql-{what}", length) for what, length in (("one", 14), ("two", 40), ("three", 40))
    }
    return _SQL.format(name=name, **passwords)
