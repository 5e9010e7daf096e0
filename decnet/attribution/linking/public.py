"""What is known to belong to nobody in particular: a short shipped list, so that a young sensor is not fooled.

How common a value is at this sensor decides in the end; these are common everywhere, which a sensor with twenty
addresses cannot know yet. Each group says why it is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network

_NAMES: Mapping[str, str] = {
    "anybody puts files there without a name or a bill":
        "github.com githubusercontent.com github.io gitlab.com bitbucket.org sourceforge.net pastebin.com paste.ee ix.io"
        " hastebin.com ghostbin.com rentry.co termbin.com transfer.sh file.io 0x0.st catbox.moe anonfiles.com gofile.io"
        " bashupload.com oshi.at temp.sh dropbox.com dropboxusercontent.com mediafire.com mega.nz discordapp.com"
        " discord.com telegram.org t.me archive.org ipfs.io",
    "clouds and networks of content: the name is the provider's":
        "amazonaws.com cloudfront.net googleapis.com drive.google.com docs.google.com appspot.com azureedge.net"
        " blob.core.windows.net digitaloceanspaces.com jsdelivr.net unpkg.com workers.dev pages.dev netlify.app"
        " vercel.app herokuapp.com ngrok.io ngrok.app trycloudflare.com",
    "packages and programs that systems are made of":
        "debian.org ubuntu.com centos.org fedoraproject.org kernel.org alpinelinux.org pypi.org pythonhosted.org"
        " npmjs.org npmjs.com docker.com docker.io golang.org go.dev nodejs.org python.org gnu.org apache.org"
        " busybox.net nmap.org openwrt.org torproject.org",
    "asked to see whether there is a way out, and from which address":
        "google.com ya.ru yandex.ru bing.com baidu.com cloudflare.com one.one.one.one dns.google example.com"
        " example.org ipinfo.io ip-api.com ifconfig.me ifconfig.co ifconfig.io icanhazip.com ipify.org myip.com"
        " checkip.amazonaws.com ipecho.net httpbin.org speedtest.net msftconnecttest.com",
    "big mail houses: the aim of everybody who sends spam":
        "gmail.com outlook.com hotmail.com yahoo.com mail.ru aol.com gmx.net web.de icloud.com",
}  # fmt: skip
"""Why names are nobody's own → the names, each with all below it."""
_HOSTS = frozenset(name for names in _NAMES.values() for name in names.split())
_ADDRESSES = frozenset({"8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "208.67.222.222"})
"""Resolvers that everybody uses."""
_LOCAL = tuple(
    map(
        ip_network,
        (
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "0.0.0.0/8",
            "240.0.0.0/4",
            "fc00::/7",
        ),
    )
)
"""Addresses that stand for another machine in each network, or for none."""
FILES = frozenset(
    {
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",  # nothing
        "01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b",  # a line feed
    }
)
"""Hashes of files that say nothing."""
SHARES: Mapping[str, float] = {
    "SSH-2.0-Go": 0.25, "SSH-2.0-libssh2_1.4.3": 0.1, "SSH-2.0-libssh2_1.8.0": 0.15, "SSH-2.0-libssh2_1.10.0": 0.05,
    "SSH-2.0-libssh2_1.11.0": 0.05, "SSH-2.0-libssh_0.9.6": 0.1, "SSH-2.0-libssh-0.6.3": 0.05, "SSH-2.0-libssh_0.11.1": 0.05,
    "SSH-2.0-PUTTY": 0.1, "SSH-2.0-PuTTY_Release_0.70": 0.02, "SSH-2.0-OpenSSH_7.4": 0.03, "SSH-2.0-OpenSSH_7.9": 0.02,
    "SSH-2.0-paramiko": 0.1, "SSH-2.0-AsyncSSH": 0.03, "SSH-2.0-JSCH": 0.02, "SSH-2.0-Nmap-SSH2-Hostkey": 0.02,
    "SSH-2.0-ZGrab": 0.05, "SSH-2.0-OpenSSH": 0.02, "SSH-2.0-8.36 FlowSsh: Bitvise SSH Client": 0.01,
}  # fmt: skip
"""Greeting of a client → its share of addresses, rounded up from public Cowrie logs."""
_BY_START = ("SSH-2.0-paramiko", "SSH-2.0-AsyncSSH", "SSH-2.0-JSCH", "SSH-2.0-ZGrab")
"""Greetings whose share is that of all their versions."""


def is_public_host(host: str) -> bool:
    """Whether a host is nobody's own: shipped as such, or an address that is another machine in each network.

    Documentation and benchmark addresses stay: published logs stand in them for real ones, each for one.
    """
    try:
        found = ip_address(host.strip("[]"))
    except ValueError:
        return _is_public_name(host)
    if found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified:
        return True
    return host in _ADDRESSES or any(found in net for net in _LOCAL if net.version == found.version)


def _is_public_name(host: str) -> bool:
    parts = host.lower().rstrip(".").split(".")
    if len(parts) < 2 or parts[-1] in ("local", "lan", "internal", "localdomain", "localhost"):
        return True
    return any(".".join(parts[at:]) in _HOSTS for at in range(len(parts) - 1))


def share_of(greeting: str, otherwise: float) -> float:
    """The share of addresses whose client greets so."""
    start = next((one for one in _BY_START if greeting.startswith(one)), greeting)
    return SHARES.get(start, otherwise)
