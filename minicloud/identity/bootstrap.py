"""The first inhabitants: a domain, the roles, the administrator, so that somebody can log in at all.

Done again it changes nothing; with a password it lets the administrator in with it again: the way back for one who lost
it. Called at every start of the daemon and by `minicloud init`.
"""

from __future__ import annotations

import dataclasses
import itertools
import secrets
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from minicloud.api.dialect import Dialect
from minicloud.core.store import Db
from minicloud.identity import catalog
from minicloud.identity.tables import DEFAULT_DOMAIN, PROJECTS, ROLES, USERS, Assignment, Project, Role, User

if TYPE_CHECKING:
    from minicloud.identity import Identity

CHAIN = ("admin", "manager", "member", "reader")
"""Each role implies the next one."""

ROLE_NAMES = (*CHAIN, "service")


async def bootstrap(identity: Identity, *, password: str | None, dialects: Sequence[Dialect]) -> str | None:
    """Domain `default`, the roles and what they imply, projects `admin` and `service`, user `admin` with the role admin on
    its project and on the system; region, services and endpoints of the catalogue.

    Args:
        password: the administrator's; None leaves it, or makes one if there is no administrator yet.
        dialects: of the services that the catalogue tells of.

    Returns:
        The password that was made, to be told once.
    """
    administrator = identity.store.read(_administrator)
    made = None
    if password is None and administrator is None:
        password = made = secrets.token_urlsafe(18)
    secret = None
    if password is not None:
        same = administrator is not None and await identity.passwords.matches(administrator.password_hash, password)
        secret = None if same else await identity.passwords.hashed(password)

    def settle(db: Db) -> None:
        if PROJECTS.get(db, DEFAULT_DOMAIN) is None:
            PROJECTS.insert(
                db, Project(DEFAULT_DOMAIN, "Default", None, None, True, True, "The default domain", (), {}, {})
            )
        roles = {name: _role(db, name) for name in ROLE_NAMES}
        for prior, implied in itertools.pairwise(CHAIN):
            db.execute("INSERT OR IGNORE INTO role_implications VALUES (?, ?)", (roles[prior], roles[implied]))
        project_id = _project(db, "admin", "The administrator's project")
        _project(db, "service", "Services of the cloud")
        if administrator is None or password is not None:
            user_id = _let_in(db, administrator, secret)
            for kind, target in (("project", project_id), ("system", "all")):
                row = Assignment("user", user_id, kind, target, roles["admin"], False)
                db.execute("INSERT OR IGNORE INTO assignments VALUES (?, ?, ?, ?, ?, ?)", dataclasses.astuple(row))
        catalog.settle_in(db, dialects, region=identity.region)

    await identity.write(settle)
    return made


def _administrator(db: Db) -> User | None:
    return USERS.first(db, "name = 'admin' AND domain_id = ?", (DEFAULT_DOMAIN,))


def _let_in(db: Db, administrator: User | None, secret: str | None) -> str:
    if administrator is None:
        return USERS.insert(db, User(uuid.uuid4().hex, "admin", DEFAULT_DOMAIN, True, None, secret, 1, {}, {})).id
    if secret is not None:
        USERS.change(db, administrator.id, password_hash=secret, generation=administrator.generation + 1)
    return USERS.change(db, administrator.id, enabled=True).id


def _role(db: Db, name: str) -> str:
    found = ROLES.first(db, "name = ? AND domain_id IS NULL", (name,))
    if found is None:
        found = ROLES.insert(db, Role(uuid.uuid4().hex, name, None, None, {"immutable": True}, {}))
    return found.id


def _project(db: Db, name: str, description: str) -> str:
    found = PROJECTS.first(db, "name = ? AND domain_id = ?", (name, DEFAULT_DOMAIN))
    if found is None:
        found = PROJECTS.insert(
            db, Project(uuid.uuid4().hex, name, DEFAULT_DOMAIN, DEFAULT_DOMAIN, False, True, description, (), {}, {})
        )
    return found.id
