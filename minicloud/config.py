"""Every option of the daemon, from one TOML file; `examples/minicloud.toml` shows them all with their defaults.

Unknown options, wrong types and values that make no sense (`wishes.py`) refuse the start in one line that names the
option, the value and what was wanted.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import tomllib
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minicloud.certificates import AUTHORITY, CERTIFICATE
from minicloud.core.errors import Invalid
from minicloud.wishes import (
    Addresses,
    AddressOrNone,
    Count,
    CountOrNone,
    DiskFormat,
    DomainOrNone,
    Folder,
    Limit,
    Memory,
    Mtu,
    NetworkOrNone,
    Networks,
    Port,
    PortOrAny,
    Ratio,
)  # fmt: skip

WILDCARDS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""Addresses that mean all of this machine's -> the one by which this machine itself comes in."""


@dataclass(frozen=True)
class Api:
    """The door."""

    listen: str = "127.0.0.1"
    port: PortOrAny = 5050
    public_url: str = ""
    """What clients use, when it is not `http(s)://listen:port` (a proxy in front, a name)."""
    tls_certificate: str = ""
    tls_key: str = ""
    """PEM files, the certificate with its chain; empty: tls/certificate.pem in the state folder, if it is there, and the
    key in the certificate's file. Without a certificate the door speaks plain HTTP."""
    region: str = "RegionOne"
    policy_file: str = ""
    """Rules in oslo.policy's syntax; `policy.yaml` in the state folder, if it is there."""


@dataclass(frozen=True)
class Paths:
    """Where things lie. The run folder holds sockets: keep it short."""

    state: Folder = "/var/lib/minicloud"
    cache: Folder = "/var/cache/minicloud"
    run: Folder = "/run/minicloud"
    namespaces: Folder = "/run/netns"


@dataclass(frozen=True)
class Identity:
    """Tokens and passwords. Seconds and counts."""

    token_seconds: Count = 14400
    key_rotation_seconds: Count = 86400
    keys_kept: Count = 3
    hash_threads: Count = 2
    argon2_memory_kib: Memory = 19456
    argon2_time: Count = 2
    login_failures: Count = 10
    login_window_seconds: Count = 900
    lockout_failures: CountOrNone = 0
    lockout_seconds: CountOrNone = 1800
    """Wrong passwords in a row, from anywhere, that close an account for a while; 0 never does."""
    password_days: CountOrNone = 0
    """Days until a password has to be changed; 0 is never."""
    change_password_at_first_use: bool = False
    """Whether users have to change a password that somebody else gave them."""
    password_regex: str = ""
    """What a new password has to match from its start on, and how people are told; empty: no rule."""
    password_regex_description: str = ""
    trust_redelegations: CountOrNone = 3
    """How often a trust may be lent on."""


@dataclass(frozen=True)
class Image:
    """Images. Bytes."""

    size_limit: Count = 64 * 1024**3
    cache_bytes: CountOrNone = 40 * 1024**3
    quota_images: Limit = -1
    quota_uploads: Limit = -1
    quota_mib: Limit = -1
    quota_staged_mib: Limit = -1
    """Of each project: images, streams that come in at once, MiB of images, MiB that wait for an import; -1 is no limit."""
    convert: bool = True
    """Whether imports make qcow2 of the formats of other hypervisors (vmdk, vdi, vhd, vhdx)."""
    import_seconds: Count = 4 * 3600
    """How long one web-download may take."""
    import_networks: Networks = ()
    """Networks, as CIDRs, from which web-download may fetch though they are not public, and at any port, not only the web's."""


@dataclass(frozen=True)
class Compute:
    """Machines."""

    libvirt_uri: str = "qemu:///system"
    cpu_ratio: Ratio = 4.0
    ram_ratio: Ratio = 1.0
    disk_ratio: Ratio = 1.0
    reserved_ram_mb: CountOrNone = 512
    reserved_disk_gb: CountOrNone = 1
    shutdown_seconds: CountOrNone = 60
    dhcp_domain: DomainOrNone = "novalocal"
    vnc: bool = True
    machine: str = "q35"


@dataclass(frozen=True)
class Network:
    """Networks. The external one is made at first start; an empty CIDR makes none."""

    external_name: str = "public"
    external_cidr: NetworkOrNone = "172.24.4.0/24"
    external_gateway: AddressOrNone = "172.24.4.1"
    external_physical: str = "public"
    masquerade: bool = True
    mtu: Mtu = 1500
    dns_servers: Addresses = ()
    metadata_port: Port = 8775
    physical_networks: dict[str, str] = field(default_factory=dict)
    """Provider network name -> interface of this host that becomes a member of its bridge."""


@dataclass(frozen=True)
class Volume:
    """Volumes."""

    format: DiskFormat = "qcow2"
    reserved_gb: CountOrNone = 1


