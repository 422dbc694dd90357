"""Subnet pools: prefixes out of which subnets are cut, so that they don't overlap; and address scopes around them.

Called by `api/subnetpools.py`, and by `subnets.create_in` for a subnet that names a pool or no range at all.
"""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Invalid, OverQuota
from minicloud.core.store import Db
from minicloud.network import addresses, standing
from minicloud.network.tables import (
    ADDRESS_SCOPES,
    RBAC_POLICIES,
    SUBNETPOOLS,
    SUBNETS,
    NetworkRow,
    RbacPolicy,
    SubnetPool,
)

if TYPE_CHECKING:
    from minicloud.network import Network

NOT_FOUND = "SubnetPoolNotFound"
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


async def create(service: Network, ctx: Context, many: Sequence[Mapping[str, Any]]) -> list[SubnetPool]:
    """Make pools, all or none.

    Raises:
        Invalid: prefixes of both versions or none, lengths that contradict each other, a second default pool.
        NotFound: the address scope. Conflict: it has a pool with overlapping prefixes. OverQuota.
    """

    def write(db: Db) -> list[SubnetPool]:
        return [_create_in(db, service, ctx, values) for values in many]

    return await service.store.write(write)


def _create_in(db: Db, service: Network, ctx: Context, values: Mapping[str, Any]) -> SubnetPool:
    project_id = standing.project_of(ctx, values)
    service.quotas.check_in(db, project_id, subnetpool=1)
    prefixes = compact(values["prefixes"])
    version = prefixes[0].version
    given = {key: value for key, value in values.items() if key in SUBNETPOOLS.columns and value is not None}
    shortest = given.get("min_prefixlen", 8 if version == 4 else 64)
    row = SubnetPool(
        **standing.fresh(
            service.clock,
            {
                "max_prefixlen": 32 if version == 4 else 128, "is_default": False, "default_quota": None,
                "address_scope_id": None, **given, "project_id": project_id, "ip_version": version,
                "prefixes": [str(one) for one in prefixes], "min_prefixlen": shortest,
                "default_prefixlen": given.get("default_prefixlen", shortest),
            },
        )
    )  # fmt: skip
    _check(db, ctx, row)
    SUBNETPOOLS.insert(db, row)
    if values.get("shared"):
        share_in(db, row)
    return row


async def update(
    service: Network, ctx: Context, pool_id: str, values: Mapping[str, Any], revision: int | None = None
) -> SubnetPool:
    """Change a pool; its prefixes may only grow (`IllegalSubnetPoolPrefixUpdate`)."""

    def write(db: Db) -> SubnetPool:
        row = standing.owned_in(db, ctx, SUBNETPOOLS, pool_id, NOT_FOUND)
        standing.require_revision(row, revision)
        given = {key: value for key, value in values.items() if key in SUBNETPOOLS.columns}
        if given.get("prefixes") is not None:
            _require_own_scope(db, ctx, row)
            prefixes = compact(given["prefixes"])
            if prefixes[0].version != row.ip_version:
                raise Invalid("Cannot change the IP version of a subnet pool.", code="PrefixVersionMismatch")
            for old in row.prefixes:
                if not any(ipaddress.ip_network(old).subnet_of(new) for new in prefixes):  # type: ignore[arg-type]
                    raise Invalid(f"Cannot take {old} out of a subnet pool.", code="IllegalSubnetPoolPrefixUpdate")
            given["prefixes"] = [str(one) for one in prefixes]
        nullable = ("default_quota", "address_scope_id")
        given = {key: value for key, value in given.items() if value is not None or key in nullable}
        row = standing.changed_in(db, service.clock, SUBNETPOOLS, row, given)
        _check(db, ctx, row)
        return row

    return await service.store.write(write)


async def change_prefixes(
    service: Network, ctx: Context, pool_id: str, *, added: Sequence[str] = (), removed: Sequence[str] = ()
) -> SubnetPool:
    """Put prefixes into a pool or take them out.

    Raises:
        Conflict: subnets have been cut out of a prefix that is to go.
    """

    def write(db: Db) -> SubnetPool:
        row = standing.owned_in(db, ctx, SUBNETPOOLS, pool_id, NOT_FOUND)
        prefixes: list[IpNetwork] = list(map(ipaddress.ip_network, row.prefixes))
        for gone in compact(removed) if removed else ():
            if any(gone.overlaps(used) for used in _used_in(db, row)):  # type: ignore[arg-type]
                raise Conflict(
                    f"Cannot take {gone} out of pool {row.id}: subnets use it.", code="IllegalSubnetPoolPrefixUpdate"
                )
            prefixes = _without(prefixes, gone)
        kept = compact([*map(str, prefixes), *added])
        row = standing.changed_in(db, service.clock, SUBNETPOOLS, row, {"prefixes": [str(one) for one in kept]})
        _check(db, ctx, row)
        return row

    return await service.store.write(write)


