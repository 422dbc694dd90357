"""Conversations: what a client says and what it is told, as YAML, one file a subject, each pinned to a microversion.

A file is a list of turns:

    - as: demo                         # admin by default
      say: POST /compute/v2.1/servers
      version: compute 2.1             # OpenStack-API-Version
      body: {...}
      status: 202
      told: {server: {id: <any>}}      # what the reply must hold, at least; lists in full, <any> for what varies
      absent: [server.tags]            # what it must not hold
      keep: {server: server.id}        # ids for later turns, as $server

Bytes go up with `bytes: N` instead of a body. After each turn all long work is awaited.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Cloud

FILES = sorted(Path(__file__).parent.glob("*/*.yaml"))
ANY = "<any>"


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
async def test_conversation(cloud: Cloud, file: Path) -> None:
    known = {
        "demo_project": cloud.demo.project_id,
        "admin_project": cloud.admin.project_id,
        "demo_user": cloud.demo.user_id,
    }
    for number, turn in enumerate(yaml.safe_load(file.read_text()), start=1):
        await _take(cloud, turn, known, f"{file.stem}, turn {number}: {turn['say']}")


async def _take(cloud: Cloud, turn: Mapping[str, Any], known: dict[str, str], where: str) -> None:
    turn = _filled(turn, known)
    method, path = turn["say"].split(" ", 1)
    client = cloud.demo if turn.get("as") == "demo" else cloud.admin
    headers = {"OpenStack-API-Version": turn["version"]} if "version" in turn else {}
    options: dict[str, Any] = {"data": bytes(turn["bytes"])} if "bytes" in turn else {"body": turn.get("body")}
    headers |= {"Content-Type": "application/octet-stream"} if "bytes" in turn else {}
    answer = await client.request(method, path, headers=headers, **options)
    await cloud.daemon.operations.all_settled()
    assert answer.status == turn["status"], f"{where}: {answer.status} {answer.body!r}"
    _compare(turn.get("told"), answer.body, where)
    for dotted in turn.get("absent", ()):
        assert _at(answer.body, dotted, missing=None) is None, f"{where}: {dotted} is there"
    known |= {name: str(_at(answer.body, dotted)) for name, dotted in turn.get("keep", {}).items()}


def _filled(value: Any, known: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return re.sub(r"\$(\w+)", lambda match: known[match[1]], value)
    if isinstance(value, Mapping):
        return {key: _filled(one, known) for key, one in value.items()}
    return [_filled(one, known) for one in value] if isinstance(value, list) else value


def _compare(wanted: Any, told: Any, where: str) -> None:
    if wanted is None or wanted == ANY:
        return
    if isinstance(wanted, Mapping):
        for key, one in wanted.items():
            assert isinstance(told, Mapping) and key in told, f"{where}: no {key} in {told!r:.300}"
            assert one is not None or told[key] is None, f"{where}.{key}: {told[key]!r} is not null"
            _compare(one, told[key], f"{where}.{key}")
    elif isinstance(wanted, list):
        assert isinstance(told, list) and len(told) == len(wanted), f"{where}: {told!r:.300}"
        for index, one in enumerate(wanted):
            _compare(one, told[index], f"{where}[{index}]")
    else:
        assert told == wanted, f"{where}: {told!r}, not {wanted!r}"


def _at(body: Any, dotted: str, **default: Any) -> Any:
    for part in dotted.split("."):
        if isinstance(body, Mapping) and part not in body and "missing" in default:
            return default["missing"]
        body = body[int(part)] if isinstance(body, list) else body[part]
    return body


def test_there_are_conversations() -> None:
    assert FILES
