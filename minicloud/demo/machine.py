"""What there is on this machine that a cloud could have left behind: looked at before and after."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, fields
from pathlib import Path

from minicloud.core.errors import Unavailable
from minicloud.host.run import run

PROGRAMS = ("qemu-system", "dnsmasq", "libvirtd", "minicloud", "virtlogd", "openstack")
"""Processes of these programs are compared; those of other people come and go."""

FOLDERS = ("/etc", "/run", "/var/lib", "/var/log", "/opt", "/usr/local/bin", "/usr/local/etc")
TOP_ONLY = ("/tmp", "/var/tmp", "/", "/root", "/home")  # noqa: S108  # looked at, not written to
UNINTERESTING = ("__pycache__", "/var/lib/apt", "/var/lib/dpkg", "/var/log/apt", "/run/user")


@dataclass(frozen=True)
class Machine:
    """One look: each a set of lines."""

    links: frozenset[str]
    namespaces: frozenset[str]
    rules: frozenset[str]
    processes: frozenset[str]
    mounts: frozenset[str]
    files: frozenset[str]

    def summary(self) -> str:
        """In numbers."""
        return f"{len(self.links)} links, {len(self.namespaces)} namespaces, {len(self.mounts)} mounts"


async def look() -> Machine:
    """Look at the machine now."""
    links, rules = await asyncio.gather(_lines("ip", "-o", "link"), _rules())
    return Machine(
        links=frozenset(line.split(":")[1].strip() for line in links),
        namespaces=frozenset(_names("/run/netns")),
        rules=rules,
        processes=frozenset(_processes()),
        mounts=frozenset(line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()),
        files=await asyncio.to_thread(_files),
    )


def difference(before: Machine, after: Machine) -> list[str]:
    """What is there now and was not ("+"), and what was there and is not any more ("-")."""
    found = []
    for one in fields(Machine):
        had, has = getattr(before, one.name), getattr(after, one.name)
        found += [f"+ {one.name}: {line}" for line in sorted(has - had)]
        found += [f"- {one.name}: {line}" for line in sorted(had - has) if one.name != "processes"]
    return found


async def _lines(*argv: str) -> list[str]:
    try:
        return (await run(argv, check=False)).text.splitlines()
    except Unavailable:  # a machine without that program has nothing of its kind
        return []


async def _rules() -> frozenset[str]:
    told = await asyncio.gather(
        _lines("nft", "list", "ruleset"),
        _lines("iptables-save"),
        _lines("ip6tables-save"),
        _lines("iptables-legacy-save"),
    )
    return frozenset(line.strip() for lines in told for line in lines if not line.startswith("#"))


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _processes() -> list[str]:
    found = []
    for name in _names("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            argv = Path("/proc", name, "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if any(program in word for program in PROGRAMS for word in argv[:4]):
            found.append(f"{name} {' '.join(argv)[:120]}")
    return found


def _files() -> frozenset[str]:
    found = {os.path.join(top, name) for top in TOP_ONLY for name in _names(top)}
    for folder in FOLDERS:
        for path, inner, names in os.walk(folder):
            inner[:] = [name for name in inner if not any(one in os.path.join(path, name) for one in UNINTERESTING)]
            found.update(os.path.join(path, name) for name in (*inner, *names))
    return frozenset(found)
