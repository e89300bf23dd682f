// What the page asks of the sandbox. Each function throws `Refused` with words for a person.

export class Refused extends Error {}

const SECONDS_MAX = 60;

async function call(method, path, { json, form } = {}) {
  const options = { method, signal: AbortSignal.timeout(SECONDS_MAX * 1000) };
  if (json !== undefined) {
    options.body = JSON.stringify(json);
    options.headers = { "Content-Type": "application/json" };
  }
  if (form) options.body = form;
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Refused("The sandbox does not answer. Is it running?");
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(body.error || `The sandbox answered ${answer.status}`);
  return body;
}

const user = (id) => `/_sandbox/telegram/users/${id}`;

export const fileUrl = (fileId) => `/_sandbox/telegram/files/${encodeURIComponent(fileId)}`;
export const messages = (id) => call("GET", `${user(id)}/messages`);
export const bot = (id) => call("GET", `/_sandbox/chat/bot/${id}`);
export const say = (id, text) => call("POST", `${user(id)}/messages`, { json: { text } });
export const press = (id, messageId, data) =>
  call("POST", `${user(id)}/press`, { json: { message_id: messageId, data } });
export const setBlocked = (id, blocked) => call("POST", `${user(id)}/blocked`, { json: { blocked } });
export const addUser = (firstName, languageCode) =>
  call("POST", "/_sandbox/telegram/users", { json: { first_name: firstName, language_code: languageCode } });
export const sendPhotos = (id, files, caption) => call("POST", `${user(id)}/photos`, { form: form(files, caption) });
export const sendDocument = (id, file, caption) =>
  call("POST", `${user(id)}/documents`, { form: form([file], caption) });
export const orderFault = (order) => call("POST", "/_sandbox/faults", { json: order });
export const clearFaults = () => call("DELETE", "/_sandbox/faults");

function form(files, caption) {
  const data = new FormData();
  if (caption) data.append("caption", caption);
  files.forEach((file, index) => data.append(`file${index}`, file, file.name || `picture-${index + 1}.png`));
  return data;
}
