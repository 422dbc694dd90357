"""Is this machine fit to run the cloud? Every answer by trying, never by looking up a version.

Each check takes milliseconds (the one of KVM runs a guest for a moment, and is remembered) and changes nothing: what
needs a network is tried in a network namespace that ends with the try. Called by `minicloud doctor`.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from minicloud.core.errors import Failure
from minicloud.core.store import SQLITE
from minicloud.host.filesystem import FICLONE
from minicloud.host.real import probe
from minicloud.host.run import program, run

LEAST_FREE = 5 * 1024**3
"""Bytes free below which new guests soon have no room."""

OLDEST_SQLITE = (3, 37, 0)
PROGRAMS = {
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "dnsmasq": "dnsmasq-base",
    "nft": "nftables",
    "ip": "iproute2",
    "conntrack": "conntrack",
}
"""Program -> Debian's package that has it."""

GROUPS_RULESET = b"""
table bridge check { chain c { type filter hook prerouting priority -200; meta mark set 1; }; }
table inet check { chain c { type filter hook forward priority 0; ct state established accept; }; }
"""


class Verdict(StrEnum):
    """How bad it is: fine, the cloud does less or is slower, it does not run."""

    FINE = "ok"
    LESS = "warn"
    BROKEN = "fail"


@dataclass(frozen=True)
class Finding:
    """What one check found. `fix` is what a person does about it, empty if all is fine."""

    name: str
    verdict: Verdict
    says: str
    fix: str = ""


async def check(*, state: Path, cache: Path, libvirt_socket: Path) -> list[Finding]:
    """All findings, in the order in which they matter."""
    checks: Sequence[Callable[[], Awaitable[list[Finding]]]] = (
        _root,
        _programs,
        lambda: _libvirt(libvirt_socket),
        lambda: _accelerator(cache),
        _tun,
        _links,
        _filter,
        _bridged,
        _forwarding,
        lambda: asyncio.to_thread(_room, state),
        lambda: asyncio.to_thread(_reflink, state),
        lambda: asyncio.to_thread(_modes, state),
        _sqlite,
    )
    return [finding for one in checks for finding in await one()]


async def _root() -> list[Finding]:
    if os.geteuid() == 0:
        return [Finding("root", Verdict.FINE, "running as root")]
    return [
        Finding(
            "root", Verdict.BROKEN, "not root: networks and guests can't be made", "use sudo, or --fake without guests"
        )
    ]


async def _programs() -> list[Finding]:
    found = []
    for name, package in PROGRAMS.items():
        try:
            found.append(Finding(name, Verdict.FINE, program(name)))
        except Failure:
            found.append(Finding(name, Verdict.BROKEN, "not installed", f"apt-get install {package}"))
    return found


async def _libvirt(socket: Path) -> list[Finding]:
    try:
        _, writer = await asyncio.open_unix_connection(str(socket))
    except OSError as error:
        says = f"{socket} does not answer: {os.strerror(error.errno or errno.ENOENT)}"
        return [Finding("libvirtd", Verdict.BROKEN, says, "systemctl enable --now libvirtd")]
    writer.close()
    return [Finding("libvirtd", Verdict.FINE, f"{socket} answers")]


async def _accelerator(cache: Path) -> list[Finding]:
    try:
        found = await probe.accelerator(cache)
    except Failure as error:
        return [Finding("kvm", Verdict.BROKEN, error.message, "apt-get install qemu-system-x86")]
    if found.domain_type == "kvm":
        return [Finding("kvm", Verdict.FINE, found.note)]
    fix = "switch virtualisation on in the firmware, or nested virtualisation on the machine below"
    return [Finding("kvm", Verdict.LESS, found.note, fix)]


async def _tun() -> list[Finding]:
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        says = f"/dev/net/tun: {os.strerror(error.errno or 0)}"
        return [Finding("tun", Verdict.BROKEN, says, "modprobe tun")]
    return [Finding("tun", Verdict.FINE, "guests' network cards can be made")]


async def _links() -> list[Finding]:
    found = []
    for kind, verdict, use in (
        ("bridge", Verdict.BROKEN, "networks"),
        ("veth peer name c2", Verdict.BROKEN, "routers"),
        ("ifb", Verdict.LESS, "bandwidth limits"),
        ("vxlan id 1 dstport 4789", Verdict.LESS, "VXLAN networks"),
    ):
        name = kind.split()[0]
        problem = await _tried(["ip", "link", "add", "c1", "type", *kind.split()])
        if problem is None:
            found.append(Finding(name, Verdict.FINE, f"the kernel has what {use} need"))
        else:
            found.append(Finding(name, verdict, f"no {use}: {problem}", f"modprobe {name}"))
    return found


