// The page put together: one store, the views around it, and what a person can do.

import * as api from "./api.js";
import { Attachments } from "./attachments.js";
import { ChatView } from "./chat.js";
import { Composer } from "./composer.js";
import "./dialogs.js";
import { byId } from "./dom.js";
import { setUpDrawers } from "./drawers.js";
import { Faults } from "./faults.js";
import { alertWindow, toast } from "./notices.js";
import { Numbers } from "./numbers.js";
import { PayFrame } from "./pay.js";
import { People } from "./people.js";
import { ReplyKeyboard } from "./reply-keyboard.js";
import { Store } from "./store.js";
import { listen } from "./stream.js";
import { setUpTheme } from "./theme.js";
import { Viewer } from "./viewer.js";

const store = new Store();
let sending = Promise.resolve(); // one after the other, so that messages keep their order

const act = {
  /** Write in the name of the current user; rejects when it was refused, after telling so. */
  say(text) {
    const { current } = store;
    return inTurn(() => api.say(current, text));
  },
  command: (text) => act.say(text).catch(() => {}),
  press: (messageId, data) => store.press(messageId, data).catch(act.fail),
  sendFiles({ albums, documents, caption }) {
    const { current } = store;
    const sends = [
      ...albums.map((photos) => (words) => api.sendPhotos(current, photos, words)),
      ...documents.map((file) => (words) => api.sendDocument(current, file, words)),
    ];
    sends.forEach((send, index) => inTurn(() => send(index === 0 ? caption : "")).catch(() => {}));
  },
  view: (message) => viewer.photos(chat.photos(), message),
  viewFile: (file) => viewer.file(file),
  pay: (paymentId) => payFrame.open(paymentId),
  async copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      toast("Copied");
    } catch {
      toast("The browser does not let this page copy.", "failure");
    }
  },
  notice: (text) => toast(text),
  fail: (refused) => toast(refused.message, "failure"),
};

function inTurn(send) {
  const sent = sending.then(send);
  sending = sent.catch(act.fail);
  return sent;
}

const viewer = new Viewer(act);
const payFrame = new PayFrame();
const chat = new ChatView(store, act);
const composer = new Composer(store, act);
new ReplyKeyboard(store, act, composer);
new Attachments(store, act);
new People(store, act);
new Faults(store, act);
new Numbers(store);
setUpDrawers();
setUpTheme();

store.on("trouble", act.fail);
store.on("answer", ({ text, show_alert: wide, user }) => {
  const words = user && user.id !== store.current ? `${user.first_name}: ${text}` : text;
  if (wide) alertWindow(words);
  else toast(words, "answer");
});
store.on("live", () => {
  byId("app").dataset.live = String(store.live);
});
document.addEventListener("visibilitychange", () => store.markRead());

function setBlocked(blocked) {
  api.setBlocked(store.current, blocked).catch(act.fail);
}
byId("block").addEventListener("click", () => setBlocked(!store.user?.blocked));
byId("unblock").addEventListener("click", () => setBlocked(false));

listen((event) => store.apply(event), (live) => store.setLive(live));
