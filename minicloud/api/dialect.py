"""How services differ on the wire: prefix, envelopes, fault shapes, statuses, paging links, version headers.

Each service declares one `Dialect` in its `api/__init__.py`; `app.py` obeys it. Nothing else in the frame knows which
service it serves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import fastjsonschema

from minicloud.api import faults
from minicloud.api.faults import Shape
from minicloud.api.versions import Version
from minicloud.core.context import Context
from minicloud.core.errors import MinicloudError

if TYPE_CHECKING:
    from minicloud.api.route import Call, Listed


@dataclass(frozen=True)
class Microversions:
    """A service's microversions: the name in `OpenStack-API-Version`, the range, the default without a header, an old header of its own.

    `from_zero`: whether "0.9" is a version, though one that isn't spoken (Placement), or none at all (Nova, Cinder).
    """

    service_type: str
    low: Version
    high: Version
    default: Version
    old_header: str | None = None
    from_zero: bool = False


ListExtra = Callable[["Call", str, "Listed"], Mapping[str, Any]]
"""(call, plural key, page) -> the keys that stand beside a list (links)."""


@dataclass(frozen=True)
class Dialect:
    """One service's ways.

    Attributes:
        service: "compute"; also the first part of its paths: `prefix` "/compute".
        root: the versioned root below the prefix, "/v2.1", "" for Placement.
        project_in_path: whether `/{project_id}` may stand after the root (Nova, Cinder); it then is a path parameter.
        fault, unknown_route: shapes of errors, and of a path that is no route.
        envelope: whether bodies are wrapped in the resource's name.
        statuses: kinds of errors whose status differs here.
        wrong_method: status for a method that a path hasn't (405, or Nova's 404).
        list_extra: the links of a list.
        strict_query: whether unknown query parameters are refused (True), or from which microversion on.
        slash_matters: whether a path with a slash at the end is another path (Glance, Cinder: `GET /volumes/` is
            no list); the roots answer both ways.
        loose_paths: Neutron's habits: `.json` suffixes, dashes and underscores alike.
        fields: whether `fields=` in the query thins out replies (Neutron).
        request_id_header: one of its own beside `X-Openstack-Request-Id`.
        only_json: whether a client that accepts no JSON is told so (Placement's 406), and a body must name its type.
        vary: value of Vary on every reply, where it isn't the names of the headers of microversions.
        unfit: how a body that does not fit its schema is told, where clients match on words of their own service.
        scopes: kinds of scopes whose tokens the service takes, as a rule; () is any (Cinder does not look at it).
        narrow: what a caller counts as where a policy takes any token and rows decide (Neutron's lists are empty, not forbidden).
        catalog: (type, path suffix) pairs under which the service stands in the catalogue.
    """

    service: str
    root: str
    fault: Shape
    unknown_route: Shape
    envelope: bool = True
    microversions: Microversions | None = None
    project_in_path: bool = False
    statuses: Mapping[type[MinicloudError], int] = field(default_factory=dict)
    wrong_method: int = 405
    list_extra: ListExtra = lambda call, plural, listed: {}
    strict_query: bool | Version = False
    slash_matters: bool = False
    loose_paths: bool = False
    fields: bool = False
    request_id_header: str | None = None
    only_json: bool = False
    vary: str | None = None
    unauthenticated: Shape = faults.keystone
    unfit: Callable[[fastjsonschema.JsonSchemaValueException], str] | None = None
    catalog: Sequence[tuple[str, str]] = ()
    scopes: tuple[str, ...] = ()
    narrow: Callable[[Context], Context] | None = None

    @property
    def prefix(self) -> str:
        """Where the service's paths begin, "/compute"."""
        return "/" + self.service
