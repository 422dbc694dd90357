"""Every option of the daemon, from one TOML file; `examples/minicloud.toml` shows them all with their defaults.

Unknown options and wrong types refuse the start in one line that names the option, the value and what was wanted.
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

WILDCARDS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""Addresses that mean all of this machine's -> the one by which this machine itself comes in."""


@dataclass(frozen=True)
class Api:
    """The door."""

    listen: str = "127.0.0.1"
    port: int = 5050
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

    state: str = "/var/lib/minicloud"
    cache: str = "/var/cache/minicloud"
    run: str = "/run/minicloud"
    namespaces: str = "/run/netns"


@dataclass(frozen=True)
class Identity:
    """Tokens and passwords. Seconds and counts."""

    token_seconds: int = 14400
    key_rotation_seconds: int = 86400
    keys_kept: int = 3
    hash_threads: int = 2
    argon2_memory_kib: int = 19456
    argon2_time: int = 2
    login_failures: int = 10
    login_window_seconds: int = 900
    lockout_failures: int = 0
    lockout_seconds: int = 1800
    """Wrong passwords in a row, from anywhere, that close an account for a while; 0 never does."""
    password_days: int = 0
    """Days until a password has to be changed; 0 is never."""
    change_password_at_first_use: bool = False
    """Whether users have to change a password that somebody else gave them."""
    password_regex: str = ""
    """What a new password has to match from its start on, and how people are told; empty: no rule."""
    password_regex_description: str = ""
    trust_redelegations: int = 3
    """How often a trust may be lent on."""


@dataclass(frozen=True)
class Image:
    """Images. Bytes."""

    size_limit: int = 64 * 1024**3
    cache_bytes: int = 40 * 1024**3
    quota_images: int = -1
    quota_uploads: int = -1
    quota_mib: int = -1
    quota_staged_mib: int = -1
    """Of each project: images, streams that come in at once, MiB of images, MiB that wait for an import; -1 is no limit."""
    convert: bool = True
    """Whether imports make qcow2 of the formats of other hypervisors (vmdk, vdi, vhd, vhdx)."""
    import_seconds: int = 4 * 3600
    """How long one web-download may take."""
    import_networks: tuple[str, ...] = ()
    """Networks that are not public and from which web-download may fetch all the same, as CIDRs."""


@dataclass(frozen=True)
class Compute:
    """Machines."""

    libvirt_uri: str = "qemu:///system"
    cpu_ratio: float = 4.0
    ram_ratio: float = 1.0
    disk_ratio: float = 1.0
    reserved_ram_mb: int = 512
    reserved_disk_gb: int = 1
    shutdown_seconds: int = 60
    dhcp_domain: str = "novalocal"
    vnc: bool = True
    machine: str = "q35"


@dataclass(frozen=True)
class Network:
    """Networks. The external one is made at first start; an empty CIDR makes none."""

    external_name: str = "public"
    external_cidr: str = "172.24.4.0/24"
    external_gateway: str = "172.24.4.1"
    external_physical: str = "public"
    masquerade: bool = True
    mtu: int = 1500
    dns_servers: tuple[str, ...] = ()
    metadata_port: int = 8775
    physical_networks: dict[str, str] = field(default_factory=dict)
    """Provider network name -> interface of this host that becomes a member of its bridge."""


@dataclass(frozen=True)
class Volume:
    """Volumes."""

    format: str = "qcow2"
    reserved_gb: int = 1


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
        Invalid: the file is missing, no TOML, or has an option that is unknown or of a wrong type.
    """
    if path is None:
        return Config()
    try:
        with path.open("rb") as file:
            told = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise Invalid(f"Cannot read the configuration {path}: {error}.") from None
    config: Config = _section(Config, told, "")
    return config


def _section(kind: Any, told: dict[str, Any], prefix: str) -> Any:
    hints = typing.get_type_hints(kind)
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
    origin = typing.get_origin(hint) or hint
    if origin is tuple and isinstance(value, list):
        return tuple(value)
    if origin is float and type(value) is int:
        return float(value)
    if type(value) is not origin:
        raise Invalid(f"Cannot use {value!r} for the option {name}: a {origin.__name__} is wanted.")
    return value


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
