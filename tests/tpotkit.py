"""T-Pot's tree for tests: a log of every format that has a table, where T-Pot has it."""

from __future__ import annotations

import gzip
from pathlib import Path

from decnet.sensors.formats.shelf import shipped

PLACES = {
    "suricata_eve": "suricata/log/eve.json", "p0f": "p0f/log/p0f.json", "fatt": "fatt/log/fatt.log", "dionaea": "dionaea/log/dionaea.json",
    "heralding": "heralding/log/auth.csv", "adbhoney": "adbhoney/log/adbhoney.json", "elasticpot": "elasticpot/log/elasticpot.json",
    "redishoneypot": "redishoneypot/log/redishoneypot.log", "beelzebub": "beelzebub/log/beelzebub.json", "conpot": "conpot/log/conpot_default.json",
    "sentrypeer": "sentrypeer/log/sentrypeer.json", "honeytrap": "honeytrap/log/attackers.json", "zeek": "zeek/log/ssh.log", "zeek_tsv": "zeek/log/http.log",
    "mailoney": "mailoney/log/commands.log", "mailoney_text": "mail2/log/commands.log", "ciscoasa": "ciscoasa/log/ciscoasa.log",
}  # fmt: skip
"""Where each log lies below T-Pot's top."""


def tpot_tree(top: Path, *, halves: int = 0) -> Path:
    """A log of every format under T-Pot's layout; with ``halves`` 1 the older half of each, with 2 packed beside the newer."""
    for name, place in PLACES.items():
        table, log = shipped().tables[name], top / place
        log.parent.mkdir(parents=True, exist_ok=True)
        lines = table.sample.splitlines(keepends=True)
        cut = {"csv": 3, "zeek": _head_in(lines)}.get(table.shape, len(lines) // 2)
        older, newer = "".join(lines[:cut]).encode(), "".join(lines[cut:]).encode()
        if halves == 0:
            log.write_bytes(older + newer)
        elif halves == 1:
            log.write_bytes(older)
        else:
            log.with_name(f"{log.name}.1.gz").write_bytes(gzip.compress(older))
            log.write_bytes(newer)
    (top / "dionaea/binaries").mkdir()
    (top / "dionaea/binaries/eve.json").write_text(
        shipped().tables["suricata_eve"].sample.replace("203.0.113", "198.51.100")
    )
    return top


def _head_in(lines: list[str]) -> int:
    """The place of the middle one of the heads: every file of Zeek's begins with one."""
    heads = [number for number, line in enumerate(lines) if line.startswith("#separator")]
    return heads[len(heads) // 2] if heads else 0
