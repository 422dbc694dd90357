"""A Debian 12 cloud image with cloud-init, built on this machine out of Debian's own packages.

Why: where there is no internet but a Debian mirror (the usual case behind a firewall), no project's image can be fetched,
and a cloud is only shown to work by a guest that people really run. mmdebstrap installs the packages into a folder,
mke2fs writes the folder into a file, GRUB is put before it: no mount, loop device or virtual machine. `debian/` holds
the recipe. Called by `minicloud image build debian` and by the test that boots it.

The guest: BIOS boot, one ext4 partition that grows, user `debian` with the key of the server, console on ttyS0.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import shutil
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

from minicloud.core.errors import HostFailure
from minicloud.guest.kept import HERE, Progress, files, hashed, kept, made
from minicloud.host.run import run

FOLDER = HERE / "debian"
OVERLAY = FOLDER / "rootfs"
PROGRAMS = ("mmdebstrap", "apt-get", "apt-cache", "mke2fs", "sfdisk", "qemu-img")
SUITES = ("bookworm", "bookworm-updates", "bookworm-security")
OFFICIAL = (
    "deb http://deb.debian.org/debian bookworm main",
    "deb http://deb.debian.org/debian bookworm-updates main",
    "deb http://deb.debian.org/debian-security bookworm-security main",
)
MIB = 1024 * 1024
SIZE = 2048 * MIB
ROOT_START = 1 * MIB
LEFT_OUT = ("man/*", "locale/*", "doc/*")
"""Below /usr/share; only the image lacks them: what a guest installs later comes whole."""
BUILD_SECONDS = 1800.0


async def build(target: Path, *, progress: Progress) -> None:
    """Build the image and put it at `target` (qcow2, 2 GiB virtual); what stands there is replaced in one step.

    `progress` is called with a line for each step.

    Raises:
        Forbidden: not root. Unavailable: a program that the build needs is not installed.
        HostFailure: a step failed; the detail holds its output.
    """
    sources = await apt_sources()

    async def make(work: Path) -> Path:
        progress("Installing Debian 12 from its packages; this takes one to three minutes")
        root = work / "root"
        await _install(root, work / "log", sources, progress)
        progress("Writing the disk")
        return await _disk(root, work)

    await made(target, "debian", PROGRAMS, make, progress=progress)


async def debian(cache: Path, *, progress: Progress) -> Path:
    """The path of the image in `cache`, built first unless it is there: `debian12-<hash>.qcow2`.

    The hash covers recipe, code, apt's sources and the versions of the packages that the recipe names. Raises like `build`.
    """
    told = [*await apt_sources(), *await versions()]
    fingerprint = hashed("\n".join(told), [HERE / "bookworm.py", *files(FOLDER)])
    return await kept(cache, "debian12", fingerprint, lambda target: build(target, progress=progress))


def packages() -> list[str]:
    """What the recipe names."""
    lines = (FOLDER / "packages").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


async def apt_sources() -> list[str]:
    """Where this machine gets Debian 12's packages from, as lines of a sources.list; Debian's own servers if it is another system."""
    wanted = "--format=$(REPO_URI) $(RELEASE) $(COMPONENT)"
    listed = await run(["apt-get", "indextargets", wanted, "Created-By: Packages", "Origin: Debian"], check=False)
    found = [line.split() for line in listed.text.splitlines()]
    ours = sorted({f"deb {one[0]} {one[1]} main" for one in found if len(one) == 3 and one[1] in SUITES})
    return ours if any(" bookworm main" in line for line in ours) else list(OFFICIAL)


async def versions() -> list[str]:
    """Name and version of each package of the recipe as apt's lists know them; nothing where they don't."""
    shown = await run(["apt-cache", "show", "--no-all-versions", *packages()], check=False)
    kinds = ("Package: ", "Version: ")
    return [line for line in shown.text.splitlines() if line.startswith(kinds)]


async def _install(root: Path, log: Path, sources: list[str], progress: Progress) -> None:
    customize, overlay = shlex.quote(str(FOLDER / "customize")), shlex.quote(str(OVERLAY / "etc"))
    excludes = [f"--dpkgopt=path-exclude=/usr/share/{one}" for one in LEFT_OUT]
    argv = [
        *("mmdebstrap", "--mode=root", "--variant=apt", "--format=directory", f"--logfile={log}"),
        *('--aptopt=APT::Install-Recommends "false"', *excludes),
        *("--dpkgopt=path-include=/usr/share/doc/*/copyright", f"--include={','.join(packages())}"),
        *(f'--customize-hook=sh {customize} "$1"', f"--customize-hook=copy-in {overlay} /"),
        *("bookworm", str(root), *sources),
    ]
    async with _followed(log, progress):
        done = await run(argv, timeout=BUILD_SECONDS, check=False, what="install Debian's packages")
    if done.code != 0:
        told = await asyncio.to_thread(log.read_text, errors="replace") if log.exists() else ""
        raise HostFailure(
            f"Cannot build the Debian image: mmdebstrap ended with {done.code}.",
            detail=(told + done.err.decode("utf-8", "replace"))[-4000:],
        )


@contextlib.asynccontextmanager
async def _followed(log: Path, progress: Progress) -> AsyncIterator[None]:
    """Tell the steps that mmdebstrap writes to its log."""

    async def follow() -> None:
        told = 0
        while True:
            await asyncio.sleep(0.5)
            lines = log.read_text(errors="replace").splitlines() if log.exists() else []
            for line in lines[told:]:
                if line.startswith("I: "):
                    progress("  " + line.removeprefix("I: "))
            told = len(lines)

    following = asyncio.create_task(follow())
    try:
        yield
    finally:
        following.cancel()
        await asyncio.wait([following])


async def _disk(root: Path, work: Path) -> Path:
    """A raw disk with GRUB and one partition that holds the folder, then a qcow2 of it."""
    raw, image, name = work / "disk.raw", work / "debian.qcow2", str(uuid.uuid4())
    await asyncio.to_thread(_finish, root, name)
    with raw.open("wb") as disk:
        disk.truncate(SIZE)
    table = f"label: dos\nstart={ROOT_START // 512}, type=83, bootable\n"
    await run(["sfdisk", "-q", "--no-tell-kernel", str(raw)], stdin=table.encode(), what="partition the image")
    await asyncio.to_thread(_write_loader, root / "boot/grub/i386-pc", raw)
    options = f"offset={ROOT_START},lazy_itable_init=1,lazy_journal_init=1,nodiscard"
    await run(
        [
            *("mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "-U", name, "-E", options),
            *("-d", str(root), str(raw), f"{(SIZE - ROOT_START) // 1024}k"),
        ],
        timeout=600,
        what="make the root file system",
    )
    # not compressed: the base that guests run from is then this file, not an inflated copy
    await run(
        ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image)],
        timeout=600,
        what="write the qcow2 image",
    )
    await asyncio.to_thread(shutil.rmtree, root)
    return image


def _finish(root: Path, name: str) -> None:
    """What names the file system: its table of mounts and the boot menu."""
    (root / "etc/fstab").write_text(f"UUID={name} / ext4 rw,discard,errors=remount-ro 0 1\n")
    kernels = sorted((root / "boot").glob("vmlinuz-*"))
    if not kernels:
        raise HostFailure("Cannot build the Debian image: its packages brought no kernel.")
    release = kernels[-1].name.removeprefix("vmlinuz-")
    menu = (FOLDER / "grub.cfg").read_text().replace("@UUID@", name).replace("@RELEASE@", release)
    (root / "boot/grub/grub.cfg").write_text(menu)


def _write_loader(folder: Path, raw: Path) -> None:
    """GRUB's first sector (but for the partition table, from byte 440 on) and its core in the gap behind it.

    Both expect each other just so (GRUB manual, "BIOS installation"): the core begins at sector 1.
    """
    boot, core = (folder / "boot.img").read_bytes(), (folder / "core.img").read_bytes()
    if len(core) > ROOT_START - 512:
        raise HostFailure("Cannot build the Debian image: GRUB does not fit before the partition.")
    with raw.open("r+b") as disk:
        disk.write(boot[:440])
        disk.seek(512)
        disk.write(core)
