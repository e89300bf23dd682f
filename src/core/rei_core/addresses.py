"""What is the address of a web server, before anybody calls it."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

LOOKS_LIKE: Final = "It looks like https://host or https://host/path"
_LABEL: Final = re.compile(r"\w([\w-]{0,61}\w)?")
_ONLY_NUMBERS: Final = re.compile(r"[0-9.]+")


def is_web_address(text: str) -> bool:
    """Whether this is an http or https address with a host that there could be."""
    if not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        known = parts.scheme in {"http", "https"} and parts.port != 0
    except ValueError:
        return False
    return known and _is_host(parts.hostname or "")


def _is_host(host: str) -> bool:
    if ":" in host or _ONLY_NUMBERS.fullmatch(host):
        try:
            ip_address(host)
        except ValueError:
            return False
        return True
    return all(_LABEL.fullmatch(label) for label in host.removesuffix(".").split("."))
