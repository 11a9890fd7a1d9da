"""Run by the interpreter alone: passes TCP connections on, at so many bytes a second.

slow_relay.py ADDRESS PORT TO_PORT BYTES_PER_SECOND
"""

from __future__ import annotations

import socket
import sys
import threading
import time

CHUNK = 65536


def carry(source: socket.socket, target: socket.socket, rate: float) -> None:
    """Until the source ends."""
    try:
        while data := source.recv(CHUNK):
            target.sendall(data)
            time.sleep(len(data) / rate)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()
        target.close()


def main() -> None:
    """For ever."""
    address, port, to, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    listener = socket.create_server((address, port))
    while True:
        here, _ = listener.accept()
        there = socket.create_connection((address, to))
        for pair in ((here, there), (there, here)):
            threading.Thread(target=carry, args=(*pair, rate), daemon=True).start()


if __name__ == "__main__":
    main()
