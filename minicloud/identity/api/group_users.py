"""`/v3/groups/{id}/users`: users as seen through a group. Apart from `groups.py` because users' replies need groups' too."""

from __future__ import annotations

from minicloud.api.route import Route
from minicloud.identity.api.groups import list_group_users
from minicloud.identity.api.rules import READERS
from minicloud.identity.api.users import USER

ROUTES = [
    Route(
        "GET",
        "/groups/{group_id}/users",
        list_group_users,
        view=USER,
        many=True,
        policy=READERS,
        rule="identity:list_users_in_group",
    )
]