async def delete(service: Network, ctx: Context, pool_id: str, revision: int | None = None) -> None:
    """Remove a pool. Raises `Conflict` while subnets were cut out of it (`SubnetPoolDeleteError`)."""

    def write(db: Db) -> None:
        row = standing.owned_in(db, ctx, SUBNETPOOLS, pool_id, NOT_FOUND)
        standing.require_revision(row, revision)
        if SUBNETS.count(db, "subnetpool_id = ?", (row.id,)):
            raise Conflict(
                f"Cannot delete subnet pool {row.id}: subnets were cut out of it.", code="SubnetPoolDeleteError"
            )
        RBAC_POLICIES.delete_where(db, "object_id = ?", (row.id,))
        SUBNETPOOLS.delete(db, row.id)

    await service.store.write(write)


def cut_in(
    db: Db, ctx: Context, network: NetworkRow, project_id: str, values: Mapping[str, Any]
) -> tuple[str | None, str]:
    """The pool and the range of a new subnet: the range asked for, or the next free one of the pool.

    Raises:
        Invalid: neither range nor pool; a prefix length out of the pool's bounds; a range beyond it or in use.
        OverQuota: the pool's own quota for a project is used up.
    """
    pool_id, cidr, length = values.get("subnetpool_id"), values.get("cidr"), values.get("prefixlen")
    if values.get("use_default_subnetpool") and pool_id is None:
        pool = SUBNETPOOLS.first(db, "is_default = 1 AND ip_version = ?", (values["ip_version"],))
        if pool is None:
            raise Invalid(
                f"Cannot use the default pool: there is none for IPv{values['ip_version']}.", code="BadRequest"
            )
        pool_id = pool.id
    if pool_id is None:
        if cidr is None:
            raise Invalid(
                "Bad subnets request: a subnetpool must be specified in the absence of a cidr.", code="BadRequest"
            )
        return None, cidr
    pool = standing.visible_in(db, ctx, SUBNETPOOLS, pool_id, NOT_FOUND)
    if pool.ip_version != values["ip_version"]:
        raise Invalid(f"Cannot use pool {pool.id}: its addresses are IPv{pool.ip_version}.", code="BadRequest")
    if cidr is not None and length is not None:
        raise Invalid("Cannot use both cidr and prefixlen.", code="BadRequest")
    siblings = SUBNETS.where(db, "network_id = ? AND ip_version = ?", (network.id, pool.ip_version))
    if any(one.subnetpool_id != pool.id for one in siblings):
        raise Invalid(
            "Subnets hosted on the same network must be allocated from the same subnet pool.",
            code="NetworkSubnetPoolAffinityError",
        )
    used, prefixes = _used_in(db, pool), [ipaddress.ip_network(one) for one in pool.prefixes]
    if cidr is not None:
        ranged: IpNetwork | None = _asked(cidr)
        assert ranged is not None
        _check_length(pool, ranged.prefixlen)
        inside = any(ranged.version == one.version and ranged.subnet_of(one) for one in prefixes)  # type: ignore[arg-type]
        if not inside or any(ranged.overlaps(one) for one in used):  # type: ignore[arg-type]
            raise Invalid(
                f"Cannot cut {ranged} out of pool {pool.id}: it is not free there.", code="SubnetAllocationError"
            )
    else:
        wanted = pool.default_prefixlen if length is None else length
        _check_length(pool, wanted)
        ranged = _next_free(prefixes, used, wanted)
        if ranged is None:
            raise Invalid(
                f"Cannot cut a /{wanted} out of pool {pool.id}: it has none left.", code="SubnetAllocationError"
            )
    _check_pool_quota(db, pool, project_id, ranged)
    return pool.id, str(ranged)


def _asked(cidr: str) -> IpNetwork:
    try:
        return addresses.range_of(cidr)
    except ValueError:
        raise Invalid(f"Cannot use {cidr[:80]}: it is not in CIDR form.", code="InvalidInput") from None


def share_in(db: Db, row: Any, kind: str = "subnetpool") -> None:
    """Let all projects use a pool (or address scope)."""
    RBAC_POLICIES.insert(db, RbacPolicy(str(uuid.uuid4()), row.project_id, kind, row.id, standing.SHARED, "*"))


def compact(prefixes: Sequence[str]) -> list[IpNetwork]:
    """Prefixes of one IP version, merged and in order. Raises `Invalid` for none, or for a mixture."""
    try:
        parsed = [addresses.range_of(one) for one in prefixes]
    except ValueError as error:
        raise Invalid(f"Cannot use prefixes: {error}.", code="InvalidInput") from None
    if not parsed:
        raise Invalid("Cannot make a subnet pool without prefixes.", code="EmptySubnetPoolPrefixList")
    if len({one.version for one in parsed}) > 1:
        raise Invalid("Cannot mix IPv4 and IPv6 prefixes in one subnet pool.", code="PrefixVersionMismatch")
    return list(ipaddress.collapse_addresses(parsed))  # type: ignore[type-var]


