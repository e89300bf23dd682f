"""A TCP proxy before PostgreSQL that cuts a connection at the moment one asks for.

    lost_answer     the server has committed; the client never hears of it
    lost_statement  the client has sent it; the server never hears of it

Both look the same to the client: a dead connection. That is the point: nobody can tell a commit
that happened from one that did not, so whoever repeats must be able to repeat both.

An ordered cut waits for the next transaction that writes to one of the tables named, whoever's it
is. Guarantee: a cut counted as `lost_answer` was acknowledged by the server as committed (what it
says is held back until then, and passed on after all if it was no commit). Memory is bounded: what
is not held is not kept, and a slow receiver makes the sender wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from rei_sandbox.chaos.statements import Exchange, MessageReader, Session

Moment = Literal["lost_answer", "lost_statement"]
_Server: TypeAlias = "asyncio.Server"

CONNECT_SECONDS_MAX: Final = 10.0
HELD_BYTES_MAX: Final = 1024 * 1024
"""An answer longer than this is passed on, and the cut waits for another."""
WAITING_MAX: Final = 1000
CONNECTIONS_MAX: Final = 1000
_STARTUP_BYTES_MAX: Final = 10_000
_ENCRYPTION_REQUESTS: Final = (80877103, 80877104)
"""SSLRequest and GSSENCRequest, which are declined."""
_CANCEL_REQUEST: Final = 80877102


@dataclass(frozen=True, slots=True)
class Cut:
    """A cut that waits. `tables` empty: whatever is written."""

    moment: Moment
    tables: frozenset[str] = frozenset()

    def hits(self, written: Iterable[str]) -> bool:
        """Whether a transaction that writes to these tables is the one."""
        found = set(written)
        return bool(found & self.tables) if self.tables else bool(found)


class PostgresProxy:
    """Listens on loopback and passes everything on to the server at `upstream_port`."""

    def __init__(self, *, upstream_port: int, port: int = 0) -> None:
        self.port = port
        self.made: Counter[str] = Counter()
        """The cuts that have happened, by moment."""
        self._upstream_port = upstream_port
        self._waiting: deque[Cut] = deque()
        self._links: set[_Link] = set()
        self._server: _Server | None = None

    async def start(self) -> None:
        """Listen; port 0 takes a free one."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Client(self), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and cut everything."""
        if self._server is not None:
            self._server.close()
        for link in list(self._links):
            link.sever()
        if self._server is not None:
            await self._server.wait_closed()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[PostgresProxy]:
        """Listen inside the block."""
        await self.start()
        try:
            yield self
        finally:
            await self.close()

    def order(self, cut: Cut) -> None:
        """Make `cut` as soon as a transaction fits it. Raises `ValueError` if too many wait."""
        if len(self._waiting) >= WAITING_MAX:
            raise ValueError(f"{WAITING_MAX} cuts wait already")
        self._waiting.append(cut)

    def drop_waiting(self) -> int:
        """Forget the cuts that have not happened; how many there were."""
        dropped = len(self._waiting)
        self._waiting.clear()
        return dropped

    @property
    def waiting(self) -> int:
        """Cuts that wait for their transaction."""
        return len(self._waiting)

    def cut_now(self) -> int:
        """Cut every connection, as a network that breaks would; how many there were."""
        links = list(self._links)
        for link in links:
            link.sever()
        return len(links)

    def take(self, moment: Moment, written: Iterable[str]) -> Cut | None:
        """The first waiting cut that fits, which then waits no more."""
        for cut in self._waiting:
            if cut.moment == moment and cut.hits(written):
                self._waiting.remove(cut)
                return cut
        return None

    def put_back(self, cut: Cut) -> None:
        """It did not come to pass: it waits again, before the others."""
        self._waiting.appendleft(cut)

    def opened(self, link: _Link) -> bool:
        """Count a connection; False if there are too many."""
        if len(self._links) >= CONNECTIONS_MAX:
            return False
        self._links.add(link)
        return True

    def closed(self, link: _Link) -> None:
        self._links.discard(link)

    @property
    def upstream_port(self) -> int:
        return self._upstream_port


class _Link:
    """The two ends of one connection, and what is known of its transaction."""

    def __init__(self, proxy: PostgresProxy, client: asyncio.Transport) -> None:
        self.proxy = proxy
        self.client = client
        self.server: asyncio.Transport | None = None
        self.session = Session()
        self.cuts: dict[int, Cut] = {}
        """The answers to be withheld, by the identity of their exchange."""
        self.severed = False

    def sever(self) -> None:
        """Cut both sides; what is on its way to the server by now still arrives there."""
        if self.severed:
            return
        self.severed = True
        self.client.abort()  # a reset: nothing that waits to be sent arrives
        if self.server is not None:
            self.server.close()
        for cut in self.cuts.values():
            self.proxy.put_back(cut)
        self.cuts.clear()
        self.proxy.closed(self)


