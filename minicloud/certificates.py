"""What the door shows to clients that speak TLS: the operator's own certificate, or one of this cloud's own authority.

`minicloud certificate make` makes the authority (`authority.py`) and its first certificate; the daemon renews that in time,
and takes up files that somebody else renewed (certbot), without a restart. Called by the daemon.
"""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta
from pathlib import Path

from minicloud.core.errors import Invalid

AUTHORITY, AUTHORITY_KEY, CERTIFICATE = "authority.pem", "authority-key.pem", "certificate.pem"
"""Files in the folder: what clients trust, what signs, and the daemon's certificate with its key."""

RENEWED_AFTER = 2 / 3
"""Of a certificate's time."""

LASTS = timedelta(days=397)
"""Clients refuse certificates of servers that last longer than 398 days."""


class Certificate:
    """A certificate in use: `context` is what the door listens with.

    Args:
        certificate: PEM, with the chain; key: PEM, the same file if it holds both.

    Raises:
        Invalid: a file is missing, is none, does not fit the other, or its key is everybody's to read.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate, self._key = certificate, key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._read: tuple[int, int] | None = None
        self.refresh()

    def refresh(self) -> bool:
        """Read the files again if they are others than before: new connections get what they hold. Whether they were."""
        try:
            seen = (self._certificate.stat().st_mtime_ns, self._key.stat().st_mtime_ns)
            if seen == self._read:
                return False
            if self._key.stat().st_mode & 0o007:
                raise Invalid(
                    f"Cannot use the key {self._key}: everybody on this machine may read it; chmod o= makes it safe."
                )
            self.context.load_cert_chain(self._certificate, self._key)
        except OSError as error:  # ssl.SSLError is one
            told = error.strerror or str(error)
            raise Invalid(f"Cannot use the certificate {self._certificate} with the key {self._key}: {told}.") from None
        self._read = seen
        return True


def near_end(folder: Path, now: datetime) -> bool:
    """Whether it may be time to renew the certificate of this cloud's own authority, by a glance at its file: to look into
    it costs megabytes."""
    ours = folder / CERTIFICATE
    return ours.exists() and now.timestamp() - ours.stat().st_mtime >= (LASTS * RENEWED_AFTER).total_seconds()
