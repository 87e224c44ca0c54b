"""A network of one host in which a fixed share of all packets is lost: a TUN device, read here.

What is sent to the far address comes back with both addresses exchanged, so that a connection to
`FAR` reaches the listener of this very namespace at `NEAR`. The exchange leaves checksums valid.
"""

from __future__ import annotations

import fcntl
import os
import random
import struct
import subprocess
import threading

__all__ = ["FAR", "NEAR", "TunForwarder"]

NEAR, FAR = "10.9.0.1", "10.9.0.2"

# From <linux/if_tun.h>.
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_SOURCE, _DESTINATION = slice(12, 16), slice(16, 20)  # of the header of IPv4


class TunForwarder:
    """Forwards packets in a thread of its own, until the process ends.

    Args:
        loss: the share of packets that are dropped.
        seed: decides which.

    Attributes:
        forwarded, dropped: packets so far.
    """

    def __init__(self, loss: float, seed: int = 1) -> None:
        self.loss = loss
        self.forwarded = self.dropped = 0
        self._random = random.Random(seed)
        self._tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        request = struct.pack("16sH22x", b"tun0", _IFF_TUN | _IFF_NO_PI)
        fcntl.ioctl(self._tun, _TUNSETIFF, request)
        for command in (f"addr add {NEAR}/24 dev tun0", "link set tun0 up"):
            subprocess.run(["ip", *command.split()], check=True)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            packet = bytearray(os.read(self._tun, 65536))
            if packet[0] >> 4 != 4:
                continue  # of IPv6: the kernel looks for neighbours
            if self._random.random() < self.loss:
                self.dropped += 1
                continue
            packet[_SOURCE], packet[_DESTINATION] = packet[_DESTINATION], packet[_SOURCE]
            os.write(self._tun, packet)
            self.forwarded += 1
