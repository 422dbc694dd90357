"""The schema and the rows of the identity service: who there is, what they may, where the services are.

Domains are projects that act as domains, in one table, as the API says they are. Attributes that clients send and
nobody knows (`email`) are kept in `extra`. Read and written by the noun files beside this one only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minicloud.core.migrations import Migrations
from minicloud.core.store import Table

if TYPE_CHECKING:
    from sqlite_utils import Database

migrations = Migrations("identity")

DEFAULT_DOMAIN = "default"
"""Id of the domain that is there from the first start on."""


@migrations()
def m001_who_may_what_where(db: Database) -> None:
    db["projects"].create(
        {
            "id": str, "name": str, "domain_id": str, "parent_id": str, "is_domain": int, "enabled": int,
            "description": str, "tags": str, "options": str, "extra": str,
        },
        pk="id",
    )  # fmt: skip
    db.execute("CREATE UNIQUE INDEX projects_by_name ON projects (coalesce(domain_id, ''), name)")
    db["projects"].create_index(["parent_id"])
    db["users"].create(
        {
            "id": str, "name": str, "domain_id": str, "enabled": int, "default_project_id": str, "password_hash": str,
            "generation": int, "options": str, "extra": str,
        },
        pk="id",
    )  # fmt: skip
    db["users"].create_index(["domain_id", "name"], unique=True)
    db["groups"].create({"id": str, "name": str, "domain_id": str, "description": str, "extra": str}, pk="id")
    db["groups"].create_index(["domain_id", "name"], unique=True)
    db["memberships"].create({"group_id": str, "user_id": str}, pk=("group_id", "user_id"))
    db["memberships"].create_index(["user_id"])
    db["roles"].create(
        {"id": str, "name": str, "domain_id": str, "description": str, "options": str, "extra": str}, pk="id"
    )
    db.execute("CREATE UNIQUE INDEX roles_by_name ON roles (coalesce(domain_id, ''), name)")
    db["role_implications"].create(
        {"prior_role_id": str, "implied_role_id": str}, pk=("prior_role_id", "implied_role_id")
    )
    whole = ("actor_kind", "actor_id", "target_kind", "target_id", "role_id", "inherited")
    db["assignments"].create(
        {
            "actor_kind": str, "actor_id": str, "target_kind": str, "target_id": str, "role_id": str, "inherited": int,
        },
        pk=whole,
    )  # fmt: skip
    db["assignments"].create_index(["target_kind", "target_id"])
    db["regions"].create({"id": str, "description": str, "parent_region_id": str, "extra": str}, pk="id")
    db["services"].create(
        {"id": str, "type": str, "name": str, "description": str, "enabled": int, "extra": str}, pk="id"
    )
    db["endpoints"].create(
        {
            "id": str, "service_id": str, "region_id": str, "interface": str, "url": str, "enabled": int, "extra": str,
        },
        pk="id",
    )  # fmt: skip
    db["endpoints"].create_index(["service_id"])
    db["revocations"].create({"audit_id": str, "expires_at": str}, pk="audit_id")


@migrations()
def m002_secrets_of_users(db: Database) -> None:
    db["credentials"].create(
        {"id": str, "user_id": str, "project_id": str, "type": str, "sealed": str, "extra": str}, pk="id"
    )
    db["credentials"].create_index(["user_id"])
    db["access_rules"].create({"id": str, "user_id": str, "service": str, "method": str, "path": str}, pk="id")
    db["access_rules"].create_index(["user_id"])
    db["application_credentials"].create(
        {
            "id": str, "name": str, "user_id": str, "project_id": str, "description": str, "secret_hash": str,
            "role_ids": str, "expires_at": str, "unrestricted": int, "access_rule_ids": str,
        },
        pk="id",
    )  # fmt: skip
    db["application_credentials"].create_index(["user_id", "name"], unique=True)


@migrations()
def m003_trusts_and_policies(db: Database) -> None:
    db["trusts"].create(
        {
            "id": str, "trustor_user_id": str, "trustee_user_id": str, "project_id": str, "impersonation": int,
            "role_ids": str, "expires_at": str, "remaining_uses": int,
        },
        pk="id",
    )  # fmt: skip
    db["trusts"].create_index(["trustor_user_id"])
    db["trusts"].create_index(["trustee_user_id"])
    db["policies"].create({"id": str, "type": str, "blob": str, "extra": str}, pk="id")


@migrations()
def m004_unified_limits(db: Database) -> None:
    common = {"id": str, "service_id": str, "region_id": str, "resource_name": str, "description": str}
    db["registered_limits"].create({**common, "default_limit": int}, pk="id")
    db["limits"].create({**common, "project_id": str, "domain_id": str, "resource_limit": int}, pk="id")


@migrations()
def m005_filters_configurations_and_ends_of_passwords(db: Database) -> None:
    db["endpoint_groups"].create({"id": str, "name": str, "description": str, "filters": str, "extra": str}, pk="id")
    pairs = {"project_id": str, "endpoint_group_id": str}, {"project_id": str, "endpoint_id": str}
    for name, columns in zip(("project_endpoint_groups", "project_endpoints"), pairs, strict=True):
        db[name].create(columns, pk=tuple(columns))
    db["policy_associations"].create({"policy_id": str, "endpoint_id": str, "service_id": str, "region_id": str})
    target = ["endpoint_id", "service_id", "region_id"]
    db["policy_associations"].create_index(target, unique=True)
    db["domain_configurations"].create({"id": str, "options": str}, pk="id")
    db["trusts"].add_column("redelegated_trust_id", str)
    db["trusts"].add_column("redelegation_count", int, not_null_default=0)
    db["trusts"].create_index(["redelegated_trust_id"])
    db["users"].add_column("password_expires_at", str)


@migrations()
def m006_partners(db: Database) -> None:
    db["identity_providers"].create(
        {
            "id": str, "description": str, "enabled": int, "domain_id": str, "remote_ids": str, "authorization_ttl": int,
        },
        pk="id",
    )  # fmt: skip
    db["protocols"].create({"key": str, "id": str, "provider_id": str, "mapping_id": str}, pk="key")
    db["protocols"].create_index(["provider_id"])
    db["mappings"].create({"id": str, "rules": str, "schema_version": str}, pk="id")
    db["service_providers"].create(
        {
            "id": str, "auth_url": str, "sp_url": str, "description": str, "enabled": int, "relay_state_prefix": str,
        },
        pk="id",
    )  # fmt: skip
    db["consumers"].create({"id": str, "description": str, "sealed": str, "extra": str}, pk="id")


@dataclass(frozen=True, slots=True)
class Project:
    """A project, or a domain (`is_domain`; then both ids are None). A top project's parent is its domain."""

    id: str
    name: str
    domain_id: str | None
    parent_id: str | None
    is_domain: bool
    enabled: bool
    description: str
    tags: tuple[str, ...]
    options: dict[str, Any]
    extra: dict[str, Any]


