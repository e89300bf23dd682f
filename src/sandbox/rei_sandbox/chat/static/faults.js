// Ordering faults, and seeing which wait and which have happened.

import * as api from "./api.js";
import { byId, el, keep } from "./dom.js";
import { badge } from "./people.js";

const ANY = "*";
const NOTIFICATION = "notification";
const SERVICES = { telegram: "Telegram", yookassa: "YooKassa", gemini: "Gemini" };
const NOTIFICATIONS = ["lost", "duplicated", "late", "reordered", "forged"]; // go with no other operation
const KINDS = {
  rate_limited: ["429, come back later", "Refused, with a wish to come back after the delay."],
  unavailable: ["503, unavailable", "Refused as overloaded; nothing was done. (Telegram: 502.)"],
  internal: ["500, internal error", "Refused with an error of its own; the outcome is unknown to the caller."],
  hang: ["Hangs", "Takes the call, does nothing and says nothing: for the delay, or until the caller gives up."],
  done_no_answer: ["Done, but no answer", "Carries the call out, then cuts the connection after the delay. The one that charges twice."],
  slow: ["Slow", "The picture takes longer, by the delay."],
  blocked: ["Blocked", "Gemini: the prompt is against its rules. Telegram: the user has blocked the bot."],
  lost: ["Notification lost", "It is never sent. Only a check or the reconciliation finds the payment."],
  duplicated: ["Comes twice or more", "YooKassa: ten copies at once. Telegram: the same update twice."],
  late: ["Comes late", "By the delay."],
  reordered: ["Comes out of order", "The next one overtakes it."],
  forged: ["Forged", "A success of the newest unpaid payment that is not true."],
  quota_exhausted: ["429, quota of the day is used up", "Not worth a retry before tomorrow."],
  no_image: ["Answers with text only", "STOP, and no picture in it."],
  bad_key: ["400, bad API key", "Our fault: orders have to stop before they charge."],
  model_gone: ["404, model retired", "Our fault: orders of this model have to stop."],
  truncated: ["Answer cut in the middle", "The connection ends before the JSON does."],
  garbage: ["Answer is no JSON", "As a broken proxy would answer."],
  not_an_image: ["Picture is none", "Base64 of something else."],
};
const SUBJECTS = {
  telegram: "a chat id; empty: any chat",
  yookassa: "a payment id; empty: any payment",
  gemini: "a model id; empty: any model",
};
const PRESETS = [
  ["Gemini 503 ×2", { service: "gemini", kind: "unavailable", count: 2 }],
  ["Prompt blocked", { service: "gemini", kind: "blocked" }],
  ["Gemini 429, 5 s", { service: "gemini", kind: "rate_limited", delay_seconds: 5 }],
  ["Notification lost", { service: "yookassa", kind: "lost" }],
  ["Notification ×10", { service: "yookassa", kind: "duplicated" }],
  ["Forged payment", { service: "yookassa", kind: "forged" }],
  ["Payment made, no answer", { service: "yookassa", kind: "done_no_answer", operation: "create" }],
  ["Telegram 429, 3 s", { service: "telegram", kind: "rate_limited", delay_seconds: 3 }],
  ["Photo sent, no answer", { service: "telegram", kind: "done_no_answer", operation: "sendPhoto" }],
];

export class Faults {
  constructor(store, act) {
    this._store = store;
    this._act = act;
    this._form = byId("fault-form");
    byId("presets").append(...PRESETS.map(([label, order]) =>
      el("button", { type: "button", class: "chip", "data-testid": "preset", onclick: () => this._order(order) }, label)));
    byId("fault-services").append(...Object.entries(SERVICES).map(([service, name], index) =>
      el("label", {}, el("input", { type: "radio", name: "service", value: service, checked: index === 2,
        "data-testid": `service-${service}` }), el("span", {}, name))));
    this._form.addEventListener("change", (event) => this._changed(event.target.name));
    this._form.addEventListener("submit", (event) => {
      event.preventDefault();
      this._order(this._wanted(), { inForm: true });
    });
    byId("clear-faults").addEventListener("click", () => api.clearFaults().catch(act.fail));
    store.on("status", () => this._draw());
  }

