"""Which scopes a user could ask a token for: the projects, the domains, the system.

Called by `/v3/auth/{projects,domains,system}` and `/v3/users/{id}/projects`.
"""

from __future__ import annotations

from typing import Any

from minicloud.core.store import Db
from minicloud.identity import login, rights
from minicloud.identity.tables import ACCESS_RULES, APPLICATION_CREDENTIALS, PROJECTS, Project
from minicloud.identity.tokens import SYSTEM, Scope


def projects_of(db: Db, user_id: str) -> list[Project]:
    """Enabled projects in which a user has a role, by name."""
    held = "(actor_id = :user OR actor_id IN (SELECT group_id FROM memberships WHERE user_id = :user))"
    inherits = db.execute(f"SELECT 1 FROM assignments WHERE inherited = 1 AND {held}", {"user": user_id}).fetchone()
    sql = f"SELECT DISTINCT target_id FROM assignments WHERE target_kind = 'project' AND inherited = 0 AND {held}"
    near = [] if inherits else [target for (target,) in db.execute(sql, {"user": user_id})]
    # roles from above may reach any project; without such, only those named in an assignment can count
    condition = "is_domain = 0" + ("" if inherits else f" AND id IN ({', '.join('?' for _ in near)})")
    return [
        project
        for project in PROJECTS.where(db, condition, near, order="name")
        if login.is_open(db, project) and rights.effective(db, user_id, Scope("project", project.id))
    ]


def domains_of(db: Db, user_id: str) -> list[Project]:
    """Enabled domains on which a user has a role, by name."""
    return [
        domain
        for domain in PROJECTS.where(db, "is_domain = 1 AND enabled = 1", order="name")
        if rights.effective(db, user_id, Scope("domain", domain.id))
    ]


def has_system(db: Db, user_id: str) -> bool:
    """Whether a user has a role on the system."""
    return bool(rights.effective(db, user_id, SYSTEM))


def credential_summary(db: Db, credential_id: str) -> dict[str, Any] | None:
    """What a token tells of the application credential that it was made by."""
    row = APPLICATION_CREDENTIALS.get(db, credential_id)
    if row is None:
        return None
    summary: dict[str, Any] = {"id": row.id, "name": row.name, "restricted": not row.unrestricted}
    if row.access_rule_ids is not None:
        found = [rule for rule in (ACCESS_RULES.get(db, one) for one in row.access_rule_ids) if rule]
        summary["access_rules"] = [
            {"id": rule.id, "service": rule.service, "method": rule.method, "path": rule.path} for rule in found
        ]
    return summary
