// The stream of events, for ever: a browser reconnects by itself after a cut, but not after an
// error page, and not when a connection is dead without saying so. Each new stream begins with a
// snapshot, so there is nothing to catch up on.

const SILENCE_MS_MAX = 30_000; // the server says something at least every ten seconds
const AGAIN_MS = 1_000;

/** Calls `onEvent(event)`, and `onLive(true | false)` when the stream comes and goes. */
export function listen(onEvent, onLive) {
  let source = null;
  let watchdog = 0;

  const heard = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(again, SILENCE_MS_MAX);
  };

  const again = () => {
    source?.close();
    onLive(false);
    clearTimeout(watchdog);
    watchdog = setTimeout(open, AGAIN_MS);
  };

  const open = () => {
    source = new EventSource("/_sandbox/chat/events");
    heard();
    source.onmessage = ({ data }) => {
      heard();
      const event = JSON.parse(data);
      if (event.event === "snapshot") onLive(true);
      onEvent(event);
    };
    source.onerror = () => {
      onLive(false);
      if (source.readyState === EventSource.CLOSED) again();
    };
  };

  open();
  addEventListener("online", again);
}
