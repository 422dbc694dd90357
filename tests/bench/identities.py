"""Identity under many people: login and validation in an empty cloud and in one with 10,000 users, 1,000 projects and 20,000
assignments. The rows are put into the database of a stopped daemon: by the API it would take as many password hashes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import http.client
import json
import statistics
import time
import uuid
from pathlib import Path
from urllib.parse import urlsplit

from argon2 import PasswordHasher

from minicloud.config import Identity as Options
from minicloud.core.store import Db, Store
from minicloud.identity import tables
from minicloud.identity.tables import DEFAULT_DOMAIN, PROJECTS, ROLES, USERS, Assignment, Project, User
from tests.bench.measure import PASSWORD, Figure, Served, login, ratio, served

PEOPLE, PLACES, GRANTS = 10_000, 1_000, 20_000
LOGINS = 25


def seed(db: Db) -> None:
    """People who may something somewhere; the last one has the bench's own password hash beside."""
    role = ROLES.first(db, "name = 'member'")
    admin = USERS.first(db, "name = 'admin'")
    assert role and admin
    places = [uuid.uuid4().hex for _ in range(PLACES)]
    for number, key in enumerate(places):
        name = f"project {number}"
        PROJECTS.insert(db, Project(key, name, DEFAULT_DOMAIN, DEFAULT_DOMAIN, False, True, "", (), {}, {}))
    for number in range(PEOPLE):
        mail = {"email": f"{number}@example.org"}
        user = User(uuid.uuid4().hex, f"user {number}", DEFAULT_DOMAIN, True, None, admin.password_hash, 1, {}, mail)
        USERS.insert(db, user)
        for step in range(GRANTS // PEOPLE):
            place = places[(number + step * 7) % PLACES]
            row = Assignment("user", user.id, "project", place, role.id, False)
            db.execute("INSERT INTO assignments VALUES (?, ?, ?, ?, ?, ?)", dataclasses.astuple(row))


async def populate(folder: Path) -> None:
    """Put everybody into the database of a cloud that was started once."""
    store = Store(folder / "state" / "minicloud.db")
    store.open([tables.migrations])
    await store.write(seed)
    await store.close()


def hash_seconds() -> float:
    """What cannot be left out of a login: one check of a password."""
    options = Options()
    hasher = PasswordHasher(
        time_cost=options.argon2_time, memory_cost=options.argon2_memory_kib, parallelism=1, hash_len=32, salt_len=16
    )
    kept, took = hasher.hash(PASSWORD), []
    for _ in range(LOGINS):
        began = time.perf_counter()
        hasher.verify(kept, PASSWORD)
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def login_seconds(one: Served, name: str, project: str) -> float:
    """The median of logins over one connection."""
    user = {"name": name, "domain": {"id": "default"}, "password": PASSWORD}
    scope = {"project": {"name": project, "domain": {"id": "default"}}}
    auth = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
    connection, took = http.client.HTTPConnection(urlsplit(one.url).netloc), []
    for _ in range(LOGINS):
        began = time.perf_counter()
        connection.request(
            "POST", "/identity/v3/auth/tokens", json.dumps(auth), headers={"Content-Type": "application/json"}
        )
        answer = connection.getresponse()
        body = answer.read()
        took.append(time.perf_counter() - began)
        assert answer.status == 201, body
    connection.close()
    return statistics.median(took[2:])


@dataclasses.dataclass
class Measured:
    """One cloud: a login against one hash, and a validation against a bare handler's rate."""

    login: float
    validate: float
    rate: float


async def measured(folder: Path, floor: str, name: str, project: str) -> Measured:
    """Start a cloud, look, stop it."""
    async with served(folder, fake=True) as one:
        # hashes and logins in turn, so that a busy machine hits both alike
        pairs = [
            (await asyncio.to_thread(login_seconds, one, name, project), await asyncio.to_thread(hash_seconds))
            for _ in range(3)
        ]
        token = await asyncio.to_thread(login, one.url)
        headers = (f"X-Auth-Token: {token}", f"X-Subject-Token: {token}")
        value, ours, _ = await ratio(f"{one.url}/identity/v3/auth/tokens", floor, headers=headers)
    return Measured(statistics.median(a / b for a, b in pairs), value, ours)


async def people(folder: Path, floor: str) -> list[Figure]:
    """The figures."""
    for kind in ("empty", "full"):
        async with served(folder / kind, fake=True):
            pass
    await populate(folder / "full")
    empty = await measured(folder / "empty", floor, "admin", "admin")
    full = await measured(folder / "full", floor, "user 9999", "project 999")
    crowd = f"{PEOPLE} users, {PLACES} projects, {GRANTS} assignments"
    return [
        Figure("password login against one hash, empty cloud", empty.login, "x", 1.2),
        Figure("password login against one hash, full cloud", full.login, "x", 1.2, note=crowd),
        Figure("password login, full against empty cloud", full.login / empty.login, "x", 1.3),
        Figure(
            "validate of a token against a bare handler, full cloud",
            full.validate,
            "x",
            0.4,
            "more",
            f"{full.rate:.0f} requests/s",
        ),
        Figure("validate of a token, empty against full cloud", empty.validate / full.validate, "x", 1.3),
    ]
