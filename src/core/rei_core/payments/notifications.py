"""YooKassa's notifications, and who sent them.

They are unsigned: a notification is good for nothing but a hint where to look, and whoever takes
it asks YooKassa itself (`service.settle_by_provider_id`). The check of the sender only spares that
question; behind a proxy it is worth as much as the list of our own proxies.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

from yookassa.domain.notification import WebhookNotificationFactory

from rei_core.errors import ConfigurationError
from rei_core.http import dict_of, object_of
from rei_core.payments.port import Notification
from rei_core.payments.yookassa_wire import is_id

SENDERS: Final = tuple(
    ip_network(network)
    for network in (
        "185.71.76.0/27",
        "185.71.77.0/27",
        "77.75.153.0/25",
        "77.75.154.128/25",
        "77.75.156.11",
        "77.75.156.35",
        "2a02:5180::/32",  # the SDK lists four /64 of it only
    )
)
_EVENT = re.compile(r"(?:payment|refund)\.[a-z_]{1,40}")
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]+)?|([0-9.]+):[0-9]+")
_FIELDS = ("id", "payment_id", "status")


def parse(body: bytes) -> Notification | None:
    """What a notification claims; None for what is none, or about neither a payment nor a refund."""
    data = object_of(body)
    if data is None:
        return None
    event, told = data.get("event"), dict_of(data.get("object"))
    if not isinstance(event, str) or not _EVENT.fullmatch(event):
        return None
    # The SDK gets no more than we read: a kind of card it does not know must not lose a hint.
    named = {name: told[name] for name in _FIELDS if name in told}
    try:
        notification = WebhookNotificationFactory().create(
            {"type": data.get("type"), "event": event, "object": named}
        )
    except (TypeError, ValueError):
        return None
    is_refund = event.startswith("refund.")
    object_id = notification.object.id
    payment_id = getattr(notification.object, "payment_id", None) if is_refund else object_id
    if not is_id(object_id) or not is_id(payment_id):
        return None
    return Notification(event=event, object_id=object_id, payment_id=str(payment_id))


def is_trusted_sender(address: str) -> bool:
    """Whether this is one of YooKassa's own addresses."""
    found = _address(address)
    return found is not None and any(found in network for network in SENDERS)


def client_address(peer: str, forwarded_for: str | None, trusted_proxies: tuple[str, ...]) -> str:
    """Who really asked: the first address, from right to left, that is not one of our proxies.

    `peer` is the other end of the connection, `forwarded_for` the header X-Forwarded-For, of which
    everything left of the first stranger is worth nothing: the stranger wrote it. Raises
    `ConfigurationError` if a proxy's network is none.
    """
    proxies = _networks(trusted_proxies)
    found = peer
    hops = forwarded_for.split(",") if forwarded_for else []
    for hop in reversed(hops):
        address = _address(found)
        if address is None or not any(address in network for network in proxies):
            break
        found = hop.strip()
    address = _address(found)
    return found if address is None else str(address)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    match = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address(text if match is None else match[1] or match[2])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


@lru_cache(maxsize=16)
def _networks(texts: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(ip_network(text, strict=False) for text in texts)
    except ValueError as error:
        raise ConfigurationError(
            "REI_TRUSTED_PROXIES", str(error), 'A JSON list of networks: ["10.0.0.0/8"]'
        ) from None
