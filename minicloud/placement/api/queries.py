"""The query language of Placement: `resources=VCPU:1,...`, `required=A,!B`, `member_of=in:...`, with and without suffixes.

Grammar and microversions: API reference of "List allocation candidates" and "List resource providers".
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Container, Sequence

from multidict import MultiMapping

from minicloud.api.route import Call
from minicloud.api.schema import FORMATS
from minicloud.core.errors import Invalid
from minicloud.core.store import Db
from minicloud.placement import resource_classes, traits
from minicloud.placement.candidates import Group, Request

BAD_VALUE = "placement.query.bad_value"
MISSING_VALUE = "placement.query.missing_value"
DUPLICATE_KEY = "placement.query.duplicate_key"
MULTIPLE_MEMBER_OF = "Multiple member_of parameters are not supported in the specified microversion."
_AMOUNT = re.compile(r"^[1-9][0-9]{0,9}\Z")
_NUMBERED = re.compile(r"^(resources|required|member_of|in_tree)([1-9][0-9]*)?\Z")
_NAMED = re.compile(r"^(resources|required|member_of|in_tree)([a-zA-Z0-9_-]{1,64})?\Z")
_SUFFIX = re.compile(r"^[a-zA-Z0-9_-]{1,64}\Z")


def allow(query: MultiMapping[str], names: Container[str], regexes: str = "of this operation's parameters") -> None:
    """Raise `Invalid` for a parameter that this operation hasn't (at this microversion); clients match on `regexes`."""
    for name in query:
        if name not in names:
            raise Invalid(
                f"Invalid query string parameters: Additional properties are not allowed ({name[:80]!r} was unexpected), "
                f"as {name[:80]!r} does not match any of the regexes: {regexes}."
            )


