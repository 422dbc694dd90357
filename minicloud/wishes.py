"""What the value of an option has to be, beyond its type: a number within bounds, an address, a word.

A value that makes no sense is told at the start, in one line, rather than by whatever it breaks later. The options of
`config.py` bear these as annotations, and its `load` asks them.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")


@dataclass(frozen=True, slots=True)
class Wish:
    """One thing that is asked of a value: `fits` says whether it is so, `words` what is wanted."""

    fits: Callable[[Any], bool]
    words: str


def _between(low: int, high: int) -> Wish:
    return Wish(lambda number: low <= number <= high, f"a number from {low} to {high}")


def _at_least(low: int) -> Wish:
    return Wish(lambda number: number >= low, f"a number that is at least {low}")


def _is(kind: Callable[[str], object]) -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        try:
            kind(text)
        except ValueError:
            return False
        return True

    return fits


def _is_domain(text: str) -> bool:
    return len(text) <= 253 and all(_LABEL.fullmatch(one) for one in text.rstrip(".").split("."))


_is_network, _is_address = _is(ipaddress.ip_network), _is(ipaddress.ip_address)

Port = Annotated[int, _between(1, 65535)]
PortOrAny = Annotated[int, _between(0, 65535)]
Count = Annotated[int, _at_least(1)]
CountOrNone = Annotated[int, _at_least(0)]
Limit = Annotated[int, _at_least(-1)]
Mtu = Annotated[int, _between(68, 65535)]
Memory = Annotated[int, _between(8, 4 * 1024**2)]
Ratio = Annotated[float, Wish(lambda number: math.isfinite(number) and number > 0, "a number above 0")]
Folder = Annotated[str, Wish(lambda text: bool(text) and "\0" not in text, "a folder")]
DomainOrNone = Annotated[str, Wish(lambda text: not text or _is_domain(text), 'a domain such as novalocal, or ""')]
NetworkOrNone = Annotated[
    str, Wish(lambda text: not text or _is_network(text), 'a network such as 172.24.4.0/24, or ""')
]
AddressOrNone = Annotated[str, Wish(lambda text: not text or _is_address(text), 'an IP address, or ""')]
Networks = Annotated[
    tuple[str, ...], Wish(lambda several: all(map(_is_network, several)), "a list of networks such as 10.0.0.0/8")
]
Addresses = Annotated[tuple[str, ...], Wish(lambda several: all(map(_is_address, several)), "a list of IP addresses")]
DiskFormat = Annotated[str, Wish(lambda text: text in ("qcow2", "raw"), "qcow2 or raw")]