async def _filter() -> list[Finding]:
    problem = await _tried(["nft", "-f", "-"], stdin=GROUPS_RULESET)
    if problem is None:
        return [Finding("nftables", Verdict.FINE, "security groups can be kept")]
    return [Finding("nftables", Verdict.BROKEN, f"no security groups: {problem}", "modprobe nf_tables nf_conntrack")]


async def _bridged() -> list[Finding]:
    """Without br_netfilter packets between guests of one network would pass by their security groups."""
    problem = await _tried(["cat", "/proc/sys/net/bridge/bridge-nf-call-iptables"])
    if problem is None:
        return [Finding("br_netfilter", Verdict.FINE, "bridged packets go through the filter")]
    fix = "modprobe br_netfilter; echo br_netfilter > /etc/modules-load.d/minicloud.conf"
    return [Finding("br_netfilter", Verdict.BROKEN, "bridged packets would pass by the security groups", fix)]


async def _forwarding() -> list[Finding]:
    try:
        on = Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1"
    except OSError:
        on = False
    if on:
        return [Finding("forwarding", Verdict.FINE, "packets of guests go out to the world")]
    return [Finding("forwarding", Verdict.LESS, "off; the daemon switches it on", "sysctl -w net.ipv4.ip_forward=1")]


def _room(state: Path) -> list[Finding]:
    free = shutil.disk_usage(_existing(state)).free
    says = f"{free / 1024**3:.1f} GiB free for {state}"
    if free >= LEAST_FREE:
        return [Finding("disk", Verdict.FINE, says)]
    return [Finding("disk", Verdict.LESS, says, "free some space, or set paths.state to a larger file system")]


def _reflink(state: Path) -> list[Finding]:
    folder = _existing(state)
    if not os.access(folder, os.W_OK):
        return [Finding("reflink", Verdict.LESS, f"{folder} may not be written to", "use sudo, or another --state")]
    with tempfile.TemporaryFile(dir=folder) as source, tempfile.TemporaryFile(dir=folder) as target:
        source.write(b"\0" * 65536)
        source.flush()
        try:
            fcntl.ioctl(target.fileno(), FICLONE, source.fileno())
        except OSError:
            fix = "put paths.state on XFS or Btrfs; nothing else is lost without"
            return [Finding("reflink", Verdict.LESS, "raw copies take time and space on this file system", fix)]
    return [Finding("reflink", Verdict.FINE, "raw copies are instant")]


def _modes(state: Path) -> list[Finding]:
    """Secrets are the owner's alone; QEMU's user may pass through to its disks."""
    found = []
    for name in ("minicloud.db", "clouds.yaml", "keys"):
        path = state / name
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            found.append(Finding("modes", Verdict.BROKEN, f"others may read {path}", f"chmod go= {path}"))
    for folder in (state, *state.parents):
        if folder.exists() and not folder.stat().st_mode & stat.S_IXOTH:
            found.append(Finding("modes", Verdict.BROKEN, f"QEMU's user can't pass {folder}", f"chmod o+x {folder}"))
    return found or [Finding("modes", Verdict.FINE, "secrets are private, disks within QEMU's reach")]


async def _sqlite() -> list[Finding]:
    own, wanted = (".".join(str(one) for one in version) for version in (SQLITE, OLDEST_SQLITE))
    if SQLITE >= OLDEST_SQLITE:
        return [Finding("sqlite", Verdict.FINE, own)]
    return [Finding("sqlite", Verdict.BROKEN, f"{own}, but {wanted} is wanted", "use a newer Python")]


async def _tried(argv: Sequence[str], stdin: bytes | None = None) -> str | None:
    """What went wrong with a command in a network namespace of its own; None if nothing did."""
    try:
        done = await run(["unshare", "--net", *argv], stdin=stdin, check=False, timeout=10)
    except Failure as error:
        return error.message
    lines = done.err.decode("utf-8", "replace").strip().splitlines()
    return None if done.code == 0 else (lines[0] if lines else f"exit code {done.code}")


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())