@dataclass(frozen=True, slots=True)
class User:
    """A user. Tokens bear the `generation` of their making: raising it ends all of them at once, however young."""

    id: str
    name: str
    domain_id: str
    enabled: bool
    default_project_id: str | None
    password_hash: str | None
    generation: int
    options: dict[str, Any]
    extra: dict[str, Any]
    password_expires_at: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Users who get roles together."""

    id: str
    name: str
    domain_id: str
    description: str
    extra: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Role:
    """A role. One with a domain never counts by itself, only by the global roles that it implies."""

    id: str
    name: str
    domain_id: str | None
    description: str | None
    options: dict[str, Any]
    extra: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Assignment:
    """A role of an actor ("user", "group") on a target ("project", "domain", "system" with the id "all").

    `inherited`: not on the target itself but on all projects below it.
    """

    actor_kind: str
    actor_id: str
    target_kind: str
    target_id: str
    role_id: str
    inherited: bool


@dataclass(frozen=True, slots=True)
class Region:
    """A place of endpoints."""

    id: str
    description: str
    parent_region_id: str | None
    extra: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CatalogService:
    """A service in the catalogue."""

    id: str
    type: str
    name: str
    description: str
    enabled: bool
    extra: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a service is. The cloud's own have URLs that begin with `catalog.HERE`."""

    id: str
    service_id: str
    region_id: str | None
    interface: str
    url: str
    enabled: bool
    extra: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret that a user keeps here (EC2 keys, a second factor); `sealed` is its text under the key on disk."""

    id: str
    user_id: str
    project_id: str | None
    type: str
    sealed: str
    extra: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AccessRule:
    """A request that an application credential may make."""

    id: str
    user_id: str
    service: str
    method: str
    path: str


@dataclass(frozen=True, slots=True)
class ApplicationCredential:
    """A part of a user's roles on one project, for a program. `access_rule_ids` None: any request."""

    id: str
    name: str
    user_id: str
    project_id: str
    description: str | None
    secret_hash: str
    role_ids: tuple[str, ...]
    expires_at: str | None
    unrestricted: bool
    access_rule_ids: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Trust:
    """Some of the trustor's roles on a project, lent to the trustee; `impersonation`: acting as the trustor.

    `redelegated_trust_id` is the trust that this one lends on from; `redelegation_count` how often this one may be lent on.
    """

    id: str
    trustor_user_id: str
    trustee_user_id: str
    project_id: str
    impersonation: bool
    role_ids: tuple[str, ...]
    expires_at: str | None
    remaining_uses: int | None
    redelegated_trust_id: str | None = None
    redelegation_count: int = 0


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """A text that some other service once fetched its policy from; kept, never read by this cloud."""

    id: str
    type: str
    blob: Any
    extra: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EndpointGroup:
    """Endpoints that have attributes in common: those that match all of the filters."""

    id: str
    name: str
    description: str | None
    filters: dict[str, Any]
    extra: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DomainConfiguration:
    """What a domain's own configuration says, by group and option; `id` is the domain's. Secrets in it are sealed."""

    id: str
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class IdentityProvider:
    """Somebody else who knows users; those would be in the domain."""

    id: str
    description: str | None
    enabled: bool
    domain_id: str
    remote_ids: tuple[str, ...]
    authorization_ttl: int | None


