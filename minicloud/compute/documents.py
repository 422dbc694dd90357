"""What a guest may read about itself: OpenStack's and EC2's metadata trees.

Pure. The metadata service (`minicloud.metadata`) serves them over HTTP, `launch.py` writes OpenStack's onto the config
drive; both from here, so that they can't tell different things. (Nova user guide, "Metadata"; EC2's instance metadata.)
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

VERSIONS = (
    "2012-08-10", "2013-04-04", "2013-10-17", "2015-10-15", "2016-06-30", "2016-10-06", "2017-02-22", "2018-08-27",
    "2020-10-14", "latest",
)  # fmt: skip
"""Versions of OpenStack's tree; all tell the same, newest content, as new keys never changed old ones."""

EC2_VERSIONS = (
    "1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01",
    "2009-04-04", "latest",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class GuestFacts:
    """Everything that metadata tells of a server, whichever way.

    Attributes:
        key: name, type and public_key, or None. `user_data`: as the guest gets it.
        admin_password: only while a config drive is being written. `guest_password`: what the guest told us.
        addresses: (fixed address, floating address or "") of the first card, for EC2's tree.
        devices: device metadata for tagged disks and cards.
    """

    id: str
    name: str
    hostname: str
    project_id: str
    user_id: str
    availability_zone: str
    key: Mapping[str, Any] | None
    user_data: bytes | None
    metadata: Mapping[str, str]
    launch_index: int
    instance_name: str
    number: int
    reservation_id: str
    flavor_name: str
    image_id: str | None
    security_groups: tuple[str, ...] = ()
    admin_password: str | None = None
    guest_password: str = ""
    local_address: str = ""
    public_address: str = ""
    devices: tuple[Mapping[str, Any], ...] = field(default=())


def meta_data(facts: GuestFacts) -> dict[str, Any]:
    """`meta_data.json`."""
    told: dict[str, Any] = {
        "uuid": facts.id,
        "name": facts.name,
        "hostname": facts.hostname,
        "availability_zone": facts.availability_zone,
        "project_id": facts.project_id,
        "launch_index": facts.launch_index,
        "meta": dict(facts.metadata),
        "devices": [dict(one) for one in facts.devices],
        "dedicated_cpus": [],
    }
    if facts.key is not None:
        told["public_keys"] = {facts.key["name"]: facts.key["public_key"]}
        told["keys"] = [{"name": facts.key["name"], "type": facts.key["type"], "data": facts.key["public_key"]}]
    if facts.admin_password is not None:
        told["admin_pass"] = facts.admin_password
    return told


def openstack_files(facts: GuestFacts, network_data: Mapping[str, Any]) -> dict[str, bytes]:
    """Files of one version folder of OpenStack's tree; the same for each version."""
    files = {
        "meta_data.json": _json(meta_data(facts)),
        "network_data.json": _json(network_data),
        "vendor_data.json": b"{}",
        "vendor_data2.json": b'{"static": {}}',
    }
    if facts.user_data is not None:
        files["user_data"] = facts.user_data
    return files


def config_drive_files(facts: GuestFacts, network_data: Mapping[str, Any]) -> dict[str, bytes]:
    """Everything on a config drive: OpenStack's tree in each version, EC2's in two."""
    files: dict[str, bytes] = {}
    for version in VERSIONS:
        for name, content in openstack_files(facts, network_data).items():
            files[f"openstack/{version}/{name}"] = content
    for version in ("2009-04-04", "latest"):
        files[f"ec2/{version}/meta-data.json"] = _json(ec2_meta_data(facts))
        if facts.user_data is not None:
            files[f"ec2/{version}/user-data"] = facts.user_data
    return files


def ec2_meta_data(facts: GuestFacts) -> dict[str, Any]:
    """EC2's meta-data as a tree: mappings are folders, text is a leaf."""
    tree: dict[str, Any] = {
        "ami-id": f"ami-{facts.number:08x}",
        "ami-launch-index": str(facts.launch_index),
        "ami-manifest-path": "(unknown)",
        "block-device-mapping": {"ami": "vda", "root": "/dev/vda"},
        "hostname": facts.hostname,
        "instance-action": "none",
        "instance-id": f"i-{facts.number:08x}",
        "instance-type": facts.flavor_name,
        "local-hostname": facts.hostname,
        "local-ipv4": facts.local_address,
        "placement": {"availability-zone": facts.availability_zone},
        "public-hostname": facts.hostname,
        "public-ipv4": facts.public_address,
        "reservation-id": facts.reservation_id,
        "security-groups": "\n".join(facts.security_groups),
    }
    if facts.key is not None:
        tree["public-keys"] = {"0": {"openssh-key": facts.key["public_key"]}}
    return tree


def decoded(user_data: str | None) -> bytes | None:
    """User data as the guest gets it: the bytes that the client base64-encoded."""
    return None if user_data is None else base64.b64decode(user_data)


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
