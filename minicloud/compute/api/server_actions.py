"""`POST /servers/{id}/action`: everything that has a button."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicloud.api.policy import ADMIN, MEMBER
from minicloud.api.route import Call, Handler, Reply, Route
from minicloud.api.schema import ANY, EMPTY, METADATA, OPTIONAL, REQUIRED, Field, Schema, integer, nullable, string
from minicloud.compute import power, servers, snapshot, states, teardown
from minicloud.compute.api.types import NAME
from minicloud.core.errors import Conflict

if TYPE_CHECKING:
    from minicloud.compute import Compute

PATH = "/servers/{server_id}/action"
LOOSE = Schema("action", extra=True)
REBOOT = Schema("reboot", Field("type", string(enum=("HARD", "Hard", "hard", "SOFT", "Soft", "soft")), create=REQUIRED))
LOCK = Schema("lock", Field("locked_reason", string(low=1, high=255), create=OPTIONAL, since=(2, 73)), extra=ANY)
CONSOLE = Schema("console", Field("length", nullable(integer(low=-1)), create=OPTIONAL))
CREATE_IMAGE = Schema("createImage", Field("name", NAME, create=REQUIRED), Field("metadata", METADATA, create=OPTIONAL))
STATE = Schema("state", Field("state", string(enum=("active", "error")), create=REQUIRED))
PASSWORD = Schema("changePassword", Field("adminPass", string(), create=REQUIRED))


def _button(verb: str) -> Handler:
    """The handler of one of `power.TASKS`."""

    async def press(compute: Compute, call: Call) -> None:
        await power.accept(compute, call.ctx, call.params["server_id"], verb)

    return press


async def reboot_server(compute: Compute, call: Call) -> None:
    """`reboot`."""
    verb = "reboot hard" if call.body["type"].upper() == "HARD" else "reboot"
    await power.accept(compute, call.ctx, call.params["server_id"], verb)


async def lock_server(compute: Compute, call: Call) -> None:
    """`lock`."""
    await servers.lock(compute, call.ctx, call.params["server_id"], call.body.get("locked_reason"))


async def unlock_server(compute: Compute, call: Call) -> None:
    """`unlock`."""
    await servers.unlock(compute, call.ctx, call.params["server_id"])


async def reset_state(compute: Compute, call: Call) -> None:
    """`os-resetState`."""
    await servers.reset_state(compute, call.ctx, call.params["server_id"], active=call.body["state"] == "active")


async def force_delete(compute: Compute, call: Call) -> None:
    """`forceDelete`: as delete, since nothing is deleted softly here."""
    await teardown.accept(compute, call.ctx, call.params["server_id"])


async def restore_server(compute: Compute, call: Call) -> None:
    """`restore`: for servers that were deleted softly, which none is here."""
    server = compute.server(call.ctx, call.params["server_id"])
    raise Conflict(f"Cannot 'restore' instance {server.id} while it is in vm_state {server.vm_state}.")


async def show_console_output(compute: Compute, call: Call) -> Reply:
    """`os-getConsoleOutput`."""
    text = await servers.console_output(compute, call.ctx, call.params["server_id"], call.body.get("length"))
    return Reply({"output": text})


async def create_image(compute: Compute, call: Call) -> Reply:
    """`createImage`."""
    image_id = await snapshot.accept(
        compute, call.ctx, call.params["server_id"], name=call.body["name"], properties=call.body.get("metadata", {})
    )
    if call.at_least(2, 45):
        return Reply({"image_id": image_id})
    origin = call.base.removesuffix(call.dialect.prefix)
    return Reply(headers={"Location": f"{origin}/image/v2/images/{image_id}"})


async def change_password(compute: Compute, call: Call) -> None:
    """`changePassword`: needs an agent in the guest, which is not spoken to."""
    server = compute.server(call.ctx, call.params["server_id"])
    states.require(server, "changePassword", call.ctx)
    raise Conflict("Cannot change the password: the guest agent is not used here; log in with a key pair.")


ROUTES = [
    Route("POST", PATH, _button("start"), action="os-start", body=EMPTY, status=202, policy=MEMBER,
          rule="os_compute_api:servers:start"),
    Route("POST", PATH, _button("stop"), action="os-stop", body=EMPTY, status=202, policy=MEMBER,
          rule="os_compute_api:servers:stop"),
    Route("POST", PATH, reboot_server, action="reboot", body=REBOOT, status=202, policy=MEMBER,
          rule="os_compute_api:servers:reboot"),
    Route("POST", PATH, _button("pause"), action="pause", body=EMPTY, status=202, policy=MEMBER,
          rule="os_compute_api:os-pause-server:pause"),
    Route("POST", PATH, _button("unpause"), action="unpause", body=EMPTY, status=202, policy=MEMBER,
          rule="os_compute_api:os-pause-server:unpause"),
    Route("POST", PATH, lock_server, action="lock", body=LOCK, status=202, policy=MEMBER,
          rule="os_compute_api:os-lock-server:lock"),
    Route("POST", PATH, unlock_server, action="unlock", body=EMPTY, status=202, policy=MEMBER,
          rule="os_compute_api:os-lock-server:unlock"),
    Route("POST", PATH, reset_state, action="os-resetState", body=STATE, status=202, policy=ADMIN,
          rule="os_compute_api:os-admin-actions:reset_state"),
    Route("POST", PATH, force_delete, action="forceDelete", body=LOOSE, status=202, policy=MEMBER,
          rule="os_compute_api:os-deferred-delete:force"),
    Route("POST", PATH, restore_server, action="restore", body=LOOSE, status=202, policy=MEMBER,
          rule="os_compute_api:os-deferred-delete:restore"),
    Route("POST", PATH, show_console_output, action="os-getConsoleOutput", body=CONSOLE, policy=MEMBER,
          rule="os_compute_api:os-console-output"),
    Route("POST", PATH, create_image, action="createImage", body=CREATE_IMAGE, status=202, policy=MEMBER,
          rule="os_compute_api:servers:create_image"),
    Route("POST", PATH, change_password, action="changePassword", body=PASSWORD, status=202, policy=MEMBER,
          rule="os_compute_api:os-admin-password"),
]  # fmt: skip