@dataclass(frozen=True, slots=True)
class Protocol:
    """How an identity provider is spoken with, and which mapping reads what it says. `key` is both ids, "provider/protocol"."""

    key: str
    id: str
    provider_id: str
    mapping_id: str


@dataclass(frozen=True, slots=True)
class Mapping:
    """Rules that make a local user and groups of what an identity provider says."""

    id: str
    rules: tuple[Any, ...]
    schema_version: str


@dataclass(frozen=True, slots=True)
class ServiceProvider:
    """Another cloud, told to the users of this one in their tokens while it is enabled."""

    id: str
    auth_url: str
    sp_url: str
    description: str | None
    enabled: bool
    relay_state_prefix: str


@dataclass(frozen=True, slots=True)
class Consumer:
    """A program known by a key (its id) and a secret, as OAuth 1.0a calls it; `sealed` is the secret under the key on disk."""

    id: str
    description: str | None
    sealed: str
    extra: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RegisteredLimit:
    """The default limit of a service's resource."""

    id: str
    service_id: str
    region_id: str | None
    resource_name: str
    description: str | None
    default_limit: int


@dataclass(frozen=True, slots=True)
class Limit:
    """Another limit of a registered one, for one project or one domain."""

    id: str
    service_id: str
    region_id: str | None
    resource_name: str
    description: str | None
    project_id: str | None
    domain_id: str | None
    resource_limit: int


PROJECTS = Table("projects", Project, noun="Project")
USERS = Table("users", User, noun="User")
GROUPS = Table("groups", Group, noun="Group")
ROLES = Table("roles", Role, noun="Role")
ASSIGNMENTS = Table("assignments", Assignment, key="role_id", noun="Role assignment")
REGIONS = Table("regions", Region, noun="Region")
SERVICES = Table("services", CatalogService, noun="Service")
ENDPOINTS = Table("endpoints", Endpoint, noun="Endpoint")
CREDENTIALS = Table("credentials", Credential, noun="Credential")
ACCESS_RULES = Table("access_rules", AccessRule, noun="Access rule")
APPLICATION_CREDENTIALS = Table("application_credentials", ApplicationCredential, noun="Application credential")
TRUSTS = Table("trusts", Trust, noun="Trust")
POLICIES = Table("policies", StoredPolicy, noun="Policy")
ENDPOINT_GROUPS = Table("endpoint_groups", EndpointGroup, noun="Endpoint group")
DOMAIN_CONFIGURATIONS = Table("domain_configurations", DomainConfiguration, noun="Domain configuration")
IDENTITY_PROVIDERS = Table("identity_providers", IdentityProvider, noun="Identity provider")
PROTOCOLS = Table("protocols", Protocol, key="key", noun="Protocol")
MAPPINGS = Table("mappings", Mapping, noun="Mapping")
SERVICE_PROVIDERS = Table("service_providers", ServiceProvider, noun="Service provider")
CONSUMERS = Table("consumers", Consumer, noun="Consumer")
REGISTERED_LIMITS = Table("registered_limits", RegisteredLimit, noun="Registered limit")
LIMITS = Table("limits", Limit, noun="Limit")
