"""Who may use a sandbox's cloud: the administrator, and an ordinary member of the ordinary project `demo`.

Made over the API as a person would, once the daemon answers.
"""

from __future__ import annotations

import json
import urllib.request
from typing import Any

DEMO = "demo"
"""The project, and the member's cloud in clouds.yaml."""

MEMBER = "demo-member"
"""The user; `demo` is left free for scripts that make such a user themselves."""


class Keystone:
    """The few calls of the Identity API v3 that are needed here. `url` as "http://127.0.0.1:5050/identity"."""

    def __init__(self, url: str, password: str) -> None:
        self._url = url + "/v3"
        self._token = ""
        user = {"name": "admin", "domain": {"id": "default"}, "password": password}
        scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
        identity = {"methods": ["password"], "password": {"user": user}}
        headers = self._send("POST", "/auth/tokens", {"auth": {"identity": identity, "scope": scope}})[1]
        self._token = headers["X-Subject-Token"]

    def make(self, noun: str, **fields: Any) -> str:
        """Create one of `noun` ("user"); its id. One of that name that is there already is taken as it is."""
        found = self._send("GET", f"/{noun}s?name={fields['name']}")[0][f"{noun}s"]
        if found:
            return str(found[0]["id"])
        return str(self._send("POST", f"/{noun}s", {noun: fields})[0][noun]["id"])

    def grant(self, role: str, *, user_id: str, project_id: str) -> None:
        """Give a user a role, by its name, in a project."""
        role_id = self._send("GET", f"/roles?name={role}")[0]["roles"][0]["id"]
        self._send("PUT", f"/projects/{project_id}/users/{user_id}/roles/{role_id}")

    def _send(self, method: str, path: str, body: Any = None) -> tuple[Any, Any]:
        headers = {"Content-Type": "application/json", "X-Auth-Token": self._token}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, headers, method=method)  # noqa: S310  (our own door)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never by way of a proxy: it is us
        with opener.open(request, timeout=30) as answer:
            content = answer.read()
            return (json.loads(content) if content else None), answer.headers


def settle(url: str, *, admin_password: str, demo_password: str) -> None:
    """Make the project and its member."""
    keystone = Keystone(f"{url}/identity", admin_password)
    project_id = keystone.make("project", name=DEMO)
    user_id = keystone.make("user", name=MEMBER, password=demo_password, default_project_id=project_id)
    keystone.grant("member", user_id=user_id, project_id=project_id)
