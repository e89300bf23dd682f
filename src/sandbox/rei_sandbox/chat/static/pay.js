// The pay page in a frame over the chat, which goes on living behind it.

import { byId, el } from "./dom.js";

export class PayFrame {
  constructor() {
    this._dialog = byId("pay");
    this._body = byId("pay-body");
    this._dialog.addEventListener("close", () => this._body.replaceChildren());
    addEventListener("message", (event) => this._told(event));
  }

  open(paymentId) {
    const url = `/pay/${paymentId}`;
    byId("pay-out").href = url;
    delete this._dialog.dataset.status;
    this._body.replaceChildren(el("iframe", { src: url, title: "Pay page", "data-testid": "pay-iframe" }));
    this._dialog.showModal();
  }

  /** The page in the frame tells what became of the payment, and when it wants to be closed. */
  _told({ origin, source, data }) {
    const frame = this._body.firstChild;
    if (origin !== location.origin || source !== frame?.contentWindow || data?.source !== "rei-pay") return;
    this._dialog.dataset.status = data.status;
    if (data.event === "close") this._dialog.close();
  }
}
