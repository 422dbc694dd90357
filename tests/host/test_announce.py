"""Announcement frames, byte by byte against the RFCs."""

from __future__ import annotations

import ipaddress
import struct

from minicloud.host.real.announce import frames

MAC = bytes.fromhex("fa163e000001")


def test_arp_is_announced_as_request_and_reply() -> None:
    sent = frames(mac=MAC, address="203.0.113.50", router=True)
    address = ipaddress.ip_address("203.0.113.50").packed
    assert [frame[20:22] for frame in sent] == [b"\0\1", b"\0\2"]
    for frame in sent:
        assert len(frame) == 42 and frame[:6] == b"\xff" * 6 and frame[6:12] == MAC == frame[22:28]
        assert frame[28:32] == address == frame[38:42]


def test_a_neighbour_advertisement_has_a_true_checksum_and_the_right_flags() -> None:
    for router, flags in ((True, 0xA0), (False, 0x20)):
        (frame,) = frames(mac=MAC, address="fd10::1", router=router)
        packet = frame[14:]
        assert frame[:6] == bytes.fromhex("333300000001") and packet[6:8] == bytes([58, 255])
        body = packet[40:]
        pseudo = packet[8:40] + struct.pack("!I3xB", len(body), 58)
        total = sum(struct.unpack(f"!{len(pseudo + body) // 2}H", pseudo + body))
        assert (total & 0xFFFF) + (total >> 16) == 0xFFFF
        assert body[0] == 136 and body[4] == flags and body[24:26] == b"\2\1" and body[26:32] == MAC
