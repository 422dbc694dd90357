"""The whole daemon in process on the fake host, spoken to over HTTP: what most tests start from.

`cloud` is a fresh one for each test. `cloud.admin` and `cloud.demo` are logged-in clients (demo is a member of the project
demo); `cloud.world` is the fake machine, which can be told to be slow or to fail.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from minicloud.config import Api, Config, Identity, Paths
from minicloud.daemon import Daemon, make_host
from minicloud.host.fake import World, fake_host

PASSWORD = "a-test-password"


@dataclasses.dataclass
class Answer:
    """What came back: status, headers, and the body as JSON (or text where it is none)."""

    status: int
    headers: Any
    body: Any

    def __getitem__(self, key: str) -> Any:
        return self.body[key]


@dataclasses.dataclass
class Client:
    """One caller: a token and a session."""

    session: aiohttp.ClientSession
    url: str
    token: str = ""
    project_id: str = ""
    user_id: str = ""

    async def request(
        self, method: str, path: str, body: Any = None, *, expect: int | None = None, **options: Any
    ) -> Answer:
        """Send a request; `options` go to aiohttp (headers, data, params). `expect` asserts the status."""
        headers = (
            {"X-Auth-Token": self.token, "Accept": "application/json"} if self.token else {"Accept": "application/json"}
        )
        headers |= options.pop("headers", {})
        if body is not None:
            options["json"] = body
        async with self.session.request(method, self.url + path, headers=headers, **options) as response:
            raw = await response.read()
            told: Any = raw
            if "json" in response.headers.get("Content-Type", "") and raw:
                told = await response.json()
            answer = Answer(response.status, response.headers, told)
        if expect is not None:
            assert answer.status == expect, f"{method} {path}: {answer.status} {answer.body!r}"
        return answer

    async def get(self, path: str, *, expect: int | None = 200, **options: Any) -> Answer:
        return await self.request("GET", path, expect=expect, **options)

    async def post(self, path: str, body: Any = None, *, expect: int | None = None, **options: Any) -> Answer:
        return await self.request("POST", path, body, expect=expect, **options)

    async def put(self, path: str, body: Any = None, *, expect: int | None = None, **options: Any) -> Answer:
        return await self.request("PUT", path, body, expect=expect, **options)

    async def patch(self, path: str, body: Any = None, *, expect: int | None = None, **options: Any) -> Answer:
        return await self.request("PATCH", path, body, expect=expect, **options)

    async def delete(self, path: str, *, expect: int | None = None, **options: Any) -> Answer:
        return await self.request("DELETE", path, expect=expect, **options)


class Cloud:
    """A running daemon in one folder, on a fake host unless the configuration says otherwise; can be stopped and started
    again on the same folder."""

    def __init__(self, folder: Path, config: Config | None = None) -> None:
        self.folder = folder
        self.config = config or plain_config(folder)
        self.session = aiohttp.ClientSession()
        self.daemon: Daemon
        self.world: World
        self.admin: Client
        self.demo: Client
        self.observer: Callable[[str], None] | None = None

    async def start(self) -> None:
        """Start the daemon (again)."""
        if self.config.fake:
            host, self.world = fake_host(self.folder / "host")
            self.world.observer = self.observer
        else:
            host = make_host(self.config)
        self.daemon = Daemon(self.config, host, observer=self.observer, admin_password=PASSWORD)
        await self.daemon.start()
        self.admin = await self.login("admin", PASSWORD, "admin")

    async def stop(self) -> None:
        """Stop the daemon; folder and fake machine stay."""
        await self.daemon.stop()

    async def restart(self) -> None:
        """What a person would do."""
        await self.stop()
        await self.start()

    async def as_demo(self) -> None:
        """Log the known user demo in (again)."""
        self.demo = await self.login("demo", PASSWORD, "demo")

    async def login(self, user: str, password: str, project: str | None = None, **scope: Any) -> Client:
        """A client with a fresh token of that user, in the project of that name (or `scope`, as Keystone wants it)."""
        return await login(self.session, self.daemon.url, user, password, project, **scope)

    async def person(self, name: str, *, project: str, roles: tuple[str, ...] = ("member",)) -> Client:
        """A new user with roles in a project of that name (made if it is not there), logged in."""
        known = (await self.admin.get(f"/identity/v3/projects?name={project}"))["projects"]
        if known:
            project_id = known[0]["id"]
        else:
            made = await self.admin.post("/identity/v3/projects", {"project": {"name": project}}, expect=201)
            project_id = made["project"]["id"]
        body = {"user": {"name": name, "password": PASSWORD}}
        user_id = (await self.admin.post("/identity/v3/users", body, expect=201))["user"]["id"]
        for role in roles:
            role_id = (await self.admin.get(f"/identity/v3/roles?name={role}"))["roles"][0]["id"]
            await self.admin.put(f"/identity/v3/projects/{project_id}/users/{user_id}/roles/{role_id}", expect=204)
        return await self.login(name, PASSWORD, project)


async def login(
    session: aiohttp.ClientSession, url: str, user: str, password: str, project: str | None = None, **scope: Any
) -> Client:
    """A client of the cloud at `url` with a fresh token, see `Cloud.login`."""
    identity = {
        "methods": ["password"],
        "password": {"user": {"name": user, "domain": {"id": "default"}, "password": password}},
    }
    auth: dict[str, Any] = {"identity": identity}
    if project is not None:
        auth["scope"] = {"project": {"name": project, "domain": {"id": "default"}}}
    elif scope:
        auth["scope"] = scope
    plain = Client(session, url)
    answer = await plain.post("/identity/v3/auth/tokens", {"auth": auth}, expect=201)
    token = answer["token"]
    return Client(
        session,
        url,
        answer.headers["X-Subject-Token"],
        token.get("project", {}).get("id", ""),
        token["user"]["id"],
    )


def plain_config(folder: Path) -> Config:
    """The defaults, on a free port, with password hashing at its cheapest."""
    paths = Paths(state=str(folder / "state"), cache=str(folder / "cache"), run=str(folder / "run"))
    identity = Identity(argon2_memory_kib=64, argon2_time=1)
    return Config(api=Api(port=0), paths=paths, identity=identity, fake=True)


@contextlib.asynccontextmanager
async def running_cloud(folder: Path, config: Config | None = None) -> AsyncIterator[Cloud]:
    """A cloud for the length of a block."""
    cloud = Cloud(folder, config)
    await cloud.start()
    try:
        cloud.demo = await cloud.person("demo", project="demo")
        yield cloud
    finally:
        await cloud.stop()
        await cloud.session.close()


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    """A fresh cloud."""
    async with running_cloud(tmp_path) as one:
        yield one
