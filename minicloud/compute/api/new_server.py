"""The request to make a server: its schema at every microversion, and how it becomes a `NewServer`."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
from typing import Any

from minicloud.api.route import Call
from minicloud.api.schema import (
    BOOLEAN,
    METADATA,
    OBJECT,
    OPTIONAL,
    REQUIRED,
    UUID,
    Field,
    Schema,
    Type,
    array,
    integer,
    nullable,
    string,
)
from minicloud.compute.api.types import (
    COUNT,
    DESCRIPTION,
    DEVICE_TAG,
    DISK_CONFIG,
    FQDN,
    HOSTNAME,
    ID,
    NAME,
    PASSWORD,
    TAG,
)
from minicloud.compute.block_devices import NewDisk
from minicloud.compute.launch import NewServer, new_password
from minicloud.core.errors import Invalid
from minicloud.network import NicRequest

NETWORK = Schema(
    "network",
    Field("uuid", nullable(UUID), create=OPTIONAL),
    Field("port", nullable(UUID), create=OPTIONAL),
    Field("fixed_ip", Type({"anyOf": [{"type": "string", "format": "ip"}, {"type": "null"}]}), create=OPTIONAL),
    Field("tag", DEVICE_TAG, create=OPTIONAL, since=(2, 32), until=(2, 36)),
    Field("tag", DEVICE_TAG, create=OPTIONAL, since=(2, 42)),
)
_NETWORKS = array(NETWORK)
_NETWORKS_OR_WORD = Type(
    {"anyOf": [{"type": "string", "enum": ["auto", "none"]}, {"type": "array", "items": {"type": "object"}}]}
)

DISK = Schema(
    "block_device_mapping_v2",
    Field("source_type", string(enum=("image", "volume", "snapshot", "blank")), create=OPTIONAL),
    Field("destination_type", string(enum=("local", "volume")), create=OPTIONAL),
    Field("uuid", nullable(string(low=1)), create=OPTIONAL),
    Field("volume_id", nullable(UUID), create=OPTIONAL),
    Field("snapshot_id", nullable(UUID), create=OPTIONAL),
    Field("image_id", nullable(UUID), create=OPTIONAL),
    Field("boot_index", nullable(integer(low=-1, high=1000)), create=OPTIONAL),
    Field("volume_size", nullable(integer(low=0, high=2**31 - 1)), create=OPTIONAL),
    Field("delete_on_termination", BOOLEAN, create=OPTIONAL),
    Field("device_name", nullable(string(high=255)), create=OPTIONAL),
    Field("device_type", nullable(string(high=255)), create=OPTIONAL),
    Field("disk_bus", nullable(string(high=255)), create=OPTIONAL),
    Field("guest_format", nullable(string(high=255)), create=OPTIONAL),
    Field("no_device", Type({}), create=OPTIONAL),
    Field("virtual_name", nullable(string(high=255)), create=OPTIONAL),
    Field("tag", DEVICE_TAG, create=OPTIONAL, since=(2, 32), until=(2, 32)),
    Field("tag", DEVICE_TAG, create=OPTIONAL, since=(2, 42)),
    Field("volume_type", nullable(string(high=255)), create=OPTIONAL, since=(2, 67)),
)
_IMAGE = Type({"anyOf": [{"type": "string", "format": "uuid"}, {"type": "string", "maxLength": 0}]})
_PERSONALITY = Type({"type": "array", "items": {"type": "object"}})

NEW_SERVER = Schema(
    "server",
    Field("name", NAME, create=REQUIRED),
    Field("flavorRef", ID, create=REQUIRED),
    Field("imageRef", _IMAGE, create=OPTIONAL),
    Field("adminPass", PASSWORD, create=OPTIONAL),
    Field("metadata", METADATA, create=OPTIONAL),
    Field("networks", _NETWORKS, create=OPTIONAL, until=(2, 36)),
    Field("networks", _NETWORKS_OR_WORD, create=REQUIRED, since=(2, 37)),
    Field("OS-DCF:diskConfig", DISK_CONFIG, create=OPTIONAL),
    Field("accessIPv4", Type({"type": "string", "format": "ipv4"}), create=OPTIONAL),
    Field("accessIPv6", Type({"type": "string", "format": "ipv6"}), create=OPTIONAL),
    Field("personality", _PERSONALITY, create=OPTIONAL, until=(2, 56)),
    Field("availability_zone", string(low=1, high=255), create=OPTIONAL),
    Field("block_device_mapping", array(DISK), create=OPTIONAL),
    Field("block_device_mapping_v2", array(DISK), create=OPTIONAL),
    Field("config_drive", nullable(BOOLEAN), create=OPTIONAL),
    Field("min_count", COUNT, create=OPTIONAL),
    Field("max_count", COUNT, create=OPTIONAL),
    Field("return_reservation_id", BOOLEAN, create=OPTIONAL),
    Field("key_name", string(low=1, high=255), create=OPTIONAL),
    Field(
        "security_groups",
        array(Schema("group", Field("name", string(low=1, high=255), create=OPTIONAL))),
        create=OPTIONAL,
    ),
    Field("user_data", nullable(string(high=65535)), create=OPTIONAL),
    Field("description", DESCRIPTION, create=OPTIONAL, since=(2, 19)),
    Field("tags", array(TAG, high=50, unique=True), create=OPTIONAL, since=(2, 52)),
    Field("trusted_image_certificates", nullable(array(string(low=1))), create=OPTIONAL, since=(2, 63)),
    Field("host", string(low=1, high=255), create=OPTIONAL, since=(2, 74)),
    Field("hypervisor_hostname", string(low=1, high=255), create=OPTIONAL, since=(2, 74)),
    Field("hostname", HOSTNAME, create=OPTIONAL, since=(2, 90), until=(2, 93)),
    Field("hostname", FQDN, create=OPTIONAL, since=(2, 94)),
    Field("os:scheduler_hints", OBJECT, create=OPTIONAL),
    Field("OS-SCH-HNT:scheduler_hints", OBJECT, create=OPTIONAL),
)

HINTS = ("os:scheduler_hints", "OS-SCH-HNT:scheduler_hints")
_KNOWN_HINTS = {"group": str, "same_host": (str, list), "different_host": (str, list)}


async def read(call: Call) -> tuple[NewServer, str, bool]:
    """What is asked for, the administrator's password, and whether the reservation id alone is wanted.

    Raises:
        Invalid: parts that contradict each other.
    """
    body = call.body
    least = body.get("min_count", 1)
    most = body.get("max_count", least)
    if least > most:
        raise Invalid("Cannot make these servers: min_count must be <= max_count.")
    if body.get("personality"):
        raise Invalid("Cannot write files into the image: put them into user_data, which cloud-init obeys.")
    if body.get("trusted_image_certificates"):
        raise Invalid("Cannot check certificates of images: this cloud keeps no signatures.")
    password = body.get("adminPass") or new_password()
    new = NewServer(
        name=body["name"],
        flavor_id=body["flavorRef"],
        image_id=body.get("imageRef") or None,
        networks=_networks(body.get("networks"), call),
        security_groups=tuple(dict.fromkeys(one["name"] for one in body.get("security_groups", []) if one.get("name"))),
        disks=tuple(_disks(body)),
        description=body.get("description", None if call.at_least(2, 19) else body["name"]),
        hostname=body.get("hostname"),
        key_name=body.get("key_name"),
        user_data=_user_data(body.get("user_data")),
        config_drive=bool(body.get("config_drive")),
        admin_password=password,
        metadata=body.get("metadata", {}),
        tags=tuple(body.get("tags", ())),
        availability_zone=body.get("availability_zone"),
        host=body.get("host") or body.get("hypervisor_hostname"),
        access_ipv4=body.get("accessIPv4"),
        access_ipv6=canonical(body.get("accessIPv6")),
        disk_config=body.get("OS-DCF:diskConfig", "MANUAL"),
        hints=await _hints(call),
        min_count=least,
        max_count=most,
    )
    return new, password, bool(body.get("return_reservation_id"))


def canonical(address: str | None) -> str | None:
    """An address as it is kept, whatever form it was written in; "" and None are none."""
    return str(ipaddress.ip_address(address)) if address else None


def _networks(asked: Any, call: Call) -> Any:
    if asked is None or isinstance(asked, str):
        return asked
    if not asked:
        return None
    requests = []
    for raw in asked:
        one = NETWORK.read(raw, "create", call)  # the newer form nests them where no schema has looked yet
        if not one.get("uuid") and not one.get("port"):
            raise Invalid("Bad networks format: a network needs a uuid or a port.")
        requests.append(
            NicRequest(
                network_id=None if one.get("port") else one.get("uuid"), port_id=one.get("port"),
                fixed_ip=None if one.get("port") else one.get("fixed_ip"), tag=one.get("tag"),
            )
        )  # fmt: skip
    return requests


def _disks(body: dict[str, Any]) -> list[NewDisk]:
    old, new = body.get("block_device_mapping"), body.get("block_device_mapping_v2")
    if old and new:
        raise Invalid("Cannot use two kinds of block device mapping at once: leave block_device_mapping out.")
    if old:
        return [_old_disk(one, index, bool(body.get("imageRef"))) for index, one in enumerate(old)]
    return [_disk(one) for one in new or [] if not one.get("no_device")]


def _disk(one: dict[str, Any]) -> NewDisk:
    source = one.get("source_type")
    if source is None:
        raise Invalid("Block Device Mapping is Invalid: source_type is missing.")
    return NewDisk(
        source=source,
        source_id=one.get("uuid") or one.get(f"{source}_id"),
        destination=one.get("destination_type") or ("volume" if source in ("volume", "snapshot") else "local"),
        boot_index=one.get("boot_index"),
        size_gb=one.get("volume_size") or None,
        delete_on_termination=bool(one.get("delete_on_termination")),
        bus=one.get("disk_bus"),
        device_type=one.get("device_type"),
        device=one.get("device_name"),
        guest_format=one.get("guest_format"),
        tag=one.get("tag"),
        volume_type=one.get("volume_type"),
    )


def _old_disk(one: dict[str, Any], index: int, has_image: bool) -> NewDisk:
    """The form of the first API: a volume or snapshot under a device name; without an image the first one boots."""
    source = "snapshot" if one.get("snapshot_id") else "volume"
    return NewDisk(
        source=source, source_id=one.get(f"{source}_id"), destination="volume",
        boot_index=0 if index == 0 and not has_image else None, size_gb=one.get("volume_size") or None,
        delete_on_termination=bool(one.get("delete_on_termination")), device=one.get("device_name"),
    )  # fmt: skip


def _user_data(text: str | None) -> str | None:
    if not text:
        return None
    try:
        base64.b64decode(text)
    except (binascii.Error, ValueError):
        raise Invalid("Cannot use user_data: it must be base64.") from None
    return text


async def _hints(call: Call) -> dict[str, Any]:
    """Scheduler hints stand beside the server in the body (or, from some clients, inside); hints we have no use for stay."""
    whole = json.loads(await call.request.read())
    hints: Any = next((place[key] for place in (whole, call.body) for key in HINTS if key in place), {})
    if not isinstance(hints, dict):
        raise Invalid("Cannot use the scheduler hints: they must be an object.")
    for name, kinds in _KNOWN_HINTS.items():
        if name in hints and not isinstance(hints[name], kinds):  # type: ignore[arg-type]
            raise Invalid(f"Cannot use the scheduler hint {name}: it names servers or a group by id.")
    for name in ("same_host", "different_host"):
        many = hints.get(name, [])
        if isinstance(many, list) and not all(isinstance(one, str) for one in many):
            raise Invalid(f"Cannot use the scheduler hint {name}: it names servers by id.")
    return hints
