"""Who may what: every route of every service, asked by everyone, against OpenStack's documented default policies.

`policies.tsv` has the expected rights, `waivers.tsv` the cells in which this cloud differs, each with its reason. The people
are made of roles and scopes; the things belong to the project demo and live in the domain default. Whoever may not is refused
(403, 401 without a token, 404 for what they may not even know) and changes nothing; whoever may is not: they get an answer,
or are told what is wrong with a request that is made to fail after the policy.
"""

from __future__ import annotations

import csv
import dataclasses
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from minicloud.core.errors import Conflict
from tests.conftest import PASSWORD, Client, Cloud
from tests.house.test_doors import settle
from tests.house.town import NOBODY, Place, Town, furnished, media

pytestmark = pytest.mark.asyncio(loop_scope="module")
HERE = Path(__file__).parent
CHAIN = ("reader", "member", "manager", "admin")
DEMOS = {"project_id", "tenant_id", "target_id", "domain_id", "user_id", "group_id"}
"""Parameters that name demo's project, user or domain."""

LETTERS = {"s": "system", "d": "domain", "p": "project"}


@dataclasses.dataclass(frozen=True)
class Right:
    """One line of the table."""

    rule: str
    who: tuple[str, ...]
    scopes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Person:
    """Somebody with a token: their roles, the kind of its scope ("" is unscoped), and whether demo's things are theirs.

    Attributes:
        inside: the scope is demo's project, or the domain that it is in.
        owner: they are the user demo.
    """

    name: str
    client: Client
    roles: frozenset[str]
    scope: str
    inside: bool = True
    owner: bool = False


@dataclasses.dataclass
class Crowd:
    """The town and everyone who asks in it."""

    town: Town
    people: list[Person]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def crowd(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Crowd]:
    """A town with everyone logged in."""
    async with furnished(tmp_path_factory.mktemp("town")) as town:
        yield Crowd(town, [person async for person in _people(town)])


async def _people(town: Town) -> AsyncIterator[Person]:
    cloud = town.cloud
    yield Person("nobody", dataclasses.replace(cloud.demo, token=""), frozenset(), "none", inside=False)
    yield Person("unscoped", await cloud.login("demo", PASSWORD, unscoped={}), frozenset(), "", owner=True)
    yield Person("project member", cloud.demo, frozenset({"reader", "member"}), "project", owner=True)
    for role in ("reader", "manager", "admin", "service"):
        client = await cloud.person(f"project-{role}", project="demo", roles=(role,))
        yield Person(f"project {role}", client, _roles(role), "project")
    yield Person("other member", town.stranger, _roles("member"), "project", inside=False)
    yield Person(
        "other manager",
        await cloud.person("boss", project="elsewhere", roles=("manager",)),
        _roles("manager"),
        "project",
        inside=False,
    )
    for kind, roles in (("domain", CHAIN), ("system", ("reader", "member", "admin"))):
        for role in roles:
            yield Person(f"{kind} {role}", await _placed(cloud, kind, role), _roles(role), kind)
    yield Person(
        "foreign domain manager",
        await _placed(cloud, "domain", "manager", foreign=True),
        _roles("manager"),
        "domain",
        inside=False,
    )


def _roles(role: str) -> frozenset[str]:
    return frozenset(CHAIN[: CHAIN.index(role) + 1]) if role in CHAIN else frozenset({role})


async def _placed(cloud: Cloud, kind: str, role: str, *, foreign: bool = False) -> Client:
    """Somebody with a role in the default (or a foreign) domain, or on the system."""
    name = f"{'foreign-' if foreign else ''}{kind}-{role}"
    v3, domain_id = "/identity/v3", "default"
    if foreign:
        domain_id = (await cloud.admin.post(f"{v3}/domains", {"domain": {"name": "abroad"}}, expect=201))["domain"][
            "id"
        ]
    made = await cloud.admin.post(f"{v3}/users", {"user": {"name": name, "password": PASSWORD}}, expect=201)
    role_id = (await cloud.admin.get(f"{v3}/roles?name={role}"))["roles"][0]["id"]
    place = "system" if kind == "system" else f"domains/{domain_id}"
    await cloud.admin.put(f"{v3}/{place}/users/{made['user']['id']}/roles/{role_id}", expect=204)
    scope = {"system": {"all": True}} if kind == "system" else {"domain": {"id": domain_id}}
    return await cloud.login(name, PASSWORD, **scope)


# --- the table -------------------------------------------------------------------------------------------------------


def lines(name: str) -> Iterator[list[str]]:
    """Rows of a file of this folder, without its words."""
    with (HERE / name).open(newline="") as file:
        yield from (row for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row and row[0][0] != "#")


def rights() -> dict[tuple[str, str, str, str], Right]:
    """(service, method, path, action) -> who may."""
    return {
        (service, method, path, action): Right(rule, tuple(who.split()), tuple(LETTERS[one] for one in scopes))
        for service, method, path, action, rule, who, scopes in lines("policies.tsv")
    }


def key_of(place: Place) -> tuple[str, str, str, str]:
    """The table's key of a place."""
    path = re.sub(r"\{\w+\}", "{}", place.template.removeprefix(place.dialect.prefix)) or "/"
    return place.service, place.route.method, path, place.route.action or ""


