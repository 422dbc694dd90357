"""From Debian packages to two folders: the guest's root file system and its initial RAM disk.

Why: `dpkg-deb -x` needs no installed system, no mount and no chroot of maintainer scripts, and taking only the
programs named in the recipe keeps the guest at some 20 MB. Called by the package's `build_tiny`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from minicloud.core.errors import HostFailure
from minicloud.guest.recipe import FOLDER, OVERLAY, Kernel, Recipe, Stage
from minicloud.host.run import run

LOADER = "lib64/ld-linux-x86-64.so.2"
MERGED = ("bin", "sbin", "lib", "lib64")
"""Top folders that are links into usr, as on any Debian 12."""

INITRD_PROGRAMS = ("usr/bin/busybox",)


@dataclass(frozen=True, slots=True)
class Trees:
    """Where the parts of the image lie: two folders and the kernel file."""

    root: Path
    initrd: Path
    vmlinuz: Path


async def unpack(work: Path, recipe: Recipe, kernel: Kernel) -> Path:
    """Download all packages into `work` and unpack them into one folder; apt checks signatures and hashes.

    Raises:
        HostFailure: a package cannot be had.
    """
    packages = work / "packages"
    everything = work / "everything"
    packages.mkdir()
    everything.mkdir()
    # APT's sandbox user cannot write here, and root may
    options = ["-q", "-o", "APT::Sandbox::User=root", "-o", "DPkg::Lock::Timeout=60"]
    fetch = ["apt-get", *options, "download", *recipe.packages, kernel.package]
    fetched = await run(fetch, timeout=300, cwd=str(packages), check=False, what="download the guest's packages")
    if fetched.code:
        # the lists on this machine may be older than the archive
        await run(["apt-get", *options, "update"], timeout=120, what="refresh apt's lists")
        await run(fetch, timeout=300, cwd=str(packages), what="download the guest's packages")
    for package in sorted(packages.glob("*.deb")):
        await run(["dpkg-deb", "-x", str(package), str(everything)], what=f"unpack {package.name}")
    await run(["depmod", "-b", str(everything), kernel.release], what="sort out the kernel's modules")
    return everything


async def lay_out(work: Path, everything: Path, recipe: Recipe, kernel: Kernel) -> Trees:
    """Make the two folders out of the unpacked packages, the overlay and the layout."""
    root, initrd = work / "root", work / "initrd"
    programs = [path for paths in recipe.packages.values() for path in paths]
    dependencies = await asyncio.to_thread(_module_dependencies, everything, kernel.release)
    wanted = _with_dependencies(list(recipe.modules), dependencies)
    early: dict[str, Stage] = {}
    stages: tuple[Stage, ...] = ("virtio", "other")
    for stage in stages:
        for path in _with_dependencies([name for name, when in recipe.modules.items() if when == stage], dependencies):
            early.setdefault(path, stage)

    await _take(programs, everything, root)
    # busybox names itself and its own shell among its applets; what was taken from a package wins over an applet
    applets = (await run(["chroot", str(root), "/usr/bin/busybox", "--list-full"])).text.split()
    await asyncio.to_thread(_furnish, root, recipe, applets)
    await asyncio.to_thread(_copy_modules, everything, root, kernel.release, wanted)
    await run(["depmod", "-b", str(root), kernel.release], what="sort out the guest's modules")

    await _take(list(INITRD_PROGRAMS), everything, initrd)
    await asyncio.to_thread(_copy_modules, everything, initrd, kernel.release, list(early))
    await asyncio.to_thread(_furnish_initrd, initrd, kernel.release, early, applets)
    return Trees(root=root, initrd=initrd, vmlinuz=everything / "boot" / f"vmlinuz-{kernel.release}")


def _merged(folder: Path) -> None:
    for name in MERGED:
        (folder / "usr" / name).mkdir(parents=True)
        (folder / name).symlink_to(f"usr/{name}")


async def _take(programs: list[str], source: Path, target: Path) -> None:
    """Copy programs and all shared objects they need, as the packages' own loader finds them."""
    await asyncio.to_thread(_merged, target)
    objects: set[str] = {LOADER}
    for program in programs:
        here = _shipped(source, program)
        listed = await run(
            ["chroot", str(source), f"/{LOADER}", "--list", f"/{here}"], what=f"find the libraries of {program}"
        )
        # "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)"
        objects |= {word[1:] for line in listed.text.splitlines() for word in line.split() if word.startswith("/")}
    await asyncio.to_thread(_copy, sorted({*programs, *objects}), source, target)


