"""`/os-keypairs`: a user's keys; an administrator may name another user (2.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.paging import page_of, with_query
from minicloud.api.policy import ADMIN, ANYONE, require
from minicloud.api.route import Call, Reply, Route
from minicloud.api.schema import OPTIONAL, REQUIRED, Field, Schema, string
from minicloud.compute import keypairs
from minicloud.compute.api.server_view import ANY
from minicloud.core.errors import Invalid
from minicloud.core.store import Page

if TYPE_CHECKING:
    from minicloud.compute import Compute

RULE = "os_compute_api:os-keypairs"
_TYPE = string(enum=("ssh", "x509"))
NEW = Schema(
    "keypair",
    Field("name", string(low=1), create=REQUIRED),
    Field("public_key", string(low=1, high=65535), create=OPTIONAL, until=(2, 91)),
    Field("public_key", string(low=1, high=65535), create=REQUIRED, since=(2, 92)),
    Field("type", _TYPE, create=OPTIONAL, since=(2, 2)),
    Field("user_id", string(low=1), create=OPTIONAL, since=(2, 10)),
)
LISTED = Schema(
    "keypair",
    Field("name", ANY, out=True),
    Field("public_key", ANY, out=True),
    Field("fingerprint", ANY, out=True),
    Field("type", ANY, out=True, since=(2, 2)),
)
MADE = Schema("keypair", *LISTED.fields, Field("user_id", ANY, out=True))
SHOWN = Schema(
    "keypair",
    *MADE.fields,
    Field("created_at", ANY, out=True),
    Field("deleted", ANY, attr=lambda row, call: False, out=True),
    Field("deleted_at", ANY, attr=lambda row, call: None, out=True),
    Field("id", ANY, out=True),
    Field("updated_at", ANY, attr=lambda row, call: None, out=True),
)


def _user(call: Call, rule: str, asked: str | None) -> str:
    if asked is None or not call.at_least(2, 10) or asked == call.ctx.user_id:
        return call.ctx.user_id
    require(call.ctx, ADMIN, rule)
    return asked


async def list_keypairs(compute: Compute, call: Call) -> Reply:
    """`GET /os-keypairs`: each entry wrapped once more."""
    user_id = _user(call, f"{RULE}:index", call.query.get("user_id"))
    page, extra = Page(), {}
    if call.at_least(2, 35):
        page = page_of(call, columns={"name": "name"})
    rows = keypairs.listed(compute, user_id, page if page.limit is None else Page(page.limit + 1, page.marker))
    if page.limit is not None and len(rows) > page.limit:
        rows = rows[: page.limit]
        if rows:
            href = with_query(call, f"{call.root}/os-keypairs", marker=rows[-1].name)
            extra["keypairs_links"] = [{"rel": "next", "href": href}]
    return Reply({"keypairs": [{"keypair": LISTED.view(row, call)} for row in rows], **extra})


async def show_keypair(compute: Compute, call: Call) -> Any:
    """`GET /os-keypairs/{name}`."""
    user_id = _user(call, f"{RULE}:show", call.query.get("user_id"))
    return keypairs.show(compute, user_id, call.params["keypair_name"])


async def create_keypair(compute: Compute, call: Call) -> Reply:
    """`POST /os-keypairs`: the private key of a new pair is told here and never again."""
    body = call.body
    user_id = _user(call, f"{RULE}:create", body.get("user_id"))
    if call.ctx.project_id is None:
        raise Invalid("Cannot make a key pair: the token is for no project.")
    row, private_key = await keypairs.create(
        compute, user_id=user_id, project_id=call.ctx.project_id, name=body["name"], type=body.get("type", "ssh"),
        public_key=body.get("public_key"),
    )  # fmt: skip
    told = MADE.view(row, call)
    if private_key is not None:
        told["private_key"] = private_key
    return Reply({"keypair": told}, status=201 if call.at_least(2, 2) else 200)


async def delete_keypair(compute: Compute, call: Call) -> Reply:
    """`DELETE /os-keypairs/{name}`."""
    user_id = _user(call, f"{RULE}:delete", call.query.get("user_id"))
    await keypairs.delete(compute, user_id, call.params["keypair_name"])
    return Reply(status=204 if call.at_least(2, 2) else 202)


ROUTES = [
    Route(
        "GET", "/os-keypairs", list_keypairs, policy=ANYONE, rule=f"{RULE}:index", query=("user_id", "limit", "marker")
    ),
    Route("POST", "/os-keypairs", create_keypair, body=NEW, policy=ANYONE, rule=f"{RULE}:create"),
    Route(
        "GET",
        "/os-keypairs/{keypair_name}",
        show_keypair,
        view=SHOWN,
        policy=ANYONE,
        rule=f"{RULE}:show",
        query=("user_id",),
    ),
    Route("DELETE", "/os-keypairs/{keypair_name}", delete_keypair, policy=ANYONE, rule=f"{RULE}:delete"),
]
