"""Whether the bytes of images are still those that were taken in: read, hashed, compared with the records.

Why: a disk may rot, and a person may change files by hand; the hashes were made when the bytes came in. Called by
`minicloud image verify`, beside a running cloud or without one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from minicloud.core.store import Store
from minicloud.image.tables import IMAGES, ImageRow, Status


def recorded(store: Store) -> list[ImageRow]:
    """All images, oldest first."""
    return store.read(IMAGES.where, order="created_at")


def verified(store: Store, blobs: Path) -> Iterator[tuple[ImageRow, str | None]]:
    """Each image that has bytes, with what is wrong with them; blocking."""
    for row in recorded(store):
        if row.status in (Status.ACTIVE, Status.DEACTIVATED):
            yield row, _finding(row, blobs / row.id)


def _finding(row: ImageRow, path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size != row.size:
                return f"damaged: it has {size} bytes of {row.size}"
            file.seek(0)
            same = hashlib.file_digest(file, "sha512").hexdigest() == row.hash_value
    except FileNotFoundError:
        return f"lost: there is no {path}"
    except OSError as error:
        return f"can't be read: {error.strerror}"
    return None if same else "damaged: its bytes changed"
