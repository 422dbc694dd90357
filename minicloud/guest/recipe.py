"""What the tiny guest is made of, read from the data files in `tiny/`.

Why: the list of packages, modules, folders and modes is data that a person reads and changes, not code; and the hash
over all of it is what tells whether an image in the cache is still the one that would be built. Called by `tree`
and by the package itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from minicloud.core.errors import HostFailure
from minicloud.guest.kept import HERE, files, hashed
from minicloud.host.run import run

FOLDER = HERE / "tiny"
OVERLAY = FOLDER / "rootfs"
META_PACKAGE = "linux-image-cloud-amd64"
"""Debian's kernel for virtual machines; this package only points at the current one."""

Stage = Literal["virtio", "other", "later"]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel package, the release it holds (`uname -r`) and the package's own version."""

    package: str
    version: str

    @property
    def release(self) -> str:
        return self.package.removeprefix("linux-image-")


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of `layout`: a folder, link or file that is given a mode and an owner (-1 for a link)."""

    kind: Literal["dir", "link", "file"]
    mode: int
    owner: int
    path: str
    target: str = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The data files, parsed.

    Attributes:
        packages: Debian package -> the paths wanted of it; empty for a library.
        modules: kernel module -> when it is loaded.
        layout: folders, links and modes beyond what the packages bring.
    """

    packages: dict[str, tuple[str, ...]]
    modules: dict[str, Stage]
    layout: tuple[Entry, ...]


def _lines(name: str) -> Iterator[list[str]]:
    for line in (FOLDER / name).read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.split()


def read() -> Recipe:
    """The recipe as it stands in the data files."""
    stages: dict[str, Stage] = {"virtio": "virtio", "other": "other", "later": "later"}
    kinds: dict[str, Literal["dir", "link", "file"]] = {"dir": "dir", "link": "link", "file": "file"}
    layout = []
    for kind, mode, owner, path, *target in _lines("layout"):
        if kind == "link":
            layout.append(Entry(kind="link", mode=-1, owner=-1, path=path, target=target[0]))
        else:
            layout.append(Entry(kind=kinds[kind], mode=int(mode, 8), owner=int(owner), path=path))
    return Recipe(
        packages={package: tuple(paths) for package, *paths in _lines("packages")},
        modules={module: stages[stage] for stage, module in _lines("modules")},
        layout=tuple(layout),
    )


async def kernel() -> Kernel:
    """The kernel that apt would install now.

    The package lists are refreshed only when they know nothing of it: a cached image must be found without a network.

    Raises:
        HostFailure: apt's sources hold no such package (not Debian 12, or no network for the first refresh).
    """
    for refresh in (False, True):
        if refresh:
            await run(
                ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=60", "update"], timeout=120, what="refresh apt's lists"
            )
        shown = (await run(["apt-cache", "show", "--no-all-versions", META_PACKAGE], check=False)).text
        fields = dict(line.split(": ", 1) for line in shown.splitlines() if ": " in line and line[0] != " ")
        depends = fields.get("Depends", "").replace(",", " ").split()
        if depends:
            return Kernel(package=depends[0], version=fields["Version"])
    raise HostFailure(
        f"Cannot build the tiny image: apt knows no package {META_PACKAGE}; Debian 12's main archive has to be among "
        "its sources.",
        detail=shown,
    )


def fingerprint(kernel: Kernel) -> str:
    """Twelve hexadecimal digits that change with any data file, with the code that builds, or with the kernel."""
    code = [HERE / name for name in ("__init__.py", "disk.py", "recipe.py", "tree.py")]
    return hashed(f"{kernel.package} {kernel.version}\n", [*code, *files(FOLDER)])