@dataclass(frozen=True)
class Config:
    """The whole file. `fake` runs the fake host: no root, no libvirt, nothing on this machine is touched."""

    api: Api = field(default_factory=Api)
    paths: Paths = field(default_factory=Paths)
    identity: Identity = field(default_factory=Identity)
    image: Image = field(default_factory=Image)
    compute: Compute = field(default_factory=Compute)
    network: Network = field(default_factory=Network)
    volume: Volume = field(default_factory=Volume)
    fake: bool = False
    log_json: bool = False

    @property
    def policy_file(self) -> Path:
        """Where the operator's own rules stand, if they have any."""
        return Path(self.api.policy_file) if self.api.policy_file else self.state / "policy.yaml"

    @property
    def state(self) -> Path:
        """The state folder."""
        return Path(self.paths.state)

    @property
    def tls_folder(self) -> Path:
        """Where this cloud's own authority and certificate are, if it has them."""
        return self.state / "tls"

    @property
    def tls(self) -> tuple[Path, Path] | None:
        """The files of the certificate and its key; None is plain HTTP."""
        own = self.tls_folder / CERTIFICATE
        if not self.api.tls_certificate:
            return (own, own) if own.exists() else None
        certificate = Path(self.api.tls_certificate)
        return certificate, Path(self.api.tls_key) if self.api.tls_key else certificate

    @property
    def authority(self) -> Path | None:
        """This cloud's own authority, which clients have to be told to trust."""
        own = self.tls_folder / AUTHORITY
        return own if not self.api.tls_certificate and own.exists() else None

    @property
    def public_url(self) -> str:
        """What clients on this machine use, if they are told nothing else; without a slash at the end."""
        return self.api.public_url.rstrip("/") or self.url(self.api.port)

    def url(self, port: int) -> str:
        """Where the door is, as seen from this machine."""
        scheme = "http" if self.tls is None else "https"
        listen = WILDCARDS.get(self.api.listen, self.api.listen)
        return f"{scheme}://[{listen}]:{port}" if ":" in listen else f"{scheme}://{listen}:{port}"


def is_loopback(listen: str) -> bool:
    """Whether only this machine itself can reach an address (or name) that the door listens on."""
    try:
        return ipaddress.ip_address(listen).is_loopback
    except ValueError:
        return listen == "localhost"


def load(path: Path | None) -> Config:
    """The configuration of a file; without one, the defaults.

    Raises:
        Invalid: the file is missing, no TOML, or has an option that is unknown, of a wrong type or of no sense.
    """
    if path is None:
        return Config()
    try:
        with path.open("rb") as file:
            told = tomllib.load(file)
    except (OSError, ValueError) as error:  # no TOML, or no text at all
        raise Invalid(f"Cannot read the configuration {path}: {error}.") from None
    config: Config = _section(Config, told, "")
    return config


def _section(kind: Any, told: dict[str, Any], prefix: str) -> Any:
    hints = typing.get_type_hints(kind, include_extras=True)
    values: dict[str, Any] = {}
    for name, value in told.items():
        if name not in hints:
            raise Invalid(f"Cannot use the option {prefix}{name}: there is no such option.")
        hint = hints[name]
        if dataclasses.is_dataclass(hint) and isinstance(value, dict):
            values[name] = _section(hint, value, f"{prefix}{name}.")
        else:
            values[name] = _checked(hint, value, prefix + name)
    return kind(**values)


def _checked(hint: Any, value: Any, name: str) -> Any:
    wish = None
    if typing.get_origin(hint) is typing.Annotated:
        hint, wish = typing.get_args(hint)
    kind = typing.get_origin(hint) or hint
    if kind is float and type(value) is int:
        value = float(value)
    if kind is tuple and type(value) is list:
        value = tuple(value)
    inner = value if kind is tuple else value.values() if kind is dict and type(value) is dict else ()
    if type(value) is not kind or not all(type(one) is str for one in inner):
        raise Invalid(f"Cannot use {_shown(value)} for the option {name}: {_WORDS.get(kind, 'a section')} is wanted.")
    if wish is not None and not wish.fits(value):
        raise Invalid(f"Cannot use {_shown(value)} for the option {name}: {wish.words} is wanted.")
    return value


def _shown(value: Any) -> str:
    return repr(list(value) if isinstance(value, tuple) else value)


_WORDS = {
    bool: "true or false", int: "a whole number", float: "a number", str: "text in quotes", tuple: "a list of texts",
    dict: "a table of texts",
}  # fmt: skip


def render(config: Config) -> str:
    """The configuration as a file that `load` reads back to the same."""
    plain, sections = [], []
    for one in dataclasses.fields(config):
        value = getattr(config, one.name)
        if dataclasses.is_dataclass(value):
            lines = [f"{inner.name} = {_literal(getattr(value, inner.name))}" for inner in dataclasses.fields(value)]
            sections.append("\n".join(["", f"[{one.name}]", *lines]))
        else:
            plain.append(f"{one.name} = {_literal(value)}")
    return "\n".join([*plain, *sections, ""])


def _literal(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_literal(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(_literal(inner) for inner in value) + "]"
    return json.dumps(value)  # strings, numbers and truth values look alike in both
