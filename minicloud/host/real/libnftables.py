"""nftables in this process: libnftables by ctypes.

A change takes a millisecond this way and tens of them by a process. A context's netlink socket belongs to the namespace
of the thread that made it, so each call makes its context where it runs. Called by `nft.NftFirewall` only.
Source: libnftables(3).
"""

from __future__ import annotations

import ctypes
import threading
from functools import cache
from typing import Any

from minicloud.core.errors import HostFailure, Unavailable

_turn = threading.Lock()
"""The library keeps tables of its own for all contexts, so there is one call at a time."""


def execute(commands: str) -> str:
    """Run commands as one transaction in the namespace of the calling thread; returns what they print. Blocks.

    Raises:
        HostFailure: the kernel or the parser refused; nothing has changed. The detail holds reason and commands.
        Unavailable: the library is not installed.
    """
    library = _library()
    with _turn:
        context = ctypes.c_void_p(library.nft_ctx_new(0))
        try:
            library.nft_ctx_buffer_output(context)
            library.nft_ctx_buffer_error(context)
            code = library.nft_run_cmd_from_buffer(context, commands.encode())
            said = _text(library.nft_ctx_get_error_buffer(context))
            printed = _text(library.nft_ctx_get_output_buffer(context))
        finally:
            library.nft_ctx_free(context)
    if code != 0:
        raise HostFailure(
            "Cannot change the packet filter: the kernel refused.", detail=f"{said[:2000]}\n{commands[:4000]}"
        )
    return printed


@cache
def _library() -> Any:
    try:
        library = ctypes.CDLL("libnftables.so.1")
    except OSError:
        raise Unavailable(
            "The library libnftables is not installed on this machine; `make install` brings it."
        ) from None
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
    library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    return library


def _text(buffer: bytes | None) -> str:
    return (buffer or b"").decode("utf-8", "replace")