class _Client(asyncio.Protocol):
    """The side that connects to us: start-up, then statements."""

    def __init__(self, proxy: PostgresProxy) -> None:
        self._proxy = proxy
        self._link: _Link | None = None
        self._startup = b""
        self._started = False
        self._reader = MessageReader()
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._link = _Link(self._proxy, transport)
        if not self._proxy.opened(self._link):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        assert self._link is not None
        if self._link.severed:
            return
        if self._started:
            self._statements(data)
        else:
            self._start(data)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._connecting is not None:
            self._connecting.cancel()
        if self._link is not None:
            self._link.sever()

    def pause_writing(self) -> None:
        assert self._link is not None
        _pause(self._link.server)

    def resume_writing(self) -> None:
        assert self._link is not None
        _resume(self._link.server)

    def _start(self, data: bytes) -> None:
        """Start-up messages have no type; encryption is declined, the rest goes to the server."""
        assert self._link is not None
        self._startup += data
        while len(self._startup) >= 8:
            length, code = struct.unpack("!ii", self._startup[:8])
            if not 8 <= length <= _STARTUP_BYTES_MAX:
                self._link.sever()
                return
            if len(self._startup) < length:
                return
            if code in _ENCRYPTION_REQUESTS:
                self._startup = self._startup[length:]
                self._link.client.write(b"N")
                continue
            self._started = True
            # Until the server is there nothing more is read, so this stays as small as it is.
            self._link.client.pause_reading()
            self._connecting = asyncio.get_running_loop().create_task(self._connect(code))
            return

    async def _connect(self, code: int) -> None:
        link = self._link
        assert link is not None
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                transport, _ = await loop.create_connection(
                    lambda: _ServerSide(link), "127.0.0.1", self._proxy.upstream_port
                )
        except OSError:  # holds TimeoutError: the server is away, and the client sees just that
            link.sever()
            return
        if link.severed:
            transport.abort()
            return
        link.server = transport
        transport.write(self._startup)
        if code == _CANCEL_REQUEST:
            transport.write_eof()
        self._startup = b""
        link.client.resume_reading()

    def _statements(self, data: bytes) -> None:
        link = self._link
        assert link is not None
        assert link.server is not None
        session = link.session
        try:
            for message in self._reader.feed(data):
                exchange = session.sending
                complete = session.sent(message)
                written = session.would_commit(exchange)
                if not written:
                    continue
                commits_now = complete or exchange.commits
                if commits_now and self._proxy.take("lost_statement", written):
                    # What came before it may have got there; without its Sync it is undone.
                    link.server.write(data[: max(message.start, 0)])
                    self._proxy.made["lost_statement"] += 1
                    link.sever()
                    return
                if complete and (cut := self._proxy.take("lost_answer", written)):
                    link.cuts[id(exchange)] = cut
        except ValueError:
            link.sever()
            return
        link.server.write(data)


class _ServerSide(asyncio.Protocol):
    """Our connection to PostgreSQL."""

    def __init__(self, link: _Link) -> None:
        self._link = link
        self._reader = MessageReader()
        self._held = bytearray()

    def data_received(self, data: bytes) -> None:
        link = self._link
        if link.severed:
            return
        passed = 0
        for message in self._reader.feed(data):
            exchange = link.session.answering
            withheld = exchange is not None and id(exchange) in link.cuts
            ended = link.session.answered(message)
            if not withheld:
                continue
            if ended is not None and self._ends(ended):
                return
            if ended is not None:
                self._release(data[passed : message.end])
                passed = message.end
        rest = data[passed:]
        exchange = link.session.answering
        if exchange is not None and id(exchange) in link.cuts:
            self._hold(rest, exchange)
        else:
            self._release(rest)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._link.sever()

    def pause_writing(self) -> None:
        _pause(self._link.client)

    def resume_writing(self) -> None:
        _resume(self._link.client)

    def _ends(self, exchange: Exchange) -> bool:
        """Cut if it was a commit; else the cut waits for another one."""
        cut = self._link.cuts.pop(id(exchange))
        if exchange.failed or exchange.rolled_back:
            self._link.proxy.put_back(cut)
            return False
        self._link.proxy.made["lost_answer"] += 1
        self._link.sever()
        return True

    def _hold(self, data: bytes, exchange: Exchange) -> None:
        self._held += data
        if len(self._held) > HELD_BYTES_MAX:
            self._link.proxy.put_back(self._link.cuts.pop(id(exchange)))
            self._release(b"")

    def _release(self, data: bytes) -> None:
        if self._held:
            data = bytes(self._held) + data
            self._held.clear()
        if data:
            self._link.client.write(data)


def _pause(transport: asyncio.Transport | None) -> None:
    if transport is not None and not transport.is_closing():
        transport.pause_reading()


def _resume(transport: asyncio.Transport | None) -> None:
    if transport is not None and not transport.is_closing():
        transport.resume_reading()
