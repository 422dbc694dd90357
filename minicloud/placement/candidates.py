"""The story of allocation candidates: which providers, alone or together, could give what a request wants.

A request is made of groups. The one without a suffix may be spread over the providers of one tree and those that share with
it; each group with a suffix is for one provider. For each tree: what each group could take, then all combinations that
agree with each other. Called by the wire; pure but for one snapshot of the tables.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from minicloud.core.store import Db
from minicloud.placement.tables import INVENTORIES, PROVIDERS, Inventory
from minicloud.placement.traits import SHARES


@dataclass(frozen=True, slots=True)
class Group:
    """What one group of a request wants.

    Attributes:
        required: each entry is met by any one of its traits. member_of: each by any one of its aggregates.
        in_tree: a provider of the tree to look at.
    """

    suffix: str = ""
    resources: Mapping[str, int] = field(default_factory=dict)
    required: tuple[frozenset[str], ...] = ()
    forbidden: frozenset[str] = frozenset()
    member_of: tuple[frozenset[str], ...] = ()
    not_member_of: frozenset[str] = frozenset()
    in_tree: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """All that a client wants. `isolate`: groups with suffixes on different providers; `nested`: whether several providers of one tree
    may stand in a candidate (microversion 1.29)."""

    groups: Sequence[Group]
    isolate: bool = False
    limit: int | None = None
    root_required: frozenset[str] = frozenset()
    root_forbidden: frozenset[str] = frozenset()
    same_subtrees: Sequence[Sequence[str]] = ()
    nested: bool = True


@dataclass(slots=True)
class Node:
    """A provider as the search sees it."""

    id: str
    parent_id: str | None
    root_id: str
    traits: set[str] = field(default_factory=set)
    aggregates: set[str] = field(default_factory=set)
    inventories: dict[str, Inventory] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def fits(self, resource_class: str, amount: int) -> bool:
        """Whether so much of a class can be had here."""
        found = self.inventories.get(resource_class)
        return (
            found is not None
            and found.min_unit <= amount <= found.max_unit
            and amount % found.step_size == 0
            and self.used[resource_class] + amount <= found.capacity
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """Who gives what to one group: (provider, class, amount) each."""

    suffix: str
    parts: tuple[tuple[str, str, int], ...]
    providers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to satisfy a request: provider -> class -> amount, and which providers stand for which group."""

    allocations: Mapping[str, Mapping[str, int]]
    mappings: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Found:
    """Candidates, and the providers that a client should know about."""

    candidates: Sequence[Candidate]
    summaries: Sequence[Node]


class Forest:
    """All providers, read once."""

    def __init__(self, db: Db) -> None:
        self.nodes = {row.id: Node(row.id, row.parent_id, row.root_id) for row in PROVIDERS.where(db, order="rowid")}
        for provider_id, trait in db.execute("SELECT provider_id, trait FROM placement_provider_traits"):
            self.nodes[provider_id].traits.add(trait)
        for provider_id, aggregate in db.execute("SELECT provider_id, aggregate_id FROM placement_aggregates"):
            self.nodes[provider_id].aggregates.add(aggregate)
        for inventory in INVENTORIES.where(db, order="rowid"):
            self.nodes[inventory.provider_id].inventories[inventory.resource_class] = inventory
        used = "SELECT provider_id, resource_class, sum(used) FROM placement_allocations GROUP BY 1, 2"
        for provider_id, resource_class, amount in db.execute(used):
            self.nodes[provider_id].used[resource_class] = amount
        self.trees: dict[str, list[Node]] = defaultdict(list)
        for node in self.nodes.values():
            self.trees[node.root_id].append(node)
        self.sharing = [node for node in self.nodes.values() if SHARES in node.traits]

    def sharing_with(self, root_id: str) -> list[Node]:
        """Providers outside of a tree that lend to it."""
        reached = set().union(*(node.aggregates for node in self.trees[root_id]))
        return [node for node in self.sharing if node.root_id != root_id and node.aggregates & reached]

    def above(self, node: Node) -> Iterator[str]:
        """A provider and all that it is below."""
        current: Node | None = node
        while current is not None:
            yield current.id
            current = self.nodes.get(current.parent_id) if current.parent_id is not None else None


