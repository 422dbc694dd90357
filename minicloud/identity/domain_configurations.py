"""A domain's own configuration: which driver keeps its users, and how that one reaches an LDAP server.

Kept and told as Keystone keeps it, so that tools which set it up find it again; this cloud keeps all users itself, so nothing in
here changes who may log in. Passwords in it are sealed like other secrets and never told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minicloud.core.errors import Forbidden, NotFound
from minicloud.core.store import Db
from minicloud.identity import projects
from minicloud.identity.tables import DEFAULT_DOMAIN, DOMAIN_CONFIGURATIONS, DomainConfiguration

if TYPE_CHECKING:
    from minicloud.identity import Identity

Options = dict[str, dict[str, Any]]
"""Group -> option -> value."""

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "identity": {"driver": "sql", "list_limit": None},
    "ldap": {
        "url": "ldap://localhost", "user": None, "suffix": "cn=example,cn=com", "query_scope": "one", "page_size": 0,
        "alias_dereferencing": "default", "debug_level": None, "chase_referrals": None, "user_tree_dn": None,
        "user_filter": None, "user_objectclass": "inetOrgPerson", "user_id_attribute": "cn", "user_name_attribute": "sn",
        "user_mail_attribute": "mail", "user_description_attribute": "description", "user_pass_attribute": "userPassword",
        "user_enabled_attribute": "enabled", "user_enabled_invert": False, "user_enabled_mask": 0,
        "user_enabled_default": "True", "user_attribute_ignore": ["default_project_id"],
        "user_default_project_id_attribute": None, "user_enabled_emulation": False, "user_enabled_emulation_dn": None,
        "user_enabled_emulation_use_group_config": False, "user_additional_attribute_mapping": [], "group_tree_dn": None,
        "group_filter": None, "group_objectclass": "groupOfNames", "group_id_attribute": "cn", "group_name_attribute": "ou",
        "group_members_are_ids": False, "group_member_attribute": "member", "group_desc_attribute": "description",
        "group_attribute_ignore": [], "group_additional_attribute_mapping": [], "tls_cacertfile": None, "tls_cacertdir": None,
        "use_tls": False, "tls_req_cert": "demand", "use_pool": True, "pool_size": 10, "pool_retry_max": 3,
        "pool_retry_delay": 0.1, "pool_connection_timeout": -1, "pool_connection_lifetime": 600, "use_auth_pool": True,
        "auth_pool_size": 100, "auth_pool_connection_lifetime": 60,
    },
}  # fmt: skip
"""Options that a domain may set, with the values that count where it doesn't (Keystone's configuration reference)."""

SECRETS = {("ldap", "password")}
"""Options that may be set too, and are never told."""


def refuse_unknown(group: str | None, option: str | None = None) -> None:
    """`Forbidden` for a group or option that no domain may set, as Keystone says it."""
    if group is None:
        return
    if group not in DEFAULTS:
        raise Forbidden(f"Cannot configure the group {group[:80]} for a domain: there are {', '.join(DEFAULTS)} only.")
    if option is not None and option not in DEFAULTS[group] and (group, option) not in SECRETS:
        raise Forbidden(f"Cannot configure {option[:80]} in the group {group} for a domain: there is no such option.")


def default(group: str | None = None, option: str | None = None) -> Mapping[str, Any]:
    """What counts without a configuration: by group, of one group, or of one option."""
    refuse_unknown(group, option)
    if group is None:
        return DEFAULTS
    if option is None:
        return {group: DEFAULTS[group]}
    return {option: DEFAULTS[group].get(option)}


def security_compliance(identity: Identity, domain_id: str, option: str | None = None) -> Mapping[str, Any]:
    """The operator's rules for passwords, which everybody may know; they are the cloud's, told at its default domain.

    Raises:
        Forbidden: another domain, or no such option.
    """
    rules = {
        "password_regex": identity.options.password_regex or None,
        "password_regex_description": identity.options.password_regex_description or None,
    }
    if domain_id != DEFAULT_DOMAIN:
        raise Forbidden(f"Cannot tell the rules for passwords of domain {domain_id}: the cloud's own are those of all.")
    if option is None:
        return {"security_compliance": rules}
    if option not in rules:
        raise Forbidden(f"Cannot tell {option[:80]}: there are {', '.join(rules)} only.")
    return {option: rules[option]}


def show(identity: Identity, domain_id: str, group: str | None = None, option: str | None = None) -> Mapping[str, Any]:
    """What a domain has set and may be told: by group, of one group, or of one option.

    Raises:
        Forbidden: no such group or option. NotFound: no such domain, or it has set nothing there.
    """
    refuse_unknown(group, option)
    row = identity.store.read(_need_in, domain_id)
    told = _told(row.options if row else {}, group)
    if option is not None:
        told = {name: value for name, value in told.get(group or "", {}).items() if name == option}
    if not told:
        raise _missing(domain_id, group, option)
    return told


def _need_in(db: Db, domain_id: str) -> DomainConfiguration | None:
    projects.need_domain_in(db, domain_id)
    return DOMAIN_CONFIGURATIONS.get(db, domain_id)


def _told(options: Options, group: str | None = None) -> Options:
    """Without secrets, and without groups of which nothing is left."""
    chosen = {name: kept for name, kept in options.items() if group in (None, name)}
    shown = {
        name: {option: value for option, value in kept.items() if (name, option) not in SECRETS}
        for name, kept in chosen.items()
    }
    return {name: kept for name, kept in shown.items() if kept}


def _missing(domain_id: str, group: str | None, option: str | None) -> NotFound:
    what = "any options" if group is None else f"group {group}" if option is None else f"{option} in group {group}"
    return NotFound(f"Could not find {what} in the configuration of domain {domain_id}.")


async def create(identity: Identity, domain_id: str, told: Mapping[str, Any]) -> tuple[Options, bool]:
    """Set a domain's configuration, instead of one that is there; what may be told of it, and whether there was none.

    Raises:
        Forbidden: no such group or option, or a group without any. NotFound: no such domain.
    """
    options = _sealed(identity, _checked(told))

    def insert(db: Db) -> bool:
        known = _need_in(db, domain_id)
        DOMAIN_CONFIGURATIONS.delete(db, domain_id)
        DOMAIN_CONFIGURATIONS.insert(db, DomainConfiguration(domain_id, options))
        return known is None

    fresh = await identity.write(insert)
    return _told(options), fresh


async def update(
    identity: Identity, domain_id: str, told: Mapping[str, Any], group: str | None = None, option: str | None = None
) -> Options:
    """Change some options: any, those of one group that is set, or one that is set; what may be told of all then.

    Raises:
        Forbidden: no such group or option, or the body is about another one. NotFound: it is not set.
    """
    refuse_unknown(group, option)
    body = {group: told} if group is not None and option is not None else told
    if group is not None and set(body) != {group}:
        raise Forbidden(f"Cannot change group {group}: the body must be about this group, and no other.")
    options = _sealed(identity, _checked(body))
    if option is not None and group is not None and set(options[group]) != {option}:
        raise Forbidden(f"Cannot change {option} in group {group}: the body must be about this option, and no other.")

    def change(db: Db) -> Options:
        row = _need_in(db, domain_id)
        kept = row.options if row else {}
        if group is not None and (group not in kept or (option is not None and option not in kept[group])):
            raise _missing(domain_id, group, option)
        merged = {name: {**kept.get(name, {}), **options.get(name, {})} for name in {**kept, **options}}
        DOMAIN_CONFIGURATIONS.delete(db, domain_id)
        DOMAIN_CONFIGURATIONS.insert(db, DomainConfiguration(domain_id, merged))
        return _told(merged)

    return await identity.write(change)


async def delete(identity: Identity, domain_id: str, group: str | None = None, option: str | None = None) -> None:
    """Forget all, one group or one option. `Forbidden`: no such group or option; `NotFound`: it is not set."""
    refuse_unknown(group, option)

    def remove(db: Db) -> None:
        row = _need_in(db, domain_id)
        kept = {name: dict(options) for name, options in row.options.items()} if row else {}
        there = kept if group is None else kept.get(group, {}) if option is None else option in kept.get(group, {})
        if not there:
            raise _missing(domain_id, group, option)
        if group is None:
            kept = {}
        elif option is None:
            del kept[group]
        else:
            del kept[group][option]
        DOMAIN_CONFIGURATIONS.delete(db, domain_id)
        kept = {name: options for name, options in kept.items() if options}
        if kept:
            DOMAIN_CONFIGURATIONS.insert(db, DomainConfiguration(domain_id, kept))

    await identity.write(remove)


def _checked(told: Mapping[str, Any]) -> Options:
    for group, options in told.items():
        refuse_unknown(group)
        if not isinstance(options, Mapping) or not options:
            raise Forbidden(f"Cannot configure the group {group}: it must be an object with at least one option.")
        for option in options:
            refuse_unknown(group, option)
    return {group: dict(options) for group, options in told.items()}


def _sealed(identity: Identity, options: Options) -> Options:
    for group, option in SECRETS:
        if option in options.get(group, {}):
            text = json.dumps(options[group][option]).encode()
            options[group][option] = identity.seal_keys.cipher.encrypt(text).decode()
    return options
