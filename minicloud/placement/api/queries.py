"""The query language of Placement: `resources=VCPU:1,...`, `required=A,!B`, `member_of=in:...`, with and without suffixes.

Grammar and microversions: API reference of "List allocation candidates" and "List resource providers".
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Container, Sequence

from multidict import MultiMapping

from minicloud.api.route import Call
from minicloud.core.errors import Invalid
from minicloud.core.store import Db
from minicloud.placement import resource_classes, traits
from minicloud.placement.candidates import Group, Request

_AMOUNT = re.compile(r"^[1-9][0-9]{0,9}\Z")
_NUMBERED = re.compile(r"^(resources|required|member_of|in_tree)([1-9][0-9]*)?\Z")
_NAMED = re.compile(r"^(resources|required|member_of|in_tree)([a-zA-Z0-9_-]{1,64})?\Z")
_SUFFIX = re.compile(r"^[a-zA-Z0-9_-]{1,64}\Z")


def allow(query: MultiMapping[str], names: Container[str]) -> None:
    """Raise `Invalid` for a parameter that this operation hasn't (at this microversion)."""
    for name in query:
        if name not in names:
            raise Invalid(f"Invalid query string parameters: {name[:80]!r} is not one that this operation takes.")


def uuid_of(text: str, name: str) -> str:
    """A UUID as text with dashes; `Invalid` for anything else."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise Invalid(f"Invalid uuid value for {name}: Expected '{name}' parameter to be a uuid, got {text[:80]!r}.") from None


def resources(db: Db, text: str) -> dict[str, int]:
    """`VCPU:1,DISK_GB:10`."""
    found: dict[str, int] = {}
    for entry in text.split(","):
        name, separator, amount = entry.partition(":")
        if not separator or not name:
            raise Invalid(f"Badly formed resources parameter: expected resources=CLASS:AMOUNT,..., got {text[:80]!r}.")
        if not _AMOUNT.match(amount):
            raise Invalid(f"Badly formed resources parameter: requested resource {name} expected positive integer amount, got {amount[:40]!r}.")
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
        if any_of and text.startswith("in:"):
            names = text.removeprefix("in:").split(",")
            if any(not one or one.startswith("!") for one in names):
                raise Invalid(f"Invalid query string parameters: Expected '{name}' parameter value of the form: in:HW_CPU_X86_VMX,CUSTOM_MAGIC. Got: {text[:80]!r}")
            wanted.append(frozenset(names))
            continue
        for one in text.split(","):
            plain = one.removeprefix("!") if forbidding else one
            if not plain or plain.startswith("!"):
                raise Invalid(
                    f"Invalid query string parameters: Expected '{name}' parameter value of the form: "
                    f"HW_CPU_X86_VMX,{'!' if forbidding else ''}CUSTOM_MAGIC. Got: {text[:80]!r}"
                )
            if plain == one:
                wanted.append(frozenset({one}))
            else:
                unwanted.add(plain)
    traits.need(db, {one for names in wanted for one in names} | unwanted)
    both = {one for names in wanted if len(names) == 1 for one in names} & unwanted
    both |= {", ".join(sorted(names)) for names in wanted if names <= unwanted}
    if both:
        raise Invalid(f"Conflicting required and forbidden traits found in the following traits keys: {name}: ({', '.join(sorted(both))})")
    return tuple(wanted), frozenset(unwanted)


def member_of(texts: Sequence[str], *, forbidding: bool) -> tuple[tuple[frozenset[str], ...], frozenset[str]]:
    """Aggregates of which a provider must, and must not, be a member: `A`, `in:A,B`, `!A`, `!in:A,B`."""
    wanted: list[frozenset[str]] = []
    unwanted: set[str] = set()
    for text in texts:
        negative = forbidding and text.startswith("!")
        plain = text[1:] if negative else text
        several = plain.startswith("in:")
        names = plain.removeprefix("in:").split(",") if several else [plain]
        try:
            found = frozenset(str(uuid.UUID(one)) for one in names)
        except ValueError:
            raise Invalid(
                "Invalid query string parameters: Expected 'member_of' parameter to contain valid UUID(s), of the form "
                f"UUID or in:UUID,UUID. Got: {text[:80]!r}"
            ) from None
        if negative:
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
    allow(query, _Known(call))
    if not at(1, 24) and len(query.getall("member_of", [])) > 1:
        raise Invalid("Invalid query string parameters: member_of may stand only once before microversion 1.24.")
    suffixes = list(dict.fromkeys(suffix for name in query if (suffix := _split(call, name)) is not None))
    same_subtrees = _same_subtrees(call)
    named = {suffix for suffixes_ in same_subtrees for suffix in suffixes_}
    groups = []
    for suffix in suffixes:
        group = _group(db, call, suffix)
        if not group.resources and suffix not in named:
            raise Invalid(f"Invalid query string parameters: All traits and aggregates parameters must be associated with resources: {'group ' + suffix if suffix else 'there is no resources parameter'}.")
        groups.append(group)
    if not any(group.resources for group in groups):
        raise Invalid("Invalid query string parameters: at least one request group with `resources` is needed.")
    unknown = sorted(named - {group.suffix for group in groups})
    if unknown:
        raise Invalid(f"Real suffixes should be specified in same_subtree: {', '.join(unknown)[:200]} found in same_subtree, but no such request groups.")
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


class _Known:
    """The parameters that candidates take at a microversion."""

    def __init__(self, call: Call) -> None:
        self._call = call
        gates = {"limit": 16, "group_policy": 25, "root_required": 35, "same_subtree": 36}
        self._plain = {name for name, since in gates.items() if call.at_least(1, since)}

    def __contains__(self, name: object) -> bool:
        return name in self._plain or _split(self._call, str(name)) is not None


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
            raise Invalid("Empty string (unsuffixed group) can not be specified in `same_subtree`.")
        if any(not _SUFFIX.match(suffix) for suffix in suffixes):
            raise Invalid(f"Invalid query string parameters: same_subtree {text[:80]!r} is no list of suffixes.")
        found.append(suffixes)
    return found


def _root_required(db: Db, query: MultiMapping[str]) -> tuple[frozenset[str], frozenset[str]]:
    texts = query.getall("root_required", [])
    if len(texts) > 1:
        raise Invalid("Query parameter 'root_required' may be specified only once.")
    wanted, unwanted = required(db, texts, forbidding=True, any_of=False, name="root_required")
    return frozenset(one for names in wanted for one in names), unwanted


def _isolate(query: MultiMapping[str], groups: Sequence[Group]) -> bool:
    policy = query.get("group_policy")
    if policy not in (None, "none", "isolate"):
        raise Invalid(f"Invalid query string parameters: group_policy is 'none' or 'isolate', not {policy[:40]!r}.")
    if policy is None and sum(1 for group in groups if group.suffix and group.resources) > 1:
        raise Invalid("The \"group_policy\" parameter is required when specifying more than one \"resources{N}\" parameter.")
    return policy == "isolate"


def _limit(query: MultiMapping[str]) -> int | None:
    text = query.get("limit")
    if text is None:
        return None
    if not _AMOUNT.match(text):
        raise Invalid(f"Invalid query string parameters: limit must be a positive integer, not {text[:40]!r}.")
    return int(text)