def find(db: Db, request: Request) -> Found:
    """The candidates of a request, at most `limit`."""
    forest = Forest(db)
    unique: dict[object, Candidate] = {}
    for root_id in forest.trees:
        for candidate in _of_tree(forest, root_id, request):
            if not request.nested and len({forest.nodes[one].root_id for one in candidate.allocations}) < len(
                candidate.allocations
            ):
                continue  # older clients know of no trees: two providers of one would puzzle them
            key = (
                frozenset((one, frozenset(parts.items())) for one, parts in candidate.allocations.items()),
                frozenset((suffix, frozenset(ids)) for suffix, ids in candidate.mappings.items()),
            )
            unique.setdefault(key, candidate)
            if request.limit is not None and len(unique) >= request.limit:
                return Found(list(unique.values()), _summaries(forest, unique.values(), request))
    return Found(list(unique.values()), _summaries(forest, unique.values(), request))


def _of_tree(forest: Forest, root_id: str, request: Request) -> Iterator[Candidate]:
    root = forest.nodes[root_id]
    if not request.root_required <= root.traits or request.root_forbidden & root.traits:
        return
    options = []
    for group in request.groups:
        found = _together(forest, root_id, group) if not group.suffix else _alone(forest, root_id, group)
        choices = list(found)
        if not choices:
            return
        options.append(choices)
    for chosen in itertools.product(*options):
        candidate = _merged(forest, chosen, request)
        if candidate is not None:
            yield candidate


def _together(forest: Forest, root_id: str, group: Group) -> Iterator[Choice]:
    """The group without a suffix: each class from any provider of the tree or one that shares with it."""
    near = [*forest.trees[root_id], *forest.sharing_with(root_id)]
    root = forest.nodes[root_id]
    givers = []
    for node in near:
        # what the root of a tree is a member of, the whole tree is
        aggregates = node.aggregates | (root.aggregates if node.root_id == root_id else set())
        if _stands(forest, node, group, aggregates) and not node.traits & group.forbidden:
            givers.append(node)
    classes = list(group.resources)
    per_class = [[node for node in givers if node.fits(name, group.resources[name])] for name in classes]
    for chosen in itertools.product(*per_class):
        traits = set().union(*(node.traits for node in chosen))
        if all(traits & wanted for wanted in group.required):
            parts = tuple((node.id, name, group.resources[name]) for node, name in zip(chosen, classes, strict=True))
            yield Choice("", parts, tuple(dict.fromkeys(node.id for node in chosen)))


def _alone(forest: Forest, root_id: str, group: Group) -> Iterator[Choice]:
    """A group with a suffix: everything from one provider."""
    sharing = forest.sharing_with(root_id) if group.resources else []
    for node in [*forest.trees[root_id], *sharing]:
        if (
            _stands(forest, node, group, node.aggregates)
            and not node.traits & group.forbidden
            and all(node.traits & wanted for wanted in group.required)
            and all(node.fits(name, amount) for name, amount in group.resources.items())
        ):
            parts = tuple((node.id, name, amount) for name, amount in group.resources.items())
            yield Choice(group.suffix, parts, (node.id,))


def _stands(forest: Forest, node: Node, group: Group, aggregates: set[str]) -> bool:
    if group.in_tree is not None:
        asked = forest.nodes.get(group.in_tree)
        if asked is None or asked.root_id != node.root_id:
            return False
    return all(aggregates & wanted for wanted in group.member_of) and not aggregates & group.not_member_of


def _merged(forest: Forest, chosen: Sequence[Choice], request: Request) -> Candidate | None:
    """The choices of all groups as one candidate, if they agree."""
    if request.isolate:
        alone = [one.providers[0] for one in chosen if one.suffix]
        if len(set(alone)) < len(alone):
            return None
    allocations: dict[str, dict[str, int]] = {}
    for one in chosen:
        for provider_id, resource_class, amount in one.parts:
            given = allocations.setdefault(provider_id, {})
            given[resource_class] = given.get(resource_class, 0) + amount
    for provider_id, given in allocations.items():
        node = forest.nodes[provider_id]
        for resource_class, amount in given.items():
            inventory = node.inventories[resource_class]
            if node.used[resource_class] + amount > inventory.capacity or amount > inventory.max_unit:
                return None
    by_suffix = {one.suffix: one.providers for one in chosen}
    for suffixes in request.same_subtrees:
        involved = {provider for suffix in suffixes for provider in by_suffix[suffix]}
        if not any(all(top in forest.above(forest.nodes[one]) for one in involved) for top in involved):
            return None
    return Candidate(allocations, by_suffix)


def _summaries(forest: Forest, candidates: Iterable[Candidate], request: Request) -> list[Node]:
    used = {provider for candidate in candidates for provider in candidate.allocations}
    if not request.nested:
        return [node for node in forest.nodes.values() if node.id in used]
    roots = {forest.nodes[one].root_id for one in used}
    return [node for node in forest.nodes.values() if node.root_id in roots]