def uuid_of(text: str, name: str) -> str:
    """A UUID as text with dashes; `Invalid` for anything else."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise Invalid(
            f"Invalid query string parameters: Expected '{name}' parameter to be a format of uuid. Got: {text[:80]!r}"
        ) from None


def resources(db: Db, text: str) -> dict[str, int]:
    """`VCPU:1,DISK_GB:10`."""
    found: dict[str, int] = {}
    for entry in text.split(","):
        name, separator, amount = (part.strip() for part in entry.partition(":"))
        if not separator or not name:
            raise Invalid(
                "Badly formed resources parameter. Expected resources query string parameter in form: "
                f"?resources=VCPU:2,MEMORY_MB:1024. Got: {entry[:80] if text else 'empty string'}."
            )
        if not _AMOUNT.match(amount):
            whole = amount.removeprefix("-").isdigit()
            raise Invalid(
                f"Requested resource {name[:255]} requires amount >= 1. Got: {amount[:40]}."
                if whole
                else f"Requested resource {name[:255]} expected positive integer amount. Got: {amount[:40]}."
            )
        if not resource_classes.exists(db, name):
            raise Invalid(f"Invalid resource class in resources parameter: No such resource class {name[:255]}.")
        found[name] = int(amount)
    return found


def required(
    db: Db, texts: Sequence[str], *, forbidding: bool, any_of: bool, name: str = "required"
) -> tuple[tuple[frozenset[str], ...], frozenset[str]]:
    """Traits that must and that must not be there: `A,!B`, and from 1.39 on `in:A,B` and the parameter repeated."""
    wanted: list[frozenset[str]] = []
    unwanted: set[str] = set()
    for text in texts:
        if text.startswith("in:"):
            names = [one.strip() for one in text.removeprefix("in:").split(",")]
            if not any_of:
                raise Invalid(
                    f"Invalid query string parameters: The format 'in:HW_CPU_X86_VMX,CUSTOM_MAGIC' only supported since "
                    f"microversion 1.39. Got: {text[:80]}"
                )
            if any(not one or one.startswith("!") for one in names):
                raise _malformed(text, name, "in:HW_CPU_X86_VMX,CUSTOM_MAGIC")
            wanted.append(frozenset(names))
            continue
        for one in map(str.strip, text.split(",")):
            plain = one.removeprefix("!") if forbidding else one
            if not plain or plain.startswith("!"):
                raise _malformed(text, name, f"HW_CPU_X86_VMX,{'!' if forbidding else ''}CUSTOM_MAGIC")
            if plain == one:
                wanted.append(frozenset({one}))
            else:
                unwanted.add(plain)
    both = sorted({", ".join(sorted(names)) for names in wanted if names <= unwanted})
    if both:
        where = name if name == "root_required" else f"the following traits keys: {name}"
        raise Invalid(f"Conflicting required and forbidden traits found in {where}: {', '.join(both)}", code=BAD_VALUE)
    traits.need(db, {one for names in wanted for one in names} | unwanted)
    return tuple(wanted), frozenset(unwanted)


def _malformed(text: str, name: str, form: str) -> Invalid:
    return Invalid(
        f"Invalid query string parameters: Expected '{name}' parameter value of the form: {form}. Got: {text[:80]}"
    )


def member_of(texts: Sequence[str], *, forbidding: bool) -> tuple[tuple[frozenset[str], ...], frozenset[str]]:
    """Aggregates of which a provider must, and must not, be a member: `A`, `in:A,B`, `!A`, `!in:A,B`."""
    wanted: list[frozenset[str]] = []
    unwanted: set[str] = set()
    for text in texts:
        if text.startswith("!") and not forbidding:
            raise Invalid("Forbidden member_of parameters are not supported in the specified microversion.")
        plain = text.removeprefix("!")
        names = plain.removeprefix("in:").split(",")
        if len(names) > 1 and not plain.startswith("in:"):
            raise Invalid(
                "Multiple values for 'member_of' must be prefixed with the 'in:' or '!in:' keyword using the valid "
                f"microversion. Got: {text[:80]!r}"
            )
        if not all(FORMATS["uuid"](one) for one in names):
            raise Invalid(
                "Invalid query string parameters: Expected 'member_of' parameter to contain valid UUID(s). "
                f"Got: {text[:80]!r}"
            )
        found = frozenset(names)
        if text.startswith("!"):
            unwanted |= found
        else:
            wanted.append(found)
    return tuple(wanted), frozenset(unwanted)


def one_of(query: MultiMapping[str], name: str) -> list[str]:
    """A parameter that counts once: its last value."""
    return query.getall(name, [])[-1:]


def request(db: Db, call: Call) -> Request:
    """The whole query of allocation candidates."""
    query, at = call.query, call.at_least
    allow(query, _Known(call), _regexes(call))
    if not at(1, 24) and len(query.getall("member_of", [])) > 1:
        raise Invalid(MULTIPLE_MEMBER_OF)
    suffixes = list(dict.fromkeys(suffix for name in query if (suffix := _split(call, name)) is not None))
    same_subtrees = _same_subtrees(call)
    named = {suffix for one in same_subtrees for suffix in one}
    _refuse_orphans(call, suffixes, named)
    groups = [_group(db, call, suffix) for suffix in suffixes]
    unknown = sorted(named - set(suffixes))
    if unknown:
        raise Invalid(
            f"Real suffixes should be specified in `same_subtree`: {', '.join(unknown)[:200]} has no request group.",
            code=BAD_VALUE,
        )
    root_wanted, root_unwanted = _root_required(db, query)
    return Request(
        groups=groups,
        isolate=_isolate(query, groups),
        limit=_limit(query),
        root_required=root_wanted,
        root_forbidden=root_unwanted,
        same_subtrees=same_subtrees,
        nested=at(1, 29),
    )


def _refuse_orphans(call: Call, suffixes: Sequence[str], named: set[str]) -> None:
    """Every group wants resources, but for those that only say where others must be (1.36)."""
    query = call.query
    orphans = [
        suffix for suffix in suffixes if f"resources{suffix}" not in query and (not suffix or suffix not in named)
    ]
    if not suffixes or (not orphans and not any(f"resources{suffix}" in query for suffix in suffixes)):
        if call.at_least(1, 36):
            raise Invalid("There must be at least one resources or resources[$S] parameter.", code=MISSING_VALUE)
        if call.at_least(1, 25):
            raise Invalid("At least one request group (`resources` or `resources{$S}`) is required.")
        raise Invalid("Invalid query string parameters: 'resources' is a required property.")
    if not orphans:
        return
    if not any(f"resources{suffix}" in query for suffix in suffixes) and call.at_least(1, 36):
        raise Invalid("There must be at least one resources or resources[$S] parameter.", code=MISSING_VALUE)
    if any(orphans) and call.at_least(1, 36):
        raise Invalid(
            "Resourceless suffixed group request should be specified in `same_subtree` query param.", code=BAD_VALUE
        )
    for kind, told in (("required", "traits"), ("member_of", "member_of")):
        keys = [kind + suffix for suffix in orphans if kind + suffix in query]
        if keys:
            raise Invalid(
                f"All {told} parameters must be associated with resources. Found the following orphaned {told} keys: "
                f"{', '.join(sorted(keys))[:200]}"
            )
    raise Invalid("All request groups must specify resources.")


class _Known:
    """The parameters that candidates take at a microversion."""

    def __init__(self, call: Call) -> None:
        self._call = call
        gates = {"limit": 16, "group_policy": 25, "root_required": 35, "same_subtree": 36}
        self._plain = {name for name, since in gates.items() if call.at_least(1, since)}

    def __contains__(self, name: object) -> bool:
        return name in self._plain or _split(self._call, str(name)) is not None


def _regexes(call: Call) -> str:
    """The patterns of the parameters with a suffix, as a refusal tells them."""
    suffix = "([a-zA-Z0-9_-]{1,64})?" if call.at_least(1, 33) else "([1-9][0-9]*)?"
    return ", ".join(f"'^{name}{suffix}$'" for name in ("in_tree", "member_of", "required", "resources"))


def _split(call: Call, name: str) -> str | None:
    """The suffix of a group's parameter, "" without; None for a parameter that is none."""
    pattern = _NAMED if call.at_least(1, 33) else _NUMBERED
    match = pattern.match(name)
    if match is None:
        return None
    kind, suffix = match[1], match[2] or ""
    if suffix and not call.at_least(1, 25):
        return None
    since = {"resources": 10, "required": 17, "member_of": 21, "in_tree": 31}[kind]
    return suffix if call.at_least(1, since) else None


