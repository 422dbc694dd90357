"""What is offered is described: commands, options, interfaces, files that the README names; and nothing of one machine is in the tree."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import subprocess
import typing
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from minicloud.cli import root
from minicloud.config import Config, load
from minicloud.host import Host
from tests.house.test_imports import ROOT, SERVICES, modules

OWN_PLACES = ("/etc/minicloud", "/var/lib/minicloud", "/var/cache/minicloud", "/run/minicloud")


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with its whole name."""
    context = click.Context(root)
    waiting: list[tuple[str, click.Command]] = [("minicloud", root)]
    while waiting:
        name, command = waiting.pop()
        yield name, command
        if isinstance(command, click.Group):
            found = [(inner, command.get_command(context, inner)) for inner in command.list_commands(context)]
            waiting += [(f"{name} {inner}", one) for inner, one in found if one is not None]


def test_every_command_and_option_has_help() -> None:
    silent = [name for name, command in commands() if not command.help]
    silent += [
        f"{name} {parameter.opts[0]}"
        for name, command in commands()
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden and not parameter.help
    ]
    assert silent == []


def test_every_argument_is_explained() -> None:
    silent = [
        f"{name} {parameter.human_readable_name}"
        for name, command in commands()
        for parameter in command.params
        if isinstance(parameter, click.Argument)
        and parameter.human_readable_name.upper() not in (command.help or "").upper()
    ]
    assert silent == []


def test_every_option_of_the_daemon_is_in_the_example_with_its_default() -> None:
    example = ROOT / "examples/minicloud.toml"
    assert load(example) == Config()
    text = example.read_text()
    absent = [
        f"{section.name}.{option.name}"
        for section in dataclasses.fields(Config)
        if dataclasses.is_dataclass(getattr(Config(), section.name))
        for option in dataclasses.fields(getattr(Config(), section.name))
        if not re.search(rf"^#? ?{option.name} =", text, re.MULTILINE)
    ]
    assert absent == []


def test_every_public_method_of_a_service_says_what_it_does() -> None:
    silent = []
    for path, tree in modules():
        if path.count("/") != 1 or not path.endswith("/__init__.py") or path.split("/")[0] not in SERVICES:
            continue
        for kind in (node for node in tree.body if isinstance(node, ast.ClassDef)):
            silent += [] if ast.get_docstring(kind) else [f"{path}: {kind.name}"]
            silent += [
                f"{path}: {kind.name}.{method.name}"
                for method in kind.body
                if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)
                and not method.name.startswith("_")
                and not ast.get_docstring(method)
            ]
    assert silent == []


def test_every_driver_protocol_says_what_it_does() -> None:
    silent = []
    for name, protocol in typing.get_type_hints(Host).items():
        silent += [] if protocol.__doc__ else [name]
        methods = [
            one for one in vars(protocol).values() if inspect.isfunction(one) and not one.__name__.startswith("_")
        ]
        silent += [f"{name}.{one.__name__}" for one in methods if not one.__doc__]
    assert silent == []


def test_every_public_function_and_class_has_a_docstring() -> None:
    silent = [
        f"{path}:{node.lineno} {node.name}"
        for path, tree in modules()
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not re.match(r"m\d{3}_", node.name)  # a migration's name is its description
        and not ast.get_docstring(node)
    ]
    assert not silent, "\n".join(silent)


def test_what_the_readme_names_is_there() -> None:
    text = (ROOT / "README.md").read_text()
    named = set(re.findall(r"`((?:[\w.-]+/)*[\w.-]+\.(?:py|md|toml|service|yaml|tf))`", text))
    inside = [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if ".git/" not in path.as_posix()]
    absent = [name for name in named if not any(one == name or one.endswith("/" + name) for one in inside)]
    assert absent == []
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {name for name in re.findall(r"\bmake ([a-z-]+)", text)} <= targets


def tracked() -> list[Path]:
    """Files that are in version control, or would be."""
    listed = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listed, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:  # an unpacked archive
        return [
            path for room in ("minicloud", "tests", "examples") for path in (ROOT / room).rglob("*") if path.is_file()
        ]
    return [ROOT / name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def test_nothing_of_one_machine_is_in_the_tree() -> None:
    """Paths of the machine on which something was written help nobody else."""
    foreign = re.compile(rb"(?<![\w.])/(work|home/\w+|Users/\w+|workspace)/[\w.-]+")
    found = [
        f"{path.relative_to(ROOT)}: {match[0].decode()}"
        for path in tracked()
        for match in foreign.finditer(path.read_bytes())
        if path != Path(__file__) and not re.match(rb"/home/(cirros|debian|user|alice)", match[0])
    ]
    assert found == []


def test_nothing_is_left_for_later() -> None:
    """What isn't offered says so over the wire; the code holds no promises."""
    marks = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError|HACK)\b")
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in tracked()
        if path.suffix in (".py", ".md", ".toml", ".cfg") and path != Path(__file__)
        for match in marks.finditer(path.read_text())
    ]
    assert found == []


@pytest.mark.parametrize("name", ["time.sleep"])
def test_the_daemon_never_sleeps_in_its_thread(name: str) -> None:
    wrong = [
        f"{path}:{node.lineno}"
        for path, tree in modules()
        if not path.startswith(("sandbox/", "demo/", "guest/"))
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == name
    ]
    assert wrong == []