def _copy(paths: list[str], source: Path, target: Path) -> None:
    for path in paths:
        destination = target / path
        destination.parent.mkdir(parents=True, exist_ok=True)
        # libraries are found under the name they are asked by: copy what the link points at
        shutil.copyfile(_inside(source, _shipped(source, path)), destination)
        destination.chmod(0o755)


def _shipped(source: Path, path: str) -> str:
    """Where the packages hold `path`: Debian 12 packages still ship /bin and /lib files outside usr."""
    for candidate in (path, path.removeprefix("usr/")):
        if os.path.lexists(source / candidate):
            return candidate
    raise HostFailure(f"Cannot build the tiny image: Debian's packages hold no {path} any more.")


def _inside(root: Path, path: str) -> Path:
    """The real file behind `path`, absolute links being meant within `root`."""
    here = root / path
    while here.is_symlink():
        target = os.readlink(here)
        here = root / target.lstrip("/") if target.startswith("/") else here.parent / target
    return here


def _furnish(root: Path, recipe: Recipe, applets: list[str]) -> None:
    """Overlay, busybox links, folders, links and modes of the root file system."""
    for source in sorted(path for path in OVERLAY.rglob("*") if path.is_file()):
        target = root / source.relative_to(OVERLAY)
        target.parent.mkdir(parents=True, exist_ok=True)
        content = source.read_bytes()
        target.write_bytes(content)
        target.chmod(0o755 if content.startswith(b"#!") else 0o644)
    for entry in recipe.layout:
        path = root / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind == "link":
            path.symlink_to(entry.target)
            continue
        if entry.kind == "dir":
            path.mkdir(exist_ok=True)
        os.chown(path, entry.owner, entry.owner)
        path.chmod(entry.mode)
    taken = {path.name for folder in ("usr/bin", "usr/sbin") for path in (root / folder).iterdir()}
    for applet in applets:
        folder = "usr/sbin" if "sbin/" in applet else "usr/bin"
        name = applet.rsplit("/", 1)[-1]
        if name not in taken:
            (root / folder / name).symlink_to("/usr/bin/busybox")


def _furnish_initrd(initrd: Path, release: str, modules: dict[str, Stage], applets: list[str]) -> None:
    for name in ("dev", "proc", "sys", "root"):
        (initrd / name).mkdir()
    for applet in applets:
        link = initrd / "usr/bin" / applet.rsplit("/", 1)[-1]
        if not link.exists():
            link.symlink_to("busybox")
    shutil.copyfile(FOLDER / "init", initrd / "init")
    (initrd / "init").chmod(0o755)
    (initrd / "modules").write_text(
        "".join(f"{stage} /lib/modules/{release}/{path}\n" for path, stage in modules.items())
    )


def _module_dependencies(everything: Path, release: str) -> dict[str, list[str]]:
    """Module name -> its file and the files it needs, nearest first (the format of modules.dep(5))."""
    listed = (everything / "lib/modules" / release / "modules.dep").read_text()
    found = {}
    for line in listed.splitlines():
        path, needs = line.split(":", 1)
        found[_module_name(path)] = [path, *needs.split()]
    return found


def _module_name(path: str) -> str:
    return path.rsplit("/", 1)[-1].removesuffix(".ko").replace("-", "_")


def _with_dependencies(names: list[str], dependencies: dict[str, list[str]]) -> list[str]:
    """Paths of the modules and all they need, in an order in which they can be loaded."""
    ordered: dict[str, None] = {}
    for name in names:
        if name.replace("-", "_") not in dependencies:
            raise HostFailure(f"Cannot build the tiny image: the kernel has no module {name} any more.")
        for path in reversed(dependencies[name.replace("-", "_")]):
            ordered.setdefault(path)
    return list(ordered)


def _copy_modules(everything: Path, target: Path, release: str, modules: list[str]) -> None:
    here = f"lib/modules/{release}"
    for path in (*modules, "modules.builtin", "modules.order"):
        destination = target / here / path
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(everything / here / path, destination)
