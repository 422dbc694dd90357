"""Who may import what, beyond the layers that import-linter keeps (setup.cfg): doors of services, and risky libraries."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("identity", "image", "placement", "network", "volume", "compute", "metadata")

ROOMS = {
    "libvirt": ("host/real/",),
    "libvirtaio": ("host/real/",),
    "libvirt_qemu": ("host/real/",),
    "pyroute2": ("host/real/",),
    "subprocess": ("host/run.py",),
    "sqlite3": ("core/store.py",),
    "aiohttp.web": ("api/", "metadata/", "daemon.py"),
}
"""Module -> the only files or folders that may import it at run time; `<service>/api/` counts as `api/`."""


@functools.cache
def modules() -> tuple[tuple[str, ast.Module], ...]:
    """Every module of the package, parsed once for all these tests: (path below the package, tree)."""
    found = sorted((ROOT / "minicloud").rglob("*.py"))
    return tuple((path.relative_to(ROOT / "minicloud").as_posix(), ast.parse(path.read_text())) for path in found)


def imports(tree: ast.Module) -> Iterator[str]:
    """Dotted names that are imported when the code runs; what is imported for type hints only is not."""
    hidden = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, module: str) -> bool:
    return name == module or name.startswith(module + ".")


@pytest.mark.parametrize("module", ROOMS)
def test_a_library_stays_in_its_room(module: str) -> None:
    strangers = [
        path
        for path, tree in modules()
        if any(within(name, module) for name in imports(tree))
        and not any(path.startswith(room) or f"/{room}" in path for room in ROOMS[module])
    ]
    assert strangers == []


def test_a_service_is_entered_by_its_package() -> None:
    intruders = []
    for path, tree in modules():
        for name in imports(tree):
            root, _, rest = name.partition(".")
            service, _, inner = rest.partition(".")
            # `minicloud.network.Network` is a name of the package; `minicloud.network.ports.x` is another's room
            if root == "minicloud" and service in SERVICES and not path.startswith(f"{service}/"):
                file = ROOT / "minicloud" / service / inner.split(".")[0]
                if inner and (file.with_suffix(".py").exists() or file.is_dir()):
                    intruders.append(f"{path}: {name}")
    assert intruders == []


def test_a_domain_never_imports_its_own_wire() -> None:
    """Only `<service>/__init__.py` may, to hand out its routes."""
    wrong = [
        f"{path}: {name}"
        for path, tree in modules()
        for name in imports(tree)
        if path.split("/")[0] in SERVICES
        and "/api/" not in path
        and not path.endswith("/__init__.py")
        and within(name, f"minicloud.{path.split('/')[0]}.api")
    ]
    assert wrong == []


def test_no_file_system_of_a_guest_is_mounted_here() -> None:
    """What a guest wrote is never read by this host's kernel: mounted are namespaces' handles and the sandbox's own folders."""
    tools = {
        "mount",
        "guestmount",
        "guestfish",
        "virt-copy-in",
        "virt-customize",
        "qemu-nbd",
        "losetup",
        "kpartx",
        "fuse2fs",
    }
    allowed = {"sandbox/kernel.py", "host/real/namespaces.py"}
    wrong = [
        f"{path}:{node.lineno}"
        for path, tree in modules()
        for node in ast.walk(tree)
        if path not in allowed
        and (
            (isinstance(node, ast.Attribute) and node.attr == "mount" and "libc" in ast.unparse(node.value))
            or (isinstance(node, ast.Constant) and node.value in tools)
        )
    ]
    assert wrong == []


def test_nothing_starts_a_process_but_run() -> None:
    starters = (
        "create_subprocess_exec",
        "create_subprocess_shell",
        "posix_spawn",
        "execve",
        "execvp",
        "popen",
        "system",
    )
    wrong = [
        f"{path}:{node.lineno}"
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in starters
        and path != "host/run.py"
        and ast.unparse(node.func.value) in ("os", "asyncio", "subprocess")
    ]
    assert wrong == []


def test_every_module_says_what_it_is_for() -> None:
    assert [path for path, tree in modules() if not ast.get_docstring(tree)] == []


def test_the_command_line_starts_without_the_server() -> None:
    probe = "import sys, minicloud.__main__; print(sorted({'aiohttp', 'openstack', 'libvirt', 'sqlite3'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "[]"
