"""The page on which the payer pays: `/pay/{payment_id}`, plain HTML, also inside a frame.

It stands for YooKassa's own page. Nothing is asked of the payer but what to do. Its one style and
one script stand in the page and are let in by their hashes; anything else in line is not.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from importlib.resources import files
from string import Template
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from rei_sandbox.yookassa.errors import YooKassaRefusal
from rei_sandbox.yookassa.model import Payment
from rei_sandbox.yookassa.service import YooKassa

SHOP_NAME: Final = "Rei · картинки от ИИ"

_STATES: Final = {
    "succeeded": ("ok", "✓", "Оплачено", "Деньги уже у магазина. Можно возвращаться."),
    "waiting_for_capture": ("ok", "✓", "Оплачено", "Магазин подтвердит платёж в ближайшее время."),
    "canceled": (
        "no",
        "✕",
        "Платёж не прошёл",
        "Деньги не списаны. Попробуйте ещё раз в магазине.",
    ),
    "later": (
        "wait",
        "…",
        "Можно оплатить позже",
        "Счёт ждёт вас час. Эта ссылка останется прежней.",
    ),
}

_CHOICE: Final = """
<form method="post">
  <button class="primary" name="action" value="pay" data-testid="pay">Оплатить $amount</button>
  <button class="secondary" name="action" value="decline" data-testid="decline">Отклонить</button>
  <button class="plain" name="action" value="later" data-testid="later">Оплатить позже</button>
</form>
<p class="hint">«Отклонить» — то, что сделал бы банк без денег на карте.</p>
"""

_OUTCOME: Final = """
<div class="outcome $tone" data-testid="pay-status" data-status="$status">
  <div class="mark" aria-hidden="true">$mark</div><h2>$title</h2><p>$text</p>
</div>
<a class="button primary" id="back" href="$href" target="_top" data-testid="back">$back</a>
$again
"""


def setup(app: web.Application, *, yookassa: YooKassa) -> None:
    """Add the page's routes to `app`."""
    source = (files(__package__) / "pay.html").read_text(encoding="utf-8")
    template = Template(source)
    headers = {
        "Content-Security-Policy": _content_policy(source),
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",  # going back must never show an older state
    }

    async def show(request: web.Request) -> web.Response:
        payment = _find(yookassa, request)
        later = "later" in request.query and payment.status == "pending"
        state = "later" if later else payment.status
        page = _page(template, payment, state)
        return web.Response(text=page, content_type="text/html", headers=headers)

    async def act(request: web.Request) -> web.Response:
        payment = _find(yookassa, request)
        action = (await request.post()).get("action")
        if action == "pay":
            yookassa.shop.pay(payment)
        elif action == "decline":
            yookassa.shop.decline(payment)
        elif action != "later":
            raise web.HTTPBadRequest(text="action is pay, decline or later")
        yookassa.calls.record("pay page", str(action), payment.status, subject=payment.id)
        # 303, so that going back or reloading never sends the form twice.
        where = f"/pay/{payment.id}" + ("?later" if action == "later" else "")
        raise web.HTTPSeeOther(where)

    app.router.add_get("/pay/{payment_id}", show)
    app.router.add_post("/pay/{payment_id}", act)


def _content_policy(source: str) -> str:
    """Lets in the page's own style and script, by their hashes, and the chat page's frame."""

    def hashes(tag: str) -> str:
        found = re.findall(f"<{tag}>(.*?)</{tag}>", source, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(each.encode()).digest()) for each in found]
        return " ".join(f"'sha256-{digest.decode()}'" for digest in digests)

    return (
        f"default-src 'none'; style-src {hashes('style')}; script-src {hashes('script')}; "
        "img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    )


def _find(yookassa: YooKassa, request: web.Request) -> Payment:
    yookassa.shop.expire()
    try:
        return yookassa.shop.get(request.match_info["payment_id"])
    except YooKassaRefusal:
        raise web.HTTPNotFound(text="Такого платежа нет. / No such payment.") from None


def _page(template: Template, payment: Payment, state: str) -> str:
    amount = f"{_rubles(payment.amount_kopecks)} ₽"
    body = Template(_CHOICE).substitute(amount=amount)
    if state != "pending":
        body = _outcome(payment, state)
    return template.substitute(
        shop=html.escape(SHOP_NAME),
        amount=html.escape(amount),
        description=html.escape(payment.description or "Без описания"),
        number=html.escape(payment.id[:8]),
        status=html.escape(payment.status),
        payment_id=html.escape(payment.id),
        body=body,
    )


def _outcome(payment: Payment, state: str) -> str:
    tone, mark, title, text = _STATES[state]
    href, back = _way_back(payment.return_url)
    again = (
        f'<a class="button plain" href="/pay/{payment.id}" data-testid="again">Оплатить сейчас</a>'
    )
    return Template(_OUTCOME).substitute(
        tone=tone,
        status=state,
        mark=mark,
        title=title,
        text=text,
        href=html.escape(href, quote=True),
        back=back,
        again=again if state == "later" else "",
    )


def _way_back(return_url: str) -> tuple[str, str]:
    """In the sandbox Telegram is the chat page, so a link to t.me leads there."""
    parts = urlsplit(return_url)
    to_chat = parts.hostname in ("t.me", "telegram.me", "127.0.0.1", "localhost")
    if to_chat or parts.scheme not in ("http", "https"):
        return "/", "Вернуться в чат"
    return return_url, "Вернуться в магазин"


def _rubles(kopecks: int) -> str:
    """`12 500` or `12 500,50`, with thin spaces that do not break."""
    whole = f"{kopecks // 100:,}".replace(",", "\u202f")
    return whole if kopecks % 100 == 0 else f"{whole},{kopecks % 100:02d}"
