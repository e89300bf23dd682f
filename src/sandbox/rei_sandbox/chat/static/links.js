// Which addresses of a bot's may be opened, and which are pages of our own sandbox.

const SCHEMES = new Set(["http:", "https:", "tg:", "mailto:"]);
const LOOPBACK = new Set(["localhost", "127.0.0.1", "[::1]"]);
const PAY = /^\/pay\/([A-Za-z0-9-]+)$/;

/** The address as a URL, or null for one that must not become a link (`javascript:` and the like). */
export function safeUrl(address) {
  let url;
  try {
    url = new URL(address);
  } catch {
    return null;
  }
  return SCHEMES.has(url.protocol) ? url : null;
}

/** The payment of a pay page of this sandbox, whichever of its loopback names it was given. */
export function payId(url) {
  const ours = url.origin === location.origin
    || (LOOPBACK.has(url.hostname) && LOOPBACK.has(location.hostname) && url.port === location.port);
  return ours ? PAY.exec(url.pathname)?.[1] ?? "" : "";
}
