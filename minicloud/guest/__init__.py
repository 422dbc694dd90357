"""A small guest image that boots in seconds without KVM, built on this machine out of Debian's own packages.

Why: a cloud that was just installed has no image, the usual test image cannot be had everywhere, and a test suite wants
a guest that needs 128 MB and a few seconds under emulation. Called by `minicloud image build tiny`, by the demo and
by the tests that boot real guests.

The guest: user `cirros`, password `gocubsgo` (set in `tiny/rootfs/etc/shadow`) unless the server's adminPass says
another, keys, host name and `#!` user data from a config drive or the metadata service, passwordless sudo,
DHCP on the network cards it boots with, console on ttyS0. `tiny/` holds the recipe; every script in it says what it is for.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from minicloud.core.errors import Forbidden
from minicloud.guest import disk, recipe, tree
from minicloud.host.run import program

PROGRAMS = (
    *("apt-get", "apt-cache", "dpkg-deb", "depmod", "chroot", "cpio", "mke2fs", "mkfs.fat", "mcopy", "syslinux"),
    *("sfdisk", "qemu-img"),
)
"""What a build runs; asked for before anything is downloaded."""

Progress = Callable[[str], None]

__all__ = ["build_tiny", "tiny"]


async def build_tiny(target: Path, *, progress: Progress) -> None:
    """Build the image and put it at `target` (qcow2, 64 MiB virtual); what stands there is replaced in one step.

    `progress` is called with one line before each step.

    Raises:
        Forbidden: not root; owners and set-uid bits of the guest's files could not be kept.
        Unavailable: a program that the build needs is not installed.
        HostFailure: a step failed; the detail holds its output.
    """
    await _build(target, kernel=await recipe.kernel(), progress=progress)


async def tiny(cache: Path, *, progress: Progress) -> Path:
    """The path of the image in `cache`, built first unless it is there: `tiny-<hash>.qcow2`.

    The hash covers recipe, code and kernel version. Processes that ask at the same time wait for one build.
    Older images stay: a disk may still be backed by one. Raises like `build_tiny`.
    """
    kernel = await recipe.kernel()
    target = cache / f"tiny-{recipe.fingerprint(kernel)}.qcow2"
    if target.exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    lock = os.open(cache / ".tiny.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        if not target.exists():
            await _build(target, kernel=kernel, progress=progress)
    finally:
        os.close(lock)
    return target


async def _build(target: Path, *, kernel: recipe.Kernel, progress: Progress) -> None:
    if os.geteuid() != 0:
        raise Forbidden("Cannot build the tiny image: only root may, to keep owners and set-uid bits; use sudo.")
    for name in PROGRAMS:
        program(name)
    plan = recipe.read()
    # beside the target: the last step is a rename within one file system
    work = Path(tempfile.mkdtemp(prefix=".tiny-", dir=target.parent))
    try:
        progress(f"Downloading {len(plan.packages) + 1} Debian packages, kernel {kernel.release}")
        everything = await tree.unpack(work, plan, kernel)
        progress("Laying out the guest's files")
        trees = await tree.lay_out(work, everything, plan, kernel)
        progress("Writing the disk")
        made = work / "tiny.qcow2"
        await disk.write(trees, work, made)
        made.chmod(0o644)
        made.replace(target)
    finally:
        await asyncio.to_thread(shutil.rmtree, work)
    progress(f"Built {target.name}, {target.stat().st_size / disk.MIB:.1f} MiB")
