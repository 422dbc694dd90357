"""Hears of packet filters that somebody else took away.

The kernel tells every change of nftables to those who listen. Of all that, only a loss concerns us: our tables deleted,
or a base chain flushed that we never change after loading it. So our own everyday changes cost nothing here, and a
flushed rule set is known of in milliseconds. Called by `nft.NftFirewall` only. Sources: netlink(7), the kernel's
nf_tables netlink interface.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Collection

from pyroute2.netlink.marshal import Marshal
from pyroute2.netlink.nfnetlink import NFNL_SUBSYS_NFTABLES
from pyroute2.netlink.nfnetlink.nftsocket import NFT_MSG_DELRULE, NFT_MSG_DELTABLE, nft_rule_msg, nft_table_msg

NETLINK_NETFILTER = 12
TABLES_GROUP = 7
"""NFNLGRP_NFTABLES."""
ROOM = 1 << 20
"""Bytes that the socket may hold; where they do not suffice the kernel says so, and that counts as a loss."""
MESSAGES = {
    NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELTABLE: nft_table_msg,
    NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELRULE: nft_rule_msg,
}


class NftWatch:
    """Listens in the namespace in which it was made.

    Args:
        chains: (table's name, chain's name) whose rules nobody should take away.
        lost: called on the loop, soon after, when something of theirs went; also after changes of our own that do so.
    """

    def __init__(self, chains: Collection[tuple[str, str]], lost: Callable[[], None]) -> None:
        self._chains, self._lost = frozenset(chains), lost
        self._tables = {table for table, _ in chains}
        self._marshal = Marshal()
        self._marshal.msg_map = MESSAGES
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
        self._socket.bind((0, 1 << (TABLES_GROUP - 1)))
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def close(self) -> None:
        """Stop listening."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        try:
            data = self._socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self._lost()
            return
        if any(self._is_loss(message) for message in self._marshal.parse(data)):
            self._lost()

    def _is_loss(self, message: nft_table_msg | nft_rule_msg) -> bool:
        if isinstance(message, nft_table_msg):
            return message.get_attr("NFTA_TABLE_NAME") in self._tables
        if isinstance(message, nft_rule_msg):
            return (message.get_attr("NFTA_RULE_TABLE"), message.get_attr("NFTA_RULE_CHAIN")) in self._chains
        return False
