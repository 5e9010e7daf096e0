"""What a request for a token is answered, by the shape of its path alone, and which token it names. Pure.

Whether there is such a token makes no difference to the answer: nobody can try which ones exist.
"""

from __future__ import annotations

import base64
import re
from typing import Final, Literal, NamedTuple

from decnet.decoys.canary.slugs import ALPHABET, LENGTH

Shape = Literal["picture", "script", "page", "drawing", "report", "git", "kubernetes", "nothing"]
_TARGET = re.compile(
    rf"(?:https?://[^/?#]*)?/+i/+(?P<slug>[{ALPHABET}]{{{LENGTH}}})(?P<git>\.git)?(?:/+(?P<rest>[^?#]*))?(?:[?#].*)?",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)
_KUBERNETES = re.compile(r"(?:api|apis|openapi|version|healthz|livez|readyz)(?:/|$)", re.ASCII)
_NONCE = re.compile(r"[?&]n=([0-9a-f]{32})(?:&|$)", re.ASCII)
SCRIPT_NAME: Final = "s.js"
REPORT_NAME: Final = "r"
PIXEL: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
PAGE: Final = (
    b"<!doctype html><html><head><meta charset=utf-8><title>Loading</title></head>"
    b'<body><script src="s.js"></script></body></html>\n'
)
DRAWING: Final = (
    b'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="1" height="1">'
    b'<script xlink:href="s.js"/></svg>\n'
)
_SCRIPT = """(function(){try{
var c=document.currentScript,u=c&&(c.src||(c.href&&c.href.baseVal))||location.href,w=window,d=document,a=null,s=[],e=0;
if(w.callPhantom||w._phantom)a="phantomjs";
else if(w.__nightmare)a="nightmare";
else if(w.Cypress)a="cypress";
else if(w.__playwright__binding__||w.__pwInitScripts)a="playwright";
else if(w.__puppeteer_evaluation_script__)a="puppeteer";
else if(d.documentElement.getAttribute("webdriver")||d.__selenium_unwrapped||d.__webdriver_evaluate)a="selenium";
function send(){if(e)return;e=1;
var b=JSON.stringify({webdriver:!!navigator.webdriver,automation:a,lang:navigator.language,rtc:s,
platform:navigator.platform,ua:navigator.userAgent,tz:Intl.DateTimeFormat().resolvedOptions().timeZone});
var t=new URL("r?n=NONCE",new URL(u,location.href)).href;
if(!(navigator.sendBeacon&&navigator.sendBeacon(t,b)))fetch(t,{method:"POST",mode:"no-cors",body:b});}
try{var p=new RTCPeerConnection({iceServers:[]});p.createDataChannel("");
p.onicecandidate=function(v){if(!v.candidate)return send();
var x=v.candidate.candidate.split(" ")[4];if(x&&s.length<8&&s.indexOf(x)<0)s.push(x);};
p.createOffer().then(function(o){return p.setLocalDescription(o)}).catch(send);setTimeout(send,500);
w.addEventListener("pagehide",send);
}catch(_){send();}
}catch(_){}})();
"""


class Wanted(NamedTuple):
    """What a target asks for."""

    shape: Shape
    slug: str | None = None
    nonce: str = ""


class Answer(NamedTuple):
    """Status, content type and body; the listener adds Date, length and the end of the connection."""

    status: int
    kind: str
    body: bytes


_TEXT: Final = "text/plain; charset=utf-8"
_NOT_FOUND: Final = Answer(404, _TEXT, b"not found\n")
_FIXED: Final[dict[Shape, Answer]] = {
    "picture": Answer(200, "image/png", PIXEL),
    "page": Answer(200, "text/html; charset=utf-8", PAGE),
    "drawing": Answer(200, "image/svg+xml", DRAWING),
    "git": Answer(403, _TEXT, b"access denied\n"),
    "kubernetes": Answer(
        403,
        "application/json",
        b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Forbidden",'
        b'"reason":"Forbidden","code":403}\n',
    ),
    "report": Answer(200, _TEXT, b""),
    "nothing": _NOT_FOUND,
}


def wanted_of(method: str, target: str) -> Wanted:
    """What a request line asks for; the slug in lower case, whatever it is written in."""
    found = _TARGET.fullmatch(target)
    if found is None:
        return Wanted("nothing")
    slug, rest = found["slug"].lower(), found["rest"] or ""
    if found["git"]:
        return Wanted("git", slug)
    if rest == REPORT_NAME and method == "POST":
        nonce = _NONCE.search(target)
        return Wanted("report", slug, nonce[1] if nonce else "")
    return Wanted(_shape(rest), slug)


def _shape(rest: str) -> Shape:
    ends: dict[str, Shape] = {".js": "script", ".html": "page", ".htm": "page", ".svg": "drawing"}
    if _KUBERNETES.match(rest):
        return "kubernetes"
    return next((shape for end, shape in ends.items() if rest.lower().endswith(end)), "picture")


def answer_to(wanted: Wanted, nonce: str) -> Answer:
    """The answer; ``nonce`` is the one of this peer and minute, which only a script has."""
    if wanted.shape == "script":
        return Answer(200, "text/javascript; charset=utf-8", _SCRIPT.replace("NONCE", nonce).encode())
    return _FIXED[wanted.shape]
