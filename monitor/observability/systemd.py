"""The notify protocol of systemd: ready, watchdog, stopping; silent where nobody listens."""

import os
import socket


def notify(message: str) -> bool:
    """Send one datagram to NOTIFY_SOCKET; False where there is none."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        try:
            out.sendto(message.encode(), address)
        except OSError:
            return False
    return True
