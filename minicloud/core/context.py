"""Who asks, in which scope, with which roles, and why we run: the first argument of every public service method.

Made from a token by the identity service, saved with every operation, so that long work goes on with its caller's rights.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any

DAEMON_USER = "minicloud"
"""User id of work that nobody asked for: reconcilers, timers."""


def new_request_id() -> str:
    """A request id as OpenStack services print it."""
    text = os.urandom(16).hex()  # a version 4 UUID; the class takes twice as long, and each request wants one
    return f"req-{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[int(text[16], 16) % 4]}{text[17:20]}-{text[20:]}"


@dataclass(frozen=True, slots=True)
class Context:
    """A caller.

    Attributes:
        project_id: scope of a project token; `domain_id` of a domain token; `system` of a system token; none of the
            three is an unscoped token.
        roles: names of the roles that count now, implied ones included.
        request_id: our id of this request; `global_request_id` the one that a client or a chain of services sent.
        audit_id: of the token, for the audit log; never the token itself.
        reason: "request", or what runs without one ("reconcile network", "operation server.create").
    """

    user_id: str
    request_id: str
    user_name: str = ""
    user_domain_id: str = "default"
    project_id: str | None = None
    project_name: str = ""
    project_domain_id: str = "default"
    domain_id: str | None = None
    system: bool = False
    roles: frozenset[str] = frozenset()
    global_request_id: str | None = None
    audit_id: str = ""
    reason: str = "request"

    @classmethod
    def internal(cls, reason: str, *, project_id: str | None = None, request_id: str | None = None) -> Context:
        """The daemon itself, with every right."""
        return cls(
            user_id=DAEMON_USER,
            user_name=DAEMON_USER,
            project_id=project_id,
            roles=frozenset({"admin", "manager", "member", "reader", "service"}),
            request_id=request_id or new_request_id(),
            reason=reason,
        )

    @property
    def is_admin(self) -> bool:
        """Holds the admin role in whatever scope."""
        return "admin" in self.roles

    def sees(self, project_id: str | None) -> bool:
        """Whether a thing of that project may be known to the caller: their own, or anyone's for an admin."""
        return self.is_admin or (project_id is not None and project_id == self.project_id)

    def to_json(self) -> dict[str, Any]:
        """As the journal keeps it."""
        return {**dataclasses.asdict(self), "roles": sorted(self.roles)}

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Context:
        """Back from the journal; fields that a newer version added take their defaults."""
        known = {field.name for field in dataclasses.fields(cls)}
        kept = {name: value for name, value in saved.items() if name in known}
        return cls(**{**kept, "roles": frozenset(saved.get("roles", ()))})
