// The strip of numbers above the faults, and the last calls below them.

import { byId, el, keep } from "./dom.js";

export class Numbers {
  constructor(store) {
    this._store = store;
    store.on("status", () => this._draw());
  }

  _draw() {
    const { status } = this._store;
    if (!status) return;
    const { payments, pictures, calls, notifications } = status;
    const tiles = [
      ["payments", "Payments paid", payments.succeeded ?? 0, `${payments.pending ?? 0} open, ${payments.canceled ?? 0} canceled`],
      ["pictures", "Pictures made", pictures, `${calls.gemini ?? 0} calls of Gemini`],
      ["updates", "Updates waiting", status.updates_pending, status.webhook ? "by webhook" : "no webhook"],
      ["notified", "Notifications", notifications.sent ?? 0, `${notifications.delivered ?? 0} taken`],
    ];
    keep(byId("numbers"), tiles.map(([key, name, number, more]) => ({
      key, signature: `${number} ${more}`,
      build: () => el("div", { class: "tile", "data-testid": `number-${key}` },
        el("span", {}, name), el("b", {}, String(number)), el("small", {}, more)),
    })));
    keep(byId("calls"), status.last_calls.map((call, index) => ({
      key: `${call.at} ${call.service} ${call.operation} ${index}`, signature: call.outcome, build: () => callRow(call),
    })));
  }
}

function callRow(call) {
  const bad = call.outcome !== "ok" && !/^(2\d\d|pay|succeeded|pending)/.test(call.outcome);
  return el("li", { class: bad ? "bad" : "", title: call.detail },
    el("time", { datetime: call.at }, new Date(call.at).toLocaleTimeString([], { hour12: false })),
    el("span", {}, `${call.service} `, el("b", {}, call.operation)), el("span", { class: "outcome" }, call.outcome));
}
