"""Documented operations that this cloud honestly does not offer (yet): 501 with the reason, never a pretended success."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicloud.api.policy import ADMIN, MANAGER, MEMBER, Policy
from minicloud.api.route import Call, Handler, Route
from minicloud.api.schema import Schema
from minicloud.core.errors import NotImplementedHere

if TYPE_CHECKING:
    from minicloud.compute import Compute

_LATER = "is not offered by this version of minicloud."
_ONE_HOST = "is not possible: this cloud has one host."
ACTIONS: tuple[tuple[str, str, Policy, str], ...] = (
    ("rebuild", _LATER, MEMBER, "os_compute_api:servers:rebuild"),
    ("resize", _LATER, MEMBER, "os_compute_api:servers:resize"),
    ("confirmResize", _LATER, MEMBER, "os_compute_api:servers:confirm_resize"),
    ("revertResize", _LATER, MEMBER, "os_compute_api:servers:revert_resize"),
    ("rescue", _LATER, MEMBER, "os_compute_api:os-rescue"),
    ("unrescue", _LATER, MEMBER, "os_compute_api:os-unrescue"),
    ("shelve", _LATER, MEMBER, "os_compute_api:os-shelve:shelve"),
    ("shelveOffload", _LATER, ADMIN, "os_compute_api:os-shelve:shelve_offload"),
    ("unshelve", _LATER, MEMBER, "os_compute_api:os-shelve:unshelve"),
    ("suspend", _LATER, MEMBER, "os_compute_api:os-suspend-server:suspend"),
    ("resume", _LATER, MEMBER, "os_compute_api:os-suspend-server:resume"),
    ("createBackup", _LATER, MEMBER, "os_compute_api:os-create-backup"),
    ("migrate", _ONE_HOST, MANAGER, "os_compute_api:os-migrate-server:migrate"),
    ("os-migrateLive", _ONE_HOST, MANAGER, "os_compute_api:os-migrate-server:migrate_live"),
    ("evacuate", _ONE_HOST, ADMIN, "os_compute_api:os-evacuate"),
    ("injectNetworkInfo", _LATER, ADMIN, "os_compute_api:os-admin-actions:inject_network_info"),
    ("resetNetwork", _LATER, ADMIN, "os_compute_api:os-admin-actions:reset_network"),
    ("trigger_crash_dump", _LATER, MEMBER, "os_compute_api:servers:trigger_crash_dump"),
    ("os-getVNCConsole", _LATER, MEMBER, "os_compute_api:os-remote-consoles"),
    ("os-getSerialConsole", _LATER, MEMBER, "os_compute_api:os-remote-consoles"),
    ("os-getSPICEConsole", _LATER, MEMBER, "os_compute_api:os-remote-consoles"),
)  # fmt: skip
"""(action, why not, who would be allowed, OpenStack's rule)."""

LOOSE = Schema("action", extra=True)


def _refusal(what: str, why: str) -> Handler:
    async def refuse(compute: Compute, call: Call) -> None:
        compute.server(call.ctx, call.params["server_id"])
        raise NotImplementedHere(f"{what} {why}")

    return refuse


async def refuse_console(compute: Compute, call: Call) -> None:
    """`POST /servers/{id}/remote-consoles`."""
    compute.server(call.ctx, call.params["server_id"])
    raise NotImplementedHere(f"A remote console {_LATER} os-getConsoleOutput shows what the server wrote.")


ROUTES = [
    *(
        Route("POST", "/servers/{server_id}/action", _refusal(name, why), action=name, body=LOOSE, status=202, policy=policy,
              rule=rule)
        for name, why, policy, rule in ACTIONS
    ),
    Route("POST", "/servers/{server_id}/remote-consoles", refuse_console, body=Schema("remote_console", extra=True),
          policy=MEMBER, rule="os_compute_api:os-remote-consoles", since=(2, 6)),
]  # fmt: skip
