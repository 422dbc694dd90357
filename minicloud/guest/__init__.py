"""Guest images built on this machine out of Debian's own packages, and the catalogue of those that projects publish.

Why: a cloud that was just installed has no image, and the usual ones cannot be had everywhere. `tiny` is for tests and first
steps: it boots in seconds without KVM, in 128 MB. `debian` is a real Debian 12 with cloud-init. Called by
`minicloud image`, by the demo and by the tests that boot real guests.

The tiny guest: user `cirros`, password `gocubsgo` (set in `tiny/rootfs/etc/shadow`) unless the server's adminPass says
another, keys, host name and `#!` user data from a config drive or the metadata service, passwordless sudo,
DHCP on the network cards it boots with, console on ttyS0. `tiny/` holds the recipe; every script in it says what it is for.
"""

from __future__ import annotations

from pathlib import Path

from minicloud.guest import disk, recipe, tree
from minicloud.guest.bookworm import debian
from minicloud.guest.kept import Progress, kept, made

PROGRAMS = (
    *("apt-get", "apt-cache", "dpkg-deb", "depmod", "chroot", "cpio", "mke2fs", "mkfs.fat", "mcopy", "syslinux"),
    *("sfdisk", "qemu-img"),
)
"""What a build runs; asked for before anything is downloaded."""

__all__ = ["build_tiny", "debian", "tiny"]


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

    async def build(target: Path) -> None:
        await _build(target, kernel=kernel, progress=progress)

    return await kept(cache, "tiny", recipe.fingerprint(kernel), build)


async def _build(target: Path, *, kernel: recipe.Kernel, progress: Progress) -> None:
    async def make(work: Path) -> Path:
        plan = recipe.read()
        progress(f"Downloading {len(plan.packages) + 1} Debian packages, kernel {kernel.release}")
        everything = await tree.unpack(work, plan, kernel)
        progress("Laying out the guest's files")
        trees = await tree.lay_out(work, everything, plan, kernel)
        progress("Writing the disk")
        image = work / "tiny.qcow2"
        await disk.write(trees, work, image)
        return image

    await made(target, "tiny", PROGRAMS, make, progress=progress)
