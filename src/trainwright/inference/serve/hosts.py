"""Which addresses are this machine's own. No torch."""

import functools
import ipaddress


@functools.lru_cache
def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address; of names only localhost."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def without_port(host: str) -> str:
    """The host that a Host header names."""
    return host[: host.rfind("]") + 1] if host.startswith("[") else host.partition(":")[0]