  _service() {
    return new FormData(this._form).get("service");
  }

  _wanted() {
    const data = new FormData(this._form);
    return {
      service: data.get("service"), kind: data.get("kind"), operation: data.get("operation") ?? ANY,
      count: Number(data.get("count")), delay_seconds: Number(data.get("delay_seconds")),
      subject: data.get("subject").trim(),
    };
  }

  async _order(order, { inForm = false } = {}) {
    const problem = byId("fault-problem");
    problem.hidden = true;
    try {
      await api.orderFault(order);
    } catch (refused) {
      if (!inForm) return this._act.fail(refused);
      problem.textContent = refused.message;
      problem.hidden = false;
      return;
    }
    this._act.notice(`Ordered: ${SERVICES[order.service]}, ${KINDS[order.kind][0].toLowerCase()}`);
  }

  _changed(name) {
    byId("fault-problem").hidden = true;
    if (name === "service") this._fillKinds();
    if (name === "service" || name === "kind") this._fillOperations();
  }

  _fillKinds() {
    const kinds = this._store.faults[this._service()]?.kinds ?? [];
    byId("fault-kind").replaceChildren(...kinds.map((kind) => el("option", { value: kind }, KINDS[kind]?.[0] ?? kind)));
    byId("fault-subject").placeholder = SUBJECTS[this._service()];
    byId("fault-subject").value = "";
  }

  _fillOperations() {
    const kind = byId("fault-kind").value;
    byId("fault-about").textContent = KINDS[kind]?.[1] ?? "";
    const told = NOTIFICATIONS.includes(kind);
    const operations = this._store.faults[this._service()]?.operations ?? [];
    const fitting = told ? [] : operations.filter((operation) => operation !== NOTIFICATION);
    const any = told ? (this._service() === "telegram" ? "updates to the bot" : "notifications") : "any call";
    byId("fault-operation").replaceChildren(el("option", { value: ANY }, any),
      ...fitting.map((operation) => el("option", { value: operation }, operation)));
  }

  _draw() {
    const { status, faults } = this._store;
    if (!status) return;
    if (!byId("fault-kind").value && faults.gemini) this._changed("service");
    badge(byId("faults-total"), status.waiting.reduce((sum, order) => sum + order.count, 0));
    byId("clear-faults").hidden = status.waiting.length === 0;
    const waiting = status.waiting.map((order, index) => ({
      key: String(index), signature: JSON.stringify(order), build: () => waitingRow(order),
    }));
    keep(byId("waiting"), waiting.length ? waiting : [empty("Nothing waits.")]);
    const taken = Object.entries(status.taken).sort().map(([name, number]) => ({
      key: name, signature: String(number), build: () => takenRow(name, number),
    }));
    keep(byId("taken"), taken.length ? taken : [empty("Nothing yet.")]);
  }
}

function waitingRow(order) {
  const details = [
    order.operation === ANY ? "" : order.operation,
    order.delay_seconds ? `${order.delay_seconds} s` : "",
    order.subject ? `only ${order.subject}` : "",
  ].filter(Boolean).join(" · ");
  return el("li", { class: order.service, "data-testid": "waiting-fault" },
    el("b", {}, SERVICES[order.service]), el("span", {}, KINDS[order.kind]?.[0] ?? order.kind, details && el("small", {}, details)),
    el("span", { class: "times" }, `×${order.count}`));
}

function takenRow(name, number) {
  const [service, kind] = name.split(".");
  return el("li", { class: service, "data-testid": "taken-fault" },
    el("b", {}, SERVICES[service]), el("span", {}, KINDS[kind]?.[0] ?? kind), el("span", { class: "times" }, `×${number}`));
}

function empty(words) {
  return { key: "none", signature: words, build: () => el("li", { class: "none" }, words) };
}
