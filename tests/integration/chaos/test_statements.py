"""The wire protocol read in pieces: whatever the cuts between them, the same messages come out."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from rei_sandbox.chaos.statements import (
    HEAD_BYTES_MAX,
    MessageReader,
    Session,
    tables_written,
)


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def read(reader: MessageReader, *pieces: bytes) -> list[tuple[bytes, bytes]]:
    return [(found.kind, found.head) for piece in pieces for found in reader.feed(piece)]


def send(session: Session, *messages: bytes) -> list[bool]:
    return [session.sent(found) for found in MessageReader().feed(b"".join(messages))]


def answer(session: Session, *messages: bytes) -> None:
    for found in MessageReader().feed(b"".join(messages)):
        session.answered(found)


@given(
    bodies=st.lists(st.tuples(st.sampled_from([b"Q", b"D", b"Z"]), st.binary(max_size=40))),
    sizes=st.lists(st.integers(1, 17), min_size=1),
)
def test_the_pieces_make_no_difference(bodies: list[tuple[bytes, bytes]], sizes: list[int]) -> None:
    stream = b"".join(message(kind, body) for kind, body in bodies)
    pieces: list[bytes] = []
    at = 0
    while at < len(stream):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(stream[at : at + size])
        at += size
    assert read(MessageReader(), *pieces) == bodies


@given(bodies=st.lists(st.binary(max_size=40), min_size=1, max_size=5), split=st.integers(0, 200))
def test_where_a_message_lies_is_told_across_pieces(bodies: list[bytes], split: int) -> None:
    stream = b"".join(message(b"D", body) for body in bodies)
    cut = split % (len(stream) + 1)
    reader, found = MessageReader(), []
    for offset, piece in ((0, stream[:cut]), (cut, stream[cut:])):
        found += [(offset + one.start, offset + one.end) for one in reader.feed(piece)]
    assert found[0][0] == 0
    assert [end for _, end in found[:-1]] == [start for start, _ in found[1:]]
    assert found[-1][1] == len(stream)


def test_of_a_large_message_only_the_beginning_is_kept() -> None:
    [(_, head)] = read(MessageReader(), message(b"B", b"x" * (3 * HEAD_BYTES_MAX)))
    assert head == b"x" * HEAD_BYTES_MAX


def test_tables_written_are_found_in_the_middle_of_a_statement() -> None:
    sql = (
        "WITH a AS (UPDATE balances SET x = 1 RETURNING 1) INSERT INTO Transfers SELECT * FROM jobs"
    )
    assert tables_written(sql) == {"balances", "transfers"}
    assert tables_written("SELECT * FROM transfers") == set()


def test_a_prepared_statement_commits_with_its_sync_unless_in_a_block() -> None:
    session = Session()
    send(session, message(b"P", b"s1\0UPDATE jobs SET a = 1\0\0\0"), message(b"S", b""))
    answer(session, message(b"Z", b"I"))
    exchange = session.sending
    assert send(session, message(b"B", b"\0s1\0\0\0"), message(b"E", b"\0\0\0\0\0")) == [
        False,
        False,
    ]
    assert session.would_commit(exchange) == {"jobs"}
    assert send(session, message(b"S", b"")) == [True]
    answer(session, message(b"C", b"UPDATE 1\0"), message(b"Z", b"T"))

    exchange = session.sending
    send(session, message(b"Q", b"INSERT INTO transfers VALUES (1)\0"))
    assert session.would_commit(exchange) == set()
    answer(session, message(b"Z", b"T"))
    exchange = session.sending
    send(session, message(b"Q", b"COMMIT;\0"))
    assert session.would_commit(exchange) == {"jobs", "transfers"}


def test_what_a_rolled_back_block_wrote_does_not_count_for_the_next() -> None:
    session = Session()
    send(session, message(b"Q", b"UPDATE jobs SET a = 1\0"))
    answer(session, message(b"Z", b"T"))
    send(session, message(b"Q", b"ROLLBACK\0"))
    answer(session, message(b"C", b"ROLLBACK\0"), message(b"Z", b"I"))
    exchange = session.sending
    send(session, message(b"Q", b"COMMIT\0"))
    assert session.would_commit(exchange) == set()