def _without(prefixes: Sequence[IpNetwork], gone: IpNetwork) -> list[IpNetwork]:
    kept: list[IpNetwork] = []
    for one in prefixes:
        if one.version != gone.version or not one.overlaps(gone):  # type: ignore[arg-type]
            kept.append(one)
        elif gone.subnet_of(one) and gone != one:  # type: ignore[arg-type]
            kept += one.address_exclude(gone)  # type: ignore[arg-type]
    return kept


def _check(db: Db, ctx: Context, row: SubnetPool) -> None:
    longest = 32 if row.ip_version == 4 else 128
    if not row.min_prefixlen <= row.default_prefixlen <= row.max_prefixlen <= longest:
        raise Invalid(
            f"Cannot use prefix lengths {row.min_prefixlen} (min), {row.default_prefixlen} (default) and"
            f" {row.max_prefixlen} (max): they must rise and be at most {longest}.",
            code="IllegalSubnetPoolPrefixBounds",
        )
    if row.is_default and SUBNETPOOLS.count(
        db, "is_default = 1 AND ip_version = ? AND id != ?", (row.ip_version, row.id)
    ):
        raise Invalid(f"Cannot make this the default pool: there is one for IPv{row.ip_version}.", code="InvalidInput")
    if row.address_scope_id is None:
        return
    scope = standing.visible_in(db, ctx, ADDRESS_SCOPES, row.address_scope_id, "AddressScopeNotFound")
    if scope.ip_version != row.ip_version:
        raise Invalid(
            f"Cannot use address scope {scope.id}: it is IPv{scope.ip_version}.",
            code="IllegalSubnetPoolIpVersionAssociation",
        )
    own = [ipaddress.ip_network(one) for one in row.prefixes]
    for other in SUBNETPOOLS.where(db, "address_scope_id = ? AND id != ?", (scope.id, row.id)):
        if any(one.overlaps(ipaddress.ip_network(text)) for one in own for text in other.prefixes):  # type: ignore[arg-type]
            raise Conflict(
                f"Cannot use these prefixes: pool {other.id} of the same scope has them.",
                code="AddressScopePrefixConflict",
            )


def _require_own_scope(db: Db, ctx: Context, row: SubnetPool) -> None:
    scope = ADDRESS_SCOPES.get(db, row.address_scope_id)
    if scope is not None and not ctx.sees(scope.project_id):
        raise Invalid(
            f"Cannot change the prefixes of pool {row.id}: its address scope {scope.id} is another project's.",
            code="IllegalSubnetPoolUpdate",
        )


def _used_in(db: Db, pool: SubnetPool) -> list[IpNetwork]:
    return [ipaddress.ip_network(one.cidr) for one in SUBNETS.where(db, "subnetpool_id = ?", (pool.id,))]


def _check_length(pool: SubnetPool, length: int) -> None:
    if not pool.min_prefixlen <= length <= pool.max_prefixlen:
        raise Invalid(
            f"Cannot cut a /{length} out of pool {pool.id}: from /{pool.min_prefixlen} to /{pool.max_prefixlen} it is allowed.",
            code="MinPrefixSubnetAllocationError" if length < pool.min_prefixlen else "MaxPrefixSubnetAllocationError",
        )


def _next_free(prefixes: Sequence[IpNetwork], used: Sequence[IpNetwork], length: int) -> IpNetwork | None:
    """The lowest free range of a length: walks from used range to used range, not from address to address."""
    for prefix in prefixes:
        if length < prefix.prefixlen:
            continue
        size, kind = 1 << (prefix.max_prefixlen - length), type(prefix)
        at, end = int(prefix.network_address), int(prefix.broadcast_address)
        taken = sorted(
            (int(one.network_address), int(one.broadcast_address)) for one in used if one.version == prefix.version
        )
        for low, high in taken:
            if low >= at + size or high < at:
                continue
            at = -(-(high + 1) // size) * size
        if at + size - 1 <= end:
            return kind((at, length))
    return None


def _check_pool_quota(db: Db, pool: SubnetPool, project_id: str, ranged: IpNetwork) -> None:
    if pool.default_quota is None:
        return
    unit = 32 if pool.ip_version == 4 else 64
    own = SUBNETS.where(db, "subnetpool_id = ? AND project_id = ?", (pool.id, project_id))
    used = sum(1 << max(0, unit - ipaddress.ip_network(one.cidr).prefixlen) for one in own)
    if used + (1 << max(0, unit - ranged.prefixlen)) > pool.default_quota:
        raise OverQuota(f"Quota exceeded for subnet pool {pool.id}: {used} of {pool.default_quota} used.")
