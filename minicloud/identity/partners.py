"""Who else there is: identity providers with their protocols and mappings, other clouds (service providers), programs (OAuth 1.0a
consumers). They are set up and told as in Keystone, other clouds in tokens too; logging in by way of them is not offered.
"""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minicloud.core.errors import Conflict, Invalid
from minicloud.core.store import Db, Table
from minicloud.identity import projects
from minicloud.identity.nouns import Noun
from minicloud.identity.tables import (
    CONSUMERS,
    IDENTITY_PROVIDERS,
    MAPPINGS,
    PROJECTS,
    PROTOCOLS,
    SERVICE_PROVIDERS,
    Consumer,
    IdentityProvider,
    Project,
    Protocol,
    ServiceProvider,
)
from minicloud.identity.tables import Mapping as MappingRow

if TYPE_CHECKING:
    from minicloud.identity import Identity

ID = re.compile(r"[A-Za-z0-9_.~@:-]{1,64}")
RELAY_STATE = "ss:mem:"
"""Prefix of SAML's relay state where a service provider names none."""


def _check_provider(db: Db, row: IdentityProvider, changes: dict[str, Any]) -> None:
    if changes.pop("domain_id", row.domain_id) != row.domain_id:
        raise Invalid(f"Cannot move identity provider {row.id} to another domain.")
    _refuse_remote_ids_taken_in(db, changes.get("remote_ids", ()), but=row.id)


def _sweep_provider(db: Db, row: IdentityProvider) -> None:
    PROTOCOLS.delete_where(db, "provider_id = ?", (row.id,))


IDENTITY_PROVIDER = Noun(IDENTITY_PROVIDERS, "identity provider", check=_check_provider, sweep=_sweep_provider)
PROTOCOL = Noun(
    PROTOCOLS, "protocol", order="id", check=lambda db, row, changes: _need_mapping_in(db, changes.get("mapping_id"))
)
MAPPING = Noun(MAPPINGS, "mapping", check=lambda db, row, changes: _keep_version(row, changes))
SERVICE_PROVIDER = Noun(SERVICE_PROVIDERS, "service provider")
CONSUMER = Noun(CONSUMERS, "consumer")


def _keep_version(row: MappingRow, changes: dict[str, Any]) -> None:
    """A version of null is none: the one that it has stays."""
    if changes.get("schema_version") is None:
        changes["schema_version"] = row.schema_version


def _require_free_in(db: Db, table: Table[Any], key: str, name: str, chosen: str) -> None:
    """Refuse a key that is taken, and an id of the caller's choice that could not stand in a URL as it is."""
    if not ID.fullmatch(chosen):
        raise Invalid(f"Cannot create {name}: its id must have 1 to 64 letters, digits and characters of '-_.~@:'.")
    if table.get(db, key) is not None:
        raise Conflict(f"Cannot create {name} {key}: there is one with that id already.")


def _refuse_remote_ids_taken_in(db: Db, remote_ids: Sequence[str], *, but: str) -> None:
    for other in IDENTITY_PROVIDERS.where(db, "id != ?", (but,)) if remote_ids else ():
        shared = set(other.remote_ids) & set(remote_ids)
        if shared:
            raise Conflict(f"Cannot use the remote id {min(shared)}: identity provider {other.id} has it.")


def _need_mapping_in(db: Db, mapping_id: str | None) -> None:
    if mapping_id is not None and MAPPINGS.get(db, mapping_id) is None:
        raise Invalid(f"Cannot use mapping_id {mapping_id}: there is no such mapping.")


async def create_identity_provider(
    identity: Identity,
    *,
    provider_id: str,
    description: str | None = None,
    enabled: bool = False,
    domain_id: str | None = None,
    remote_ids: Sequence[str] = (),
    authorization_ttl: int | None = None,
) -> IdentityProvider:
    """A new one, with a domain of its own if none is named.

    Raises:
        Conflict: the id, the domain's name or a remote id is taken. NotFound: no such domain.
    """

    def insert(db: Db) -> IdentityProvider:
        _require_free_in(db, IDENTITY_PROVIDERS, provider_id, "identity provider", provider_id)
        _refuse_remote_ids_taken_in(db, remote_ids, but=provider_id)
        home = domain_id
        if home is None:
            projects.DOMAIN.refuse_taken_in(db, provider_id, None)
            words = f"Users of the identity provider {provider_id}"
            home = PROJECTS.insert(
                db, Project(uuid.uuid4().hex, provider_id, None, None, True, True, words, (), {}, {})
            ).id
        else:
            projects.need_domain_in(db, home)
        row = IdentityProvider(provider_id, description, enabled, home, tuple(remote_ids), authorization_ttl)
        return IDENTITY_PROVIDERS.insert(db, row)

    return await identity.write(insert)


def key_of(provider_id: str, protocol_id: str) -> str:
    """The key of a provider's protocol."""
    return f"{provider_id}/{protocol_id}"


async def create_protocol(identity: Identity, *, provider_id: str, protocol_id: str, mapping_id: str) -> Protocol:
    """A new one; `NotFound` for no such provider, `Invalid` for no such mapping, `Conflict` if the provider has it."""

    def insert(db: Db) -> Protocol:
        IDENTITY_PROVIDER.need_in(db, provider_id)
        _need_mapping_in(db, mapping_id)
        row = Protocol(key_of(provider_id, protocol_id), protocol_id, provider_id, mapping_id)
        _require_free_in(db, PROTOCOLS, row.key, "protocol", protocol_id)
        return PROTOCOLS.insert(db, row)

    return await identity.write(insert)


async def create_mapping(
    identity: Identity, *, mapping_id: str, rules: Sequence[Any], schema_version: str | None = None
) -> MappingRow:
    """A new one; `Conflict` if the id is taken."""

    def insert(db: Db) -> MappingRow:
        _require_free_in(db, MAPPINGS, mapping_id, "mapping", mapping_id)
        return MAPPINGS.insert(db, MappingRow(mapping_id, tuple(rules), schema_version or "1.0"))

    return await identity.write(insert)


async def create_service_provider(
    identity: Identity,
    *,
    provider_id: str,
    auth_url: str,
    sp_url: str,
    description: str | None = None,
    enabled: bool = False,
    relay_state_prefix: str | None = None,
) -> ServiceProvider:
    """A new one; `Conflict` if the id is taken."""
    row = ServiceProvider(provider_id, auth_url, sp_url, description, enabled, relay_state_prefix or RELAY_STATE)

    def insert(db: Db) -> ServiceProvider:
        _require_free_in(db, SERVICE_PROVIDERS, provider_id, "service provider", provider_id)
        return SERVICE_PROVIDERS.insert(db, row)

    return await identity.write(insert)


async def create_consumer(
    identity: Identity, *, description: str | None = None, extra: Mapping[str, Any] | None = None
) -> Consumer:
    """A new one with a secret of ours, see `secret_of`."""
    sealed = identity.seal_keys.cipher.encrypt(secrets.token_urlsafe(32).encode()).decode()
    return await identity.write(CONSUMERS.insert, Consumer(uuid.uuid4().hex, description, sealed, dict(extra or {})))


def secret_of(identity: Identity, row: Consumer) -> str:
    """A consumer's secret: told once, to whoever made it."""
    return identity.seal_keys.cipher.decrypt(row.sealed.encode()).decode()


def told_in_tokens(db: Db) -> list[dict[str, str]]:
    """The enabled service providers, as tokens tell them."""
    rows = SERVICE_PROVIDERS.where(db, "enabled = 1", order="id")
    return [{"id": row.id, "auth_url": row.auth_url, "sp_url": row.sp_url} for row in rows]
