"""The first inhabitants: a domain, the roles, the administrator, so that somebody can log in at all.

Done again it changes nothing, but sets the administrator's password and rights again: the way back in for one who lost
them. Called by `minicloud init` and by the daemon's first start.
"""

from __future__ import annotations

import dataclasses
import uuid
from typing import TYPE_CHECKING

from minicloud.core.store import Db
from minicloud.identity.tables import PROJECTS, ROLES, USERS, Assignment, Project, Role, User

if TYPE_CHECKING:
    from minicloud.identity import Identity

DEFAULT_DOMAIN = "default"
CHAIN = ("admin", "manager", "member", "reader")
"""Each role implies the next one."""

ROLE_NAMES = (*CHAIN, "service")


async def bootstrap(identity: Identity, *, password: str) -> None:
    """Domain `default`, the roles and what they imply, projects `admin` and `service`, user `admin` with the role admin on
    its project and on the system."""
    secret = await identity.passwords.hashed(password)

    def settle(db: Db) -> None:
        if PROJECTS.get(db, DEFAULT_DOMAIN) is None:
            PROJECTS.insert(db, Project(DEFAULT_DOMAIN, "Default", None, None, True, True, "The default domain", (), {}, {}))
        roles = {name: _role(db, name) for name in ROLE_NAMES}
        for prior, implied in zip(CHAIN, CHAIN[1:], strict=False):
            db.execute("INSERT OR IGNORE INTO role_implications VALUES (?, ?)", (roles[prior], roles[implied]))
        project_id = _project(db, "admin", "The administrator's project")
        _project(db, "service", "Services of the cloud")
        user_id = _administrator(db, secret)
        for kind, target in (("project", project_id), ("system", "all")):
            row = Assignment("user", user_id, kind, target, roles["admin"], False)
            db.execute("INSERT OR IGNORE INTO assignments VALUES (?, ?, ?, ?, ?, ?)", dataclasses.astuple(row))

    await identity.write(settle)


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


def _administrator(db: Db, secret: str) -> str:
    found = USERS.first(db, "name = 'admin' AND domain_id = ?", (DEFAULT_DOMAIN,))
    if found is None:
        found = USERS.insert(db, User(uuid.uuid4().hex, "admin", DEFAULT_DOMAIN, True, None, secret, 1, {}, {}))
    else:
        USERS.change(db, found.id, enabled=True, password_hash=secret, generation=found.generation + 1)
    return found.id