def may(right: Right, person: Person, *, inside: bool, owner: bool) -> bool:
    """Whether the table lets a person reach a thing that is in the scope of their token (`inside`) or of the user (`owner`)."""
    if "all" in right.who:
        return True
    if person.scope == "none" or (right.scopes and (person.scope or "project") not in right.scopes):
        return False
    return any(_fits(one, person, inside=inside, owner=owner) for one in right.who)


def _fits(alternative: str, person: Person, *, inside: bool, owner: bool) -> bool:
    role, _, where = alternative.partition("@")
    if role == "token":
        return True
    if role != "any" and role not in person.roles:
        return False
    if where == "user":
        return owner
    return not where or (where == person.scope and (inside or where == "system"))


def expected(town: Town, place: Place, right: Right, person: Person) -> bool:
    """Whether this person may do this to what the place's path names.

    A path without parameters is about the caller's own project, domain or user, except where the body names demo's; what
    belongs to nobody (flavors, types, roles) is in everyone's scope; everyone's domain is the default one, but one person's.
    """
    named = set(place.parameters)
    told = (
        place.service == "identity" and place.route.method == "POST" and not named
    )  # the body names demo or their domain
    demos = town.is_own(place) or bool(named & DEMOS) or _of_a_domain(place)
    in_the_domain = place.service == "identity" and person.scope == "project" and "project_id" not in named
    inside = person.inside or not demos or (in_the_domain and "any@project" in right.who)
    own = not told and not named & {"user_id", "credential_id"}
    return may(right, person, inside=inside, owner=person.owner or own)


def _of_a_domain(place: Place) -> bool:
    """Whether it makes something in a domain that the body names."""
    return place.route.method == "POST" and place.template in {
        f"/identity/v3/{noun}" for noun in ("users", "groups", "projects")
    }


def _body(town: Town, place: Place) -> object:
    return town.body(place, domain_id="default") if _of_a_domain(place) else town.body(place)


# --- the questions ---------------------------------------------------------------------------------------------------


async def test_every_route_has_its_line(crowd: Crowd) -> None:
    known, places = rights(), {key_of(place): place for place in crowd.town.places}
    settle([f"{place}: no line in policies.tsv" for key, place in places.items() if key not in known])


async def test_rules_have_openstacks_names(crowd: Crowd) -> None:
    known, waived = rights(), {(row[0], row[1]) for row in lines("waivers.tsv")}
    offences = []
    for place in crowd.town.places:
        right = known.get(key_of(place))
        if right and right.rule and place.route.rule != right.rule and (str(place), "rule") not in waived:
            offences.append(f"{place}: {place.route.rule}, not {right.rule}")
    settle(offences)


async def test_everyone_may_what_openstack_lets_them_and_no_more(crowd: Crowd) -> None:
    known, waived, met = rights(), {(row[0], row[1]) for row in lines("waivers.tsv")}, set()
    offences: list[str] = []
    # refusals first, while everything is still there
    for allowed in (False, True):
        for place in crowd.town.places:
            right = known.get(key_of(place))
            for person in crowd.people if right else ():
                if expected(crowd.town, place, right, person) is not allowed:
                    continue
                found = await (
                    _welcomed(crowd.town, place, right, person)
                    if allowed
                    else _refused(crowd.town, place, right, person)
                )
                if (str(place), person.name) in waived:
                    met |= {(str(place), person.name)} if found else set()
                    continue
                offences += [f"{place}\t{person.name}\t{one}" for one in found]
    offences += [f"{place}\t{name}\tno longer needs its waiver" for place, name in waived - met if name != "rule"]
    settle(offences)


async def _refused(town: Town, place: Place, right: Right, person: Person) -> list[str]:
    """What is wrong when somebody who may not, asks for demo's thing."""
    offences: list[str] = []
    answer = await town.refuse(place, person.client, offences, json=_body(town, place), headers=media(place))
    fine = [401] if person.scope == "none" else [403, 404]
    if may(right, person, inside=True, owner=False):
        fine += [400, 415, 501]  # they might with a thing of their own: what is wrong with the request is told first
    things = [one for (service, _), one in town.own.items() if service == "network"]
    thin = place.service == "network" and answer.status == 200 and not any(one in str(answer.body) for one in things)
    if answer.status in fine or thin:  # Neutron's policies thin lists out
        return offences
    return [*offences, f"got {answer.status} instead of a refusal: {answer.body!r:.150}"]


async def _welcomed(town: Town, place: Place, right: Right, person: Person) -> list[str]:
    """What is wrong when somebody asks for what they may: reads are real; changes are made to fail behind the policy, identity's
    at the moment of writing, as its handlers compare the target with the caller."""
    route = place.route
    if route.method in ("GET", "HEAD"):
        answer = await town.ask(place, person.client)
    elif place.service == "identity" and "auth/tokens" not in place.template:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(town.cloud.daemon.store, "write", _no_writing)
            answer = await town.ask(place, person.client, json=_body(town, place), headers=media(place))
    elif route.body is not None or route.action:
        wrong = {route.action: {"no-such-field": 1}} if route.action else town.wrapped(place, {"no-such-field": []})
        answer = await town.ask(place, person.client, json=wrong, headers=media(place))
    else:
        answer = await town.ask(place, person.client, path=town.path(place, lambda name: NOBODY), headers=media(place))
    if (answer.status in (401, 403) and "all" not in right.who) or (answer.status >= 500 and answer.status != 501):
        return [f"got {answer.status} instead of an answer: {answer.body!r:.150}"]
    return []


async def _no_writing(*args: object, **kwargs: object) -> None:
    raise Conflict("Cannot write: this is only a question.")
