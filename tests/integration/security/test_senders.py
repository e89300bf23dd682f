"""With YOOKASSA_CHECK_SENDER on, nobody talks himself into being YooKassa.

The bot is reached from 127.0.0.1 here. Refused is 403; a sender that is believed is asked about at
YooKassa, where nobody answers: 503.
"""

from __future__ import annotations

import json
from uuid import uuid4

from ..bot_process.conftest import Rei, Stage, notification
from .conftest import ask

BELIEVED, REFUSED = 503, 403
OURS = ("127.0.0.0/8", "10.0.0.0/8", "fd00::/8")

BEHIND_OUR_PROXIES: dict[str, int] = {
    "185.71.76.1": BELIEVED,
    "185.71.76.31": BELIEVED,
    "185.71.76.32": REFUSED,
    "8.8.8.8": REFUSED,
    # Whoever writes the header himself writes on the left; our own proxy adds the truth on the right.
    "185.71.76.1, 8.8.8.8": REFUSED,
    "8.8.8.8, 185.71.76.1": BELIEVED,
    "185.71.76.1, 8.8.8.8, 10.0.0.5": REFUSED,
    "185.71.76.1, 10.0.0.5, 10.9.9.9": BELIEVED,
    "8.8.8.8, 185.71.76.1, 10.0.0.5, fd00::7": BELIEVED,
    # A proxy that is none of ours is a stranger, and so is all that it says.
    "185.71.76.1, 172.16.0.1": REFUSED,
    "185.71.76.1, 172.16.0.1, 10.0.0.5": REFUSED,
    # IPv6, with and without a port, and IPv4 dressed as IPv6.
    "2a02:5180::1": BELIEVED,
    "2a02:5180:ffff::1": BELIEVED,
    "2a02:5181::1": REFUSED,
    "2A02:5180:0:0::1": BELIEVED,
    "[2a02:5180::1]:4711": BELIEVED,
    "185.71.76.1:4711": BELIEVED,
    "::ffff:185.71.76.1": BELIEVED,
    "::ffff:8.8.8.8": REFUSED,
    "185.71.76.1, ::ffff:10.0.0.5": BELIEVED,
    "::185.71.76.1": REFUSED,
    "64:ff9b::185.71.76.1": REFUSED,
    "2002:b947:4c01::1": REFUSED,
    # What is no address is nobody.
    "": REFUSED,
    ",": REFUSED,
    "185.71.76.1,": REFUSED,
    "unknown": REFUSED,
    "185.71.076.1": REFUSED,
    "3108457473": REFUSED,
    "0xb9.0x47.0x4c.0x01": REFUSED,
    "185.71.76.1/27": REFUSED,
    "185.71.76.1 8.8.8.8": REFUSED,
    "for=185.71.76.1": REFUSED,
    "185.71.76.1" + ", 10.0.0.5" * 600: BELIEVED,
    "185.71.76.1, 8.8.8.8" + ", 10.0.0.5" * 600: REFUSED,
}


async def notify(rei: Rei, *headers: str) -> int:
    body = json.dumps(notification(str(uuid4()))).encode()
    written = "".join(f"{header}\r\n" for header in headers).encode()
    status, _answer = await ask(
        rei.process.port, "/webhook/yookassa", method="POST", headers=written, body=body
    )
    return status


async def test_behind_our_proxies_the_first_stranger_from_the_right_is_the_sender(
    stage: Stage,
) -> None:
    async with stage.bot(YOOKASSA_CHECK_SENDER=True, trusted_proxies=OURS) as rei:
        found = {
            forwarded: await notify(rei, f"X-Forwarded-For: {forwarded}")
            for forwarded in BEHIND_OUR_PROXIES
        }
    assert found == BEHIND_OUR_PROXIES


async def test_a_header_that_comes_twice_is_read_in_the_order_of_the_lines(stage: Stage) -> None:
    yookassa, stranger = "X-Forwarded-For: 185.71.76.1", "X-Forwarded-For: 8.8.8.8"
    async with stage.bot(YOOKASSA_CHECK_SENDER=True, trusted_proxies=OURS) as rei:
        assert await notify(rei, yookassa, stranger) == REFUSED
        assert await notify(rei, stranger, yookassa) == BELIEVED


async def test_no_other_header_says_who_the_sender_is(stage: Stage) -> None:
    async with stage.bot(YOOKASSA_CHECK_SENDER=True, trusted_proxies=OURS) as rei:
        for header in (
            "X-Real-IP: 185.71.76.1",
            "Forwarded: for=185.71.76.1",
            "X-Client-IP: 185.71.76.1",
            "CF-Connecting-IP: 185.71.76.1",
            "True-Client-IP: 185.71.76.1",
            "X-Forwarded: 185.71.76.1",
        ):
            assert await notify(rei, header) == REFUSED, header


async def test_with_no_proxies_of_our_own_no_header_is_believed(stage: Stage) -> None:
    async with stage.bot(YOOKASSA_CHECK_SENDER=True) as rei:
        for forwarded in BEHIND_OUR_PROXIES:
            assert await notify(rei, f"X-Forwarded-For: {forwarded}") == REFUSED, forwarded


async def test_a_refused_sender_has_his_body_left_unread(stage: Stage) -> None:
    async with stage.bot(YOOKASSA_CHECK_SENDER=True) as rei:
        status, _answer = await ask(
            rei.process.port,
            "/webhook/yookassa",
            method="POST",
            headers=b"Content-Length: 1000000000\r\n",
        )
        assert status == REFUSED
