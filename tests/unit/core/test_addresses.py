"""Which texts are addresses of web servers."""

from __future__ import annotations

import httpx
import pytest

from rei_core.addresses import is_web_address

GOOD = [
    "https://api.yookassa.ru/v3",
    "http://127.0.0.1:8085/telegram",
    "http://[::1]:8085",
    "https://user:word@proxy.example.com/v3",
    "http://rei-bot.rei.svc.cluster.local.",
    "http://rei_sandbox:80",
    "https://бот.рф/pay?from=rei#done",
    "HTTPS://HOST",
]
BAD = [
    "",
    "https",
    "https://",
    "https:///v3",
    "http://?x",
    "api.yookassa.ru",
    "ftp://host",
    "redis://host",
    "https:host",
    "http://host:0",
    "http://host:99999",
    "http://host:port",
    "http://[::1",
    "http://[fe80]",
    "http://10.0.0.256",
    "http://a..b",
    "http://-host",
    "http://" + 64 * "a",
    "http://my host",
    "http://host/a path",
    "http://host\n/v3",
    "http://{host}/v3",
    "https://<your-domain>/",
]


@pytest.mark.parametrize("text", GOOD)
def test_an_address_is_one_for_the_client_too(text: str) -> None:
    assert is_web_address(text)
    assert httpx.URL(text).host


@pytest.mark.parametrize("text", BAD)
def test_what_is_none_is_none(text: str) -> None:
    assert not is_web_address(text)
