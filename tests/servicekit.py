"""What six services really answer, written down by hand after their documentation; addresses and hashes are made up."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

ADDRESS = "91.92.93.94"
OTHER = "91.92.93.9"
SHA256 = "a1" * 32
URL = "http://91.92.93.94/bins/arm7"
HOST = "cdn.badhost.ru"

GREYNOISE_SEEN = {
    "ip": ADDRESS, "noise": True, "riot": False, "classification": "malicious", "name": "unknown",
    "link": f"https://viz.greynoise.io/ip/{ADDRESS}", "last_seen": "2026-11-29", "message": "Success",
}  # fmt: skip
GREYNOISE_UNSEEN = {
    "ip": ADDRESS, "noise": False, "riot": False,
    "message": "IP not observed scanning the internet or contained in RIOT data set.",
}  # fmt: skip
ABUSEIPDB = {
    "data": {
        "ipAddress": ADDRESS, "isPublic": True, "ipVersion": 4, "isWhitelisted": False, "abuseConfidenceScore": 100,
        "countryCode": "NL", "usageType": "Data Center/Web Hosting/Transit", "isp": "Some Hosting", "domain": "h.example",
        "hostnames": [], "isTor": False, "totalReports": 2, "numDistinctUsers": 2,
        "lastReportedAt": "2026-11-29T20:55:14+00:00",
        "reports": [
            {"reportedAt": "2026-11-29T20:55:14+00:00", "comment": "ssh \u001b[31m", "categories": [18, 22],
             "reporterId": 1, "reporterCountryCode": "FR", "reporterCountryName": "France"},
            {"reportedAt": "2026-11-28T20:55:14+00:00", "comment": "", "categories": [14, 18],
             "reporterId": 2, "reporterCountryCode": "US", "reporterCountryName": "United States of America"},
        ],
    }
}  # fmt: skip
VIRUSTOTAL = {
    "data": {
        "id": SHA256, "type": "file", "links": {"self": f"https://www.virustotal.com/api/v3/files/{SHA256}"},
        "attributes": {
            "sha256": SHA256, "meaningful_name": "\u202egpj.exe", "names": ["\u001b]0;x\u0007"], "size": 48200,
            "last_analysis_stats": {
                "malicious": 41, "suspicious": 0, "undetected": 20, "harmless": 0, "timeout": 1,
                "confirmed-timeout": 0, "failure": 0, "type-unsupported": 12,
            },
            "popular_threat_classification": {"suggested_threat_label": "trojan.mirai/linux"},
        },
    }
}  # fmt: skip
VIRUSTOTAL_UNKNOWN = {"error": {"code": "NotFoundError", "message": f'File "{SHA256}" not found'}}
URLHAUS_HOST = {
    "query_status": "ok", "urlhaus_reference": f"https://urlhaus.abuse.ch/host/{ADDRESS}/", "host": ADDRESS,
    "firstseen": "2026-11-01 05:05:05 UTC", "url_count": "2", "blacklists": {"spamhaus_dbl": "not listed", "surbl": "not listed"},
    "urls": [
        {"id": "3", "url": URL, "url_status": "online", "date_added": "2026-11-29 05:05:05 UTC", "threat": "malware_download",
         "reporter": "r", "larted": "true", "takedown_time_seconds": None, "tags": ["elf", "Mirai"]},
        {"id": "2", "url": URL + "x", "url_status": "offline", "date_added": "2026-11-01 05:05:05 UTC",
         "threat": "malware_download", "reporter": "r", "larted": "true", "takedown_time_seconds": "77", "tags": None},
    ],
}  # fmt: skip
URLHAUS_URL = {
    "query_status": "ok", "id": "3", "url": URL, "url_status": "offline", "host": ADDRESS, "threat": "malware_download",
    "tags": ["elf"], "payloads": [],
}  # fmt: skip
URLHAUS_FILE = {
    "query_status": "ok", "md5_hash": "a1" * 16, "sha256_hash": SHA256, "file_type": "elf", "file_size": "48200",
    "signature": "Mirai", "urls": [],
}  # fmt: skip
URLHAUS_UNKNOWN = {"query_status": "no_results"}
THREATFOX = {
    "query_status": "ok",
    "data": [
        {"id": "1", "ioc": f"{ADDRESS}:443", "threat_type": "botnet_cc", "ioc_type": "ip:port", "malware": "elf.mirai",
         "malware_printable": "Mirai", "confidence_level": 100, "first_seen": "2026-11-20 09:00:00 UTC", "last_seen": None,
         "reporter": "r", "tags": None},
        {"id": "2", "ioc": URL, "threat_type": "payload_delivery", "ioc_type": "url", "malware": "elf.gafgyt",
         "malware_printable": "Bashlite", "confidence_level": 50, "tags": ["x"]},
        {"id": "3", "ioc": URL, "threat_type": "cc_skimming", "ioc_type": "url", "malware": "js.magecart",
         "malware_printable": "magecart", "confidence_level": 49, "tags": []},
        {"id": "4", "ioc": f"1{ADDRESS}:80", "threat_type": "payload", "ioc_type": "ip:port", "malware": "win.other",
         "malware_printable": "Other", "confidence_level": 100, "tags": []},
        {"id": "5", "ioc": f"{ADDRESS}.badhost.ru", "threat_type": "payload", "ioc_type": "domain", "malware": "win.other",
         "malware_printable": "Other", "confidence_level": 100, "tags": []},
    ],
}  # fmt: skip
THREATFOX_UNKNOWN = {"query_status": "no_result", "data": "Your search did not yield any results"}
FEODO = [
    {"ip_address": ADDRESS, "port": 443, "status": "offline", "hostname": None, "as_number": 64500, "as_name": "X",
     "country": "US", "first_seen": "2026-01-01 00:00:00", "last_online": "2026-11-01", "malware": "QakBot"},
    {"ip_address": OTHER, "port": 995, "status": "online", "hostname": "h.example", "as_number": 64500, "as_name": "X",
     "country": "US", "first_seen": "2026-01-01 00:00:00", "last_online": "2026-11-30", "malware": "Pikabot"},
]  # fmt: skip


def leaves(body: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The paths to everything in a JSON value, the value itself first."""
    inner = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    return [path, *(found for key, value in inner for found in leaves(value, (*path, key)))]


def changed(body: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """A copy with something else at a path."""
    if not path:
        return value
    copy = deepcopy(body)
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copy