def _group(db: Db, call: Call, suffix: str) -> Group:
    query, at = call.query, call.at_least
    wanted, unwanted = required(
        db,
        query.getall(f"required{suffix}", []) if at(1, 39) else one_of(query, f"required{suffix}"),
        forbidding=at(1, 22),
        any_of=at(1, 39),
        name=f"required{suffix}",
    )
    inside, outside = member_of(query.getall(f"member_of{suffix}", []), forbidding=at(1, 32))
    tree = one_of(query, f"in_tree{suffix}")
    asked = one_of(query, f"resources{suffix}")
    return Group(
        suffix=suffix,
        resources=resources(db, asked[0]) if asked else {},
        required=wanted,
        forbidden=unwanted,
        member_of=inside,
        not_member_of=outside,
        in_tree=uuid_of(tree[0], "in_tree") if tree else None,
    )


def _same_subtrees(call: Call) -> list[list[str]]:
    found = []
    for text in call.query.getall("same_subtree", []):
        suffixes = [suffix.strip() for suffix in text.split(",")]
        if any(suffix == "" for suffix in suffixes):
            raise Invalid("Empty string (unsuffixed group) can not be specified in `same_subtree`.", code=BAD_VALUE)
        if any(not _SUFFIX.match(suffix) for suffix in suffixes):
            raise Invalid(
                f"Invalid query string parameters: same_subtree {text[:80]!r} is no list of suffixes.", code=BAD_VALUE
            )
        found.append(suffixes)
    return found


def _root_required(db: Db, query: MultiMapping[str]) -> tuple[frozenset[str], frozenset[str]]:
    texts = query.getall("root_required", [])
    if len(texts) > 1:
        raise Invalid("Query parameter 'root_required' may be specified only once.", code=DUPLICATE_KEY)
    wanted, unwanted = required(db, texts, forbidding=True, any_of=False, name="root_required")
    return frozenset(one for names in wanted for one in names), unwanted


def _isolate(query: MultiMapping[str], groups: Sequence[Group]) -> bool:
    policy = query.get("group_policy")
    if policy not in (None, "none", "isolate"):
        raise Invalid(f"Invalid query string parameters: {policy[:40]!r} is not one of ['none', 'isolate'].")
    if policy is None and sum(1 for group in groups if group.suffix and group.resources) > 1:
        raise Invalid(
            'The "group_policy" parameter is required when specifying more than one "resources{N}" parameter.'
        )
    return policy == "isolate"


def _limit(query: MultiMapping[str]) -> int | None:
    text = query.get("limit")
    if text is None:
        return None
    if not _AMOUNT.match(text):
        raise Invalid(
            f"Invalid query string parameters: limit {text[:40]!r} does not match '^[1-9][0-9]*$'. Failed validating 'pattern'."
        )
    return int(text)
