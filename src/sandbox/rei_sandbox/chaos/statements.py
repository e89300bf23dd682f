"""PostgreSQL's wire protocol, as far as one must read it to know what a connection is doing.

Pure: bytes in, messages and transactions out. Nothing here reads a socket. Of a message only its
beginning is kept, so that a picture that is stored passes through without being held.

What is followed: simple queries and the extended protocol (Parse, Bind, Execute, Sync), explicit
transactions and the implicit one that a Sync ends. Not followed, because Rei uses none of it:
COPY, and several statements in one simple query (they count as one).
"""

from __future__ import annotations

import re
import struct
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

HEAD_BYTES_MAX: Final = 64 * 1024
"""Of a message no more than this is kept; no statement of Rei's is as long."""
NAMES_MAX: Final = 2000
"""Prepared statements and portals remembered for one connection; asyncpg keeps a hundred."""
_WRITES: Final = re.compile(r"\b(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+(\w+)", re.IGNORECASE)
_COMMIT: Final = re.compile(r"\s*(?:COMMIT|END)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its type byte, the beginning of its body, and where it ends in the bytes fed.

    `start` is negative if it began in an earlier piece.
    """

    kind: bytes
    head: bytes
    start: int
    end: int


class MessageReader:
    """Finds the messages in a stream that comes in pieces."""

    def __init__(self) -> None:
        self._header = b""
        self._kind = b""
        self._head = bytearray()
        self._left = 0
        self._before = 0

    def feed(self, piece: bytes) -> Iterator[Message]:
        """The messages that end in this piece; take them all before the next one is fed."""
        at, start = 0, -self._before
        while at < len(piece):
            if not self._kind:
                wanted = 5 - len(self._header)
                self._header += piece[at : at + wanted]
                at += wanted
                if len(self._header) < 5:
                    break
                self._begin()
            taken = piece[at : at + self._left]
            room = HEAD_BYTES_MAX - len(self._head)
            self._head += taken[:room]
            self._left -= len(taken)
            at += len(taken)
            if self._left == 0:
                yield Message(self._kind, bytes(self._head), start, at)
                self._kind, self._header, start = b"", b"", at
        self._before = len(piece) - start if self._header or self._kind else 0

    def _begin(self) -> None:
        self._kind = self._header[:1]
        (length,) = struct.unpack("!i", self._header[1:5])
        if length < 4:
            raise ValueError(f"a message of {length} bytes cannot be")
        self._left = length - 4
        self._head.clear()


@dataclass(slots=True)
class Exchange:
    """What a client sent up to a Sync (or in a simple query), and how the server ends it."""

    writes: set[str] = field(default_factory=set)
    commits: bool = False
    """It carries an explicit COMMIT."""
    failed: bool = False
    rolled_back: bool = False


class Session:
    """One connection's statements and transaction, followed from both sides."""

    def __init__(self) -> None:
        self._statements: OrderedDict[bytes, str] = OrderedDict()
        self._portals: OrderedDict[bytes, str] = OrderedDict()
        self._sending = Exchange()
        self._waiting: deque[Exchange] = deque()
        self._block_writes: set[str] = set()
        self._in_block = False

    @property
    def sending(self) -> Exchange:
        """What the client is putting together."""
        return self._sending

    @property
    def answering(self) -> Exchange | None:
        """What the server answers now; None if it has not all been sent."""
        return self._waiting[0] if self._waiting else None

    def would_commit(self, exchange: Exchange) -> set[str]:
        """The tables whose changes become durable if this exchange succeeds; empty for none."""
        if exchange.commits:
            return self._block_writes | exchange.writes
        return set() if self._in_block else exchange.writes

    def sent(self, message: Message) -> bool:
        """Follow a message of the client; True if it completes an exchange."""
        match message.kind:
            case b"P":
                name, query = _texts(message.head, 2)
                _remember(self._statements, name, query.decode(errors="replace"))
            case b"B":
                portal, name = _texts(message.head, 2)
                _remember(self._portals, portal, self._statements.get(name, ""))
            case b"E":
                (portal,) = _texts(message.head, 1)
                self._add(self._portals.get(portal, ""))
            case b"Q":
                (query,) = _texts(message.head, 1)
                self._add(query.decode(errors="replace"))
                return self._complete()
            case b"C":
                names = self._statements if message.head[:1] == b"S" else self._portals
                names.pop(_texts(message.head[1:], 1)[0], None)
            case b"S" | b"F":
                return self._complete()
        return False

    def answered(self, message: Message) -> Exchange | None:
        """Follow a message of the server; the exchange that it ends, if it ends one."""
        if not self._waiting:
            return None
        exchange = self._waiting[0]
        match message.kind:
            case b"E":
                exchange.failed = True
            case b"C" if message.head.startswith(b"ROLLBACK"):
                exchange.rolled_back = True
            case b"Z":
                self._waiting.popleft()
                self._in_block = message.head[:1] != b"I"
                self._block_writes = (
                    self._block_writes | exchange.writes if self._in_block else set()
                )
                return exchange
        return None

    def _add(self, query: str) -> None:
        self._sending.writes |= tables_written(query)
        self._sending.commits |= bool(_COMMIT.match(query))

    def _complete(self) -> bool:
        self._waiting.append(self._sending)
        self._sending = Exchange()
        return True


def tables_written(query: str) -> set[str]:
    """The tables that a statement inserts into, updates or deletes from."""
    return {table.lower() for table in _WRITES.findall(query)}


def _remember(names: OrderedDict[bytes, str], name: bytes, query: str) -> None:
    names[name] = query
    names.move_to_end(name)
    while len(names) > NAMES_MAX:
        names.popitem(last=False)


def _texts(head: bytes, count: int) -> list[bytes]:
    """The zero-terminated texts that a body begins with; cut-off ones are as long as they are."""
    parts = head.split(b"\0", count)[:count]
    return parts + [b""] * (count - len(parts))
