"""Does KVM really run guests here? Asked by running one: a boot sector of our own, for a fraction of a second.

That /dev/kvm opens and makes a virtual machine proves nothing on nested hosts: some guests then abort at a model
specific register or hang at their first timer. So the probe takes the way every kernel takes, with the processor
model that our guests get: timer interrupts in real mode, page tables, long mode, a busy loop, cpuid; then it ends
QEMU with an exit code that nothing else gives. Called once by `real/libvirt.py`; the answer is kept in the cache
folder until kernel, QEMU or /dev/kvm change.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from minicloud.core.errors import HostFailure
from minicloud.host import filesystem
from minicloud.host.run import program, run

EMULATOR = "qemu-system-x86_64"
DEVICE = "/dev/kvm"
DEADLINE = 3.0
"""Seconds. A working KVM needs half of one; one that emulates its way along is no better than TCG."""
EXIT_CODE = 33
"""isa-debug-exit ends QEMU with (value * 2 + 1); the sector writes 16."""

SECTOR = bytes.fromhex(
    # real mode at 0x7c00
    "fa 31c0 8ed8 8ec0 8ed0 bc007c fb"  # cli; ds = es = ss = 0; stack below us; sti
    "8b1e6c04 83c303"  # bx = BIOS tick counter + 3
    "f4 391e6c04 78f9"  # sleep until the timer interrupt has come three times
    "fa 66bf00100000 0f22df"  # cli; cr3 = edi = 0x1000
    "b9000c 6631c0 fc 66f3ab"  # clear three pages of tables
    "c70600100320 c70600200330 c70600308300"  # PML4 -> PDPT -> PD -> one page of 2 MiB
    "66b820000000 0f22e0"  # cr4 = PAE
    "66b9800000c0 0f32 0d0001 0f30"  # EFER |= long mode
    "0f20c0 660d01000080 0f22c0"  # cr0 |= paging and protection
    "0f0116847c ea6d7c0800"  # load the GDT at 0x7c84, jump to 0x7c6d in its segment 8
    # long mode
    "b940420f00 ffc9 75fc"  # a million turns
    "31c0 0fa2"  # cpuid: leaves the guest
    "b010 66ba0105 ee f4 ebfd"  # out 0x501, 16: the end
    # GDT: limit and address; null; 64-bit code
    "0f00 8a7c0000 0000000000000000 00000000009a2000"
).ljust(510, b"\0") + bytes.fromhex("55aa")


@dataclass(frozen=True, slots=True)
class Accelerator:
    """What guests run on ("kvm" or "qemu", libvirt's domain types), and one sentence why."""

    domain_type: str
    note: str


async def accelerator(cache: Path) -> Accelerator:
    """The best accelerator that works; remembered in `cache`. Raises `Unavailable` without QEMU."""
    emulator = program(EMULATOR)
    if not Path(DEVICE).is_char_device():
        return Accelerator("qemu", f"KVM is not there (no {DEVICE}): guests run by TCG, which is slow.")
    key = _key(emulator)
    known = await filesystem.in_thread(_recall, cache, key)
    if known is not None:
        return known
    found = await _try(emulator)
    async with filesystem.draft(_file(cache), what="remember the accelerator in") as draft:
        await filesystem.in_thread(draft.write_text, json.dumps({"key": key} | asdict(found)))
    return found


async def _try(emulator: str) -> Accelerator:
    with tempfile.TemporaryDirectory(prefix="minicloud-probe-") as folder:
        image = Path(folder) / "sector"
        image.write_bytes(SECTOR)
        try:
            done = await run([*command(emulator, image, "kvm")], timeout=DEADLINE, check=False, what="try KVM")
        except HostFailure:
            return Accelerator("qemu", f"KVM did not run a small guest within {DEADLINE:g} s: guests run by TCG.")
    if done.code == EXIT_CODE:
        return Accelerator("kvm", "KVM ran a small guest: guests run by KVM.")
    lines = done.err.decode("utf-8", "replace").strip().splitlines()
    reason = lines[0][:200] if lines else f"exit code {done.code}"
    return Accelerator("qemu", f"KVM did not run a small guest ({reason}): guests run by TCG.")


def command(emulator: str, image: Path, accelerator: str) -> tuple[str, ...]:
    """The command that runs the sector; "tcg" as accelerator serves the tests of the sector itself."""
    return (
        emulator, "-accel", accelerator, "-cpu", "host" if accelerator == "kvm" else "max", "-m", "16",
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-device", "isa-debug-exit,iobase=0x501,iosize=1",
        "-drive", f"file={image},format=raw,if=ide,read-only=off",
    )  # fmt: skip


def _key(emulator: str) -> str:
    status = os.stat(emulator)
    device = os.stat(DEVICE)
    return f"{platform.release()} {emulator} {status.st_mtime_ns} {device.st_rdev} {len(SECTOR)} 1"


def _file(cache: Path) -> Path:
    return cache / "accelerator.json"


def _recall(cache: Path, key: str) -> Accelerator | None:
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        kept = json.loads(_file(cache).read_text())
        if kept["key"] == key:
            return Accelerator(kept["domain_type"], kept["note"])
    return None
