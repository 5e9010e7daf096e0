"""What our own decoys need before a fleet can have them: made where that can be done, and told where it cannot."""

from __future__ import annotations

from decnet.config import Settings
from decnet.decoys.mail.certificate import FILE, tls_context
from decnet.decoys.mail.folder import MailFolder
from decnet.errors import SensorError
from decnet.keyed import load_key


def prepare(settings: Settings) -> list[str]:
    """Makes key, certificate and folder; one line for each of our decoys. Raises SensorError."""
    own, data_dir = settings.decoys, settings.data_dir
    load_key(data_dir, settings.credentials.key_file)
    folder = own.mail.folder or data_dir / "mail"
    try:
        tls_context(data_dir, own.mail.hostname)
        MailFolder(folder, own.mail.max_folder_bytes).open()
    except OSError as error:
        raise SensorError(f"the mail decoy cannot be made ready: {error}") from error
    url, zone = own.canary_http.base_url, own.canary_dns.zone
    lines = [
        f"mail is ready: certificate for {own.mail.hostname} in {data_dir / FILE}, messages below {folder}",
        f"canary-http is ready: tokens say {url}" if url else "canary-http needs decoys.canary_http.base_url",
        f"canary-dns is ready: zone {zone}" if zone else "canary-dns needs decoys.canary_dns.zone",
    ]
    if settings.workers and "decoys" not in settings.workers:
        lines.append(
            "the worker `decoys` is not among the workers of the settings: none of these would be opened"
        )
    return lines
