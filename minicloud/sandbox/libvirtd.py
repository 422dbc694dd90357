"""A libvirtd of the sandbox's own: its folders are bind mounts, so it shares nothing with the machine's.

Started by `inside.py` before the daemon. What libvirt found out about QEMU takes seconds to find out, so that is kept
in the cache folder from one sandbox to the next.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
from pathlib import Path

from minicloud.host.run import program
from minicloud.sandbox.kernel import bind

SOCKET = Path("/run/libvirt/libvirt-sock")
KVM = Path("/dev/kvm")
PID_FILE = "/run/libvirt/libvirtd.pid"
KNOWLEDGE = Path("qemu/capabilities")
ROOMS = {
    "etc": "/etc/libvirt",
    "lib": "/var/lib/libvirt",
    "run": "/run/libvirt",
    "cache": "/var/cache/libvirt",
    "log": "/var/log/libvirt",
    "netns": "/run/netns",
}
"""Folder of the sandbox -> where libvirt (whose paths are compiled in) and `ip netns` look for it."""

LIBVIRTD_CONF = """\
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_group = "root"
unix_sock_rw_perms = "0700"
listen_tls = 0
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
max_client_requests = 40
max_workers = 40
"""
QEMU_CONF = """\
stdio_handler = "file"
security_driver = "none"
namespaces = [ ]
cgroup_controllers = [ ]
remember_owner = 0
seccomp_sandbox = 1
user = "{user}"
group = "{group}"
"""


def prepare(folder: Path, cache: Path) -> None:
    """Lay out the folders, write the configuration, put everything where libvirt looks. In the new mount namespace."""
    for room, target in ROOMS.items():
        (folder / room).mkdir(mode=0o755)
        bind(folder / room, Path(target))
    user, group = unprivileged()
    (folder / "etc/libvirtd.conf").write_text(LIBVIRTD_CONF)
    (folder / "etc/qemu.conf").write_text(QEMU_CONF.format(user=user, group=group))
    _hide_closed_kvm(folder, user, group)
    with contextlib.suppress(FileNotFoundError):
        shutil.copytree(_kept(cache), folder / "cache" / KNOWLEDGE)


def command() -> tuple[str, ...]:
    """What to start; it is ready when `SOCKET` is there."""
    return (program("libvirtd"), "--pid-file", PID_FILE)


def remember(folder: Path, cache: Path) -> None:
    """Keep what this libvirtd found out about QEMU for the next sandbox."""
    found = folder / "cache" / KNOWLEDGE
    if not found.is_dir():
        return
    kept = _kept(cache)
    kept.mkdir(parents=True, exist_ok=True)
    for one in found.iterdir():
        draft = kept / f".{one.name}.{os.getpid()}"
        shutil.copy2(one, draft)
        os.replace(draft, kept / one.name)


def unprivileged() -> tuple[str, str]:
    """The user and group that QEMU runs as: the distribution's, else nobody with the group that may use KVM."""
    try:
        return "libvirt-qemu", grp.getgrgid(pwd.getpwnam("libvirt-qemu").pw_gid).gr_name
    except KeyError:
        with contextlib.suppress(KeyError):
            return "nobody", grp.getgrnam("kvm").gr_name
        return "nobody", "nogroup"


def _hide_closed_kvm(folder: Path, user: str, group: str) -> None:
    """Cover a /dev/kvm that QEMU's user may not open. libvirt's probe, which runs as root, would find KVM, its check as
    that user would not, and so it would probe QEMU anew, for many seconds, at each definition of a machine."""
    try:
        status = os.stat(KVM)
    except FileNotFoundError:
        return
    groups = os.getgrouplist(user, grp.getgrnam(group).gr_gid)
    owned, shared = status.st_uid == pwd.getpwnam(user).pw_uid, status.st_gid in groups
    wanted = 0o600 if owned else 0o060 if shared else 0o006
    if status.st_mode & wanted == wanted:
        return
    cover = folder / "etc/no-kvm"
    cover.touch(mode=0o000)
    bind(cover, KVM)


def _kept(cache: Path) -> Path:
    return cache / "sandbox" / KNOWLEDGE
