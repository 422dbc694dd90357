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
from tests.bench.measure import PASSWORD, Figure, Served, login, rate, ratio, served

PEOPLE, PLACES, GRANTS = 10_000, 1_000, 20_000
LOGINS = 60


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


def login_ratio(one: Served, name: str, project: str) -> float:
    """Logins over one connection against what cannot be left out of them: one check of a password. In turn, so that a busy machine
    hits both alike; the median of the pairs."""
    options = Options()
    hasher = PasswordHasher(
        time_cost=options.argon2_time, memory_cost=options.argon2_memory_kib, parallelism=1, hash_len=32, salt_len=16
    )
    kept, ratios = hasher.hash(PASSWORD), []
    connection = http.client.HTTPConnection(urlsplit(one.url).netloc)
    for _ in range(LOGINS):
        began = time.perf_counter()
        hasher.verify(kept, PASSWORD)
        hashed = time.perf_counter()
        log_in(connection, name, project)
        ratios.append((time.perf_counter() - hashed) / (hashed - began))
    connection.close()
    return statistics.median(ratios)


def log_in(connection: http.client.HTTPConnection, name: str, project: str) -> None:
    user = {"name": name, "domain": {"id": "default"}, "password": PASSWORD}
    scope = {"project": {"name": project, "domain": {"id": "default"}}}
    auth = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
    words = {"Content-Type": "application/json"}
    connection.request("POST", "/identity/v3/auth/tokens", json.dumps(auth), headers=words)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 201, body


async def validations(one: Served) -> tuple[str, tuple[str, ...]]:
    """URL and headers of validating a token."""
    token = await asyncio.to_thread(login, one.url)
    return f"{one.url}/identity/v3/auth/tokens", (f"X-Auth-Token: {token}", f"X-Subject-Token: {token}")


async def people(folder: Path, floor: str) -> list[Figure]:
    """The figures, of both clouds in turn."""
    for kind in ("empty", "full"):
        async with served(folder / kind, fake=True):
            pass
    await populate(folder / "full")
    async with served(folder / "empty", fake=True) as empty, served(folder / "full", fake=True) as full:
        alone = await asyncio.to_thread(login_ratio, empty, "admin", "admin")
        crowded = await asyncio.to_thread(login_ratio, full, "user 9999", "project 999")
        here, there = await validations(empty), await validations(full)
        value, ours, floors = await ratio(there[0], floor, headers=there[1])
        pairs = [(await rate(here[0], headers=here[1]), await rate(there[0], headers=there[1])) for _ in range(3)]
    crowd = f"{PEOPLE} users, {PLACES} projects, {GRANTS} assignments"
    slower = statistics.median(one / other for one, other in pairs)
    note = f"{ours:.0f} against {floors:.0f} requests/s"
    return [
        Figure("password login against one hash, empty cloud", alone, "x", 1.2),
        Figure("password login against one hash, full cloud", crowded, "x", 1.2, note=crowd),
        Figure("password login, full against empty cloud", crowded / alone, "x", 1.3),
        Figure("validate of a token in a full cloud against a bare handler", value, "x", 0.4, "more", note),
        Figure("validate of a token, empty against full cloud", slower, "x", 1.3),
    ]
