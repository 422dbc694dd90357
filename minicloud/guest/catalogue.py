"""Well-known cloud images by name: where their projects publish them, and a file that is proven to be theirs.

Why: a user wants `debian/13`, not a URL and a checksum to compare by eye. A download goes on where it broke off, and only a
file whose checksum is in the project's own list gets its name. A mirror or a folder can stand in for the internet; it
holds the images and the lists of checksums side by side. Called by `minicloud image list --remote` and `image get`.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from minicloud.core.errors import HostFailure, Invalid, NotFound, Unavailable
from minicloud.host import filesystem

FILE = Path(__file__).with_name("catalogue.toml")
PIECE = 1024 * 1024
SUMS_LIMIT = 4 * 1024 * 1024
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=60)
HOW_ELSE = (
    "Without internet, name a mirror or a folder that has the image and its list of checksums by --mirror; or make an "
    "image of Debian's packages by `minicloud image build debian`."
)
DIGITS = {"sha256": 64, "sha512": 128}

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and, if the server tells, those that there will be."""


@dataclass(frozen=True, slots=True)
class Published:
    """An image that a project publishes; see `catalogue.toml` for the fields."""

    name: str
    url: str
    sums: str
    hash: str
    user: str
    min_ram: int

    @property
    def file(self) -> str:
        """The name of its file."""
        return self.url.rsplit("/", 1)[-1]

    def at(self, mirror: str | None) -> tuple[str, str]:
        """Where image and checksums are: at the project's, or side by side in a mirror or folder."""
        folder = (mirror or self.url.rsplit("/", 1)[0]).rstrip("/")
        return f"{folder}/{self.file}", f"{folder}/{self.sums}"


def published() -> list[Published]:
    """All images of the catalogue."""
    return [Published(name=name, **fields) for name, fields in tomllib.loads(FILE.read_text()).items()]


def find(name: str) -> Published:
    """The image of that name. Raises `NotFound` with the names that there are."""
    images = {one.name: one for one in published()}
    if name not in images:
        raise NotFound(f"Cannot get the image {name}: the catalogue has {', '.join(images)}.")
    return images[name]


async def get(image: Published, folder: Path, *, mirror: str | None, progress: Progress) -> Path:
    """The image's file in `folder`, downloaded unless the file that the project publishes now is there already.

    Args:
        mirror: a URL or a folder with the image and its list of checksums; None is the project's own server.

    Raises:
        Unavailable: the server can't be reached or does not have it. Invalid: the file is not what the list says.
    """
    source, sums = image.at(mirror)
    target = folder / image.file
    part = target.with_name(target.name + ".part")
    await filesystem.in_thread(folder.mkdir, parents=True, exist_ok=True)
    async with aiohttp.ClientSession(timeout=TIMEOUT, auto_decompress=False) as session:
        wanted = checksum_of(await _text(session, sums), image)
        if target.exists() and await filesystem.in_thread(_hash, target, image.hash) == wanted:
            return target
        await _fetch(session, source, part, progress)
    if await filesystem.in_thread(_hash, part, image.hash) != wanted:
        await filesystem.in_thread(part.unlink)
        raise Invalid(
            f"Cannot use {source}: its {image.hash} is not what {sums} says. The file was removed; try again."
        )
    await filesystem.in_thread(part.replace, target)
    return target


def checksum_of(text: str, image: Published) -> str:
    """What a list of checksums says of an image: lines of "sum  file" or "SHA256 (file) = sum", or a sum alone.

    Raises:
        Invalid: it does not name the file.
    """
    digits = rf"(?P<sum>[0-9a-fA-F]{{{DIGITS[image.hash]}}})"
    name = re.escape(image.file)
    for pattern in (rf"^{digits}\s+\*?(\./)?{name}\s*$", rf"^{image.hash.upper()} ?\({name}\) ?= ?{digits}\s*$"):
        if found := re.search(pattern, text, re.MULTILINE):
            return found["sum"].lower()
    if found := re.fullmatch(rf"\s*{digits}\s*", text):
        return found["sum"].lower()
    raise Invalid(f"Cannot get the image {image.name}: {image.sums} does not name {image.file}.")


async def _text(session: aiohttp.ClientSession, place: str) -> str:
    if "://" not in place:
        return (await filesystem.in_thread(_local(place).read_bytes)).decode("utf-8", "replace")
    try:
        async with session.get(place) as answer:
            _need_ok(answer, place)
            return (await answer.content.read(SUMS_LIMIT)).decode("utf-8", "replace")
    except (aiohttp.ClientError, TimeoutError) as error:
        raise _unreachable(place, error) from None


async def _fetch(session: aiohttp.ClientSession, place: str, part: Path, progress: Progress) -> None:
    """Fill `part`, from where it ends if the server can."""
    if "://" not in place:
        await filesystem.in_thread(shutil.copyfile, _local(place), part)
        progress(part.stat().st_size, part.stat().st_size)
        return
    have = part.stat().st_size if part.exists() else 0
    try:
        async with session.get(place, headers={"Range": f"bytes={have}-"} if have else {}) as answer:
            if answer.status == 416:  # it was whole already, or is another file now: the checksum tells
                return
            _need_ok(answer, place)
            have = have if answer.status == 206 else 0
            total = None if answer.content_length is None else have + answer.content_length
            with part.open("ab" if have else "wb") as file:
                async for piece in answer.content.iter_chunked(PIECE):
                    await filesystem.in_thread(file.write, piece)
                    have += len(piece)
                    progress(have, total)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise _unreachable(place, error) from None
    except OSError as error:
        raise filesystem.failure_of(error, what="download the image", path=part) from None


def _local(place: str) -> Path:
    path = Path(place)
    if not path.is_file():
        raise NotFound(f"Cannot get the image: there is no {path}.")
    return path


def _need_ok(answer: aiohttp.ClientResponse, place: str) -> None:
    if answer.status not in (200, 206):
        raise Unavailable(f"Cannot get {place}: the server answered {answer.status}. {HOW_ELSE}")


def _unreachable(place: str, error: Exception) -> Unavailable:
    host = place.split("/")[2]
    return Unavailable(
        f"Cannot get {place}: {host} can't be reached ({type(error).__name__}); what came so far is kept. {HOW_ELSE}"
    )


def _hash(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, name).hexdigest()
    except OSError as error:
        raise HostFailure(f"Cannot read {path}: {error.strerror}.") from None


def run_get(name: str, folder: Path, *, mirror: str | None, progress: Progress) -> Path:
    """`get` by name, for a command."""
    return asyncio.run(get(find(name), folder, mirror=mirror, progress=progress))
