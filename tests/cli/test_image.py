"""`minicloud image`: the catalogue from a mirror and a folder, resumed and proven; damaged images are found."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from minicloud.cli import root
from minicloud.core.errors import Invalid, NotFound, Unavailable
from minicloud.guest import catalogue
from minicloud.guest.catalogue import checksum_of, find
from minicloud.image import Image
from tests.door import open_door
from tests.image.test_images import uploaded

DEBIAN = find("debian/13")
DATA = bytes(range(256)) * 20_000
SUMS = f"{hashlib.sha512(b'other').hexdigest()}  other.qcow2\n{hashlib.sha512(DATA).hexdigest()}  {DEBIAN.file}\n"


def minicloud(*arguments: str) -> Result:
    return CliRunner().invoke(root, list(arguments), prog_name="minicloud")


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A folder with an image and the list of checksums."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / DEBIAN.file).write_bytes(DATA)
    (folder / DEBIAN.sums).write_text(SUMS)
    return folder


@contextlib.asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[str, list[str]]]:
    """The folder on the loopback, and the ranges that were asked for."""
    ranges: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        ranges.append(request.headers.get("Range", ""))
        return web.FileResponse(folder / request.match_info["name"])

    app = web.Application()
    app.router.add_get("/{name}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", ranges
    finally:
        await runner.cleanup()


def silent(have: int, total: int | None) -> None:
    return None


def test_the_catalogue_is_listed_and_sound() -> None:
    told = minicloud("image", "list", "--remote")
    assert told.exit_code == 0
    assert "debian/13" in told.output
    for one in catalogue.published():
        assert one.url.startswith("https://")
        assert one.hash in catalogue.DIGITS
        assert one.name in told.output


def test_an_image_comes_from_a_folder(mirror: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    told = minicloud("image", "get", "debian/13", "--mirror", str(mirror), "--cache", str(cache), "--print-path")
    assert told.output.strip() == str(cache / DEBIAN.file)
    assert (cache / DEBIAN.file).read_bytes() == DATA
    missing = minicloud("image", "get", "ubuntu/24.04", "--mirror", str(mirror), "--cache", str(cache))
    assert (missing.exit_code, "there is no" in missing.output) == (1, True)
    unknown = minicloud("image", "get", "windows/95")
    assert (unknown.exit_code, "the catalogue has debian/13" in unknown.output) == (1, True)


async def test_a_download_goes_on_where_it_broke_off(mirror: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / f"{DEBIAN.file}.part").write_bytes(DATA[:1000])
    seen: list[tuple[int, int | None]] = []
    async with served(mirror) as (url, ranges):
        path = await catalogue.get(DEBIAN, cache, mirror=url, progress=lambda *told: seen.append(told))
        assert (path.read_bytes(), ranges[-1], seen[-1]) == (DATA, "bytes=1000-", (len(DATA), len(DATA)))
        asked = len(ranges)
        await catalogue.get(DEBIAN, cache, mirror=url, progress=silent)
        assert len(ranges) == asked + 1  # only the checksums


async def test_a_file_that_is_not_the_projects_gets_no_name(mirror: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    (mirror / DEBIAN.file).write_bytes(DATA[:-1] + b"!")
    async with served(mirror) as (url, _):
        with pytest.raises(Invalid, match="is not what"):
            await catalogue.get(DEBIAN, cache, mirror=url, progress=silent)
    assert list(cache.iterdir()) == []


async def test_without_a_way_there_the_words_tell_another(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="--mirror"):
        await catalogue.get(DEBIAN, tmp_path, mirror="http://127.0.0.1:1", progress=silent)


def test_lists_of_checksums_are_read_as_projects_write_them() -> None:
    alma = find("almalinux/9")
    digest = "AB" * 32
    for text in (f"# x\n{digest} *{alma.file}\n", f"SHA256 ({alma.file}) = {digest}\n", f"{digest}\n"):
        assert checksum_of(text, alma) == digest.lower()
    for text in ("", f"{digest}  another.qcow2\n", f"MD5 ({alma.file}) = {digest}\n"):
        with pytest.raises(Invalid, match="does not name"):
            checksum_of(text, alma)
    with pytest.raises(NotFound):
        find("nothing/1")


async def test_damaged_and_lost_images_are_found(tmp_path: Path) -> None:
    async with open_door(tmp_path, lambda *built: [Image(*built)]) as door:
        alice = door.client("alice")
        whole, rotten, short, lost = [await uploaded(alice, data) for data in (b"whole", b"fresh", b"short", b"lost")]
    verified = minicloud("image", "verify", "--fake", "--state", str(tmp_path))
    assert (verified.exit_code, "All images are whole" in verified.output) == (0, True)
    folder = tmp_path / "images"
    for image, data in ((rotten, b"FRESH"), (short, b"sho")):
        (folder / image["id"]).unlink()
        (folder / image["id"]).write_bytes(data)
    (folder / lost["id"]).unlink()
    verified = minicloud("image", "verify", "--fake", "--state", str(tmp_path))
    assert (verified.exit_code, "3 images are damaged" in verified.output) == (1, True)
    for image, word in ((whole, "whole"), (rotten, "bytes changed"), (short, "3 bytes of 5"), (lost, "lost")):
        (line,) = [line for line in verified.output.splitlines() if line.startswith(image["id"])]
        assert word in line
    assert whole["id"] in minicloud("image", "list", "--fake", "--state", str(tmp_path)).output
