"""The SQL about drafts. All of it can be repeated: an update that comes twice changes nothing more."""

from __future__ import annotations

from typing import Any

import asyncpg

from rei_core.db import Connection
from rei_core.drafts.model import Draft
from rei_core.jobs.model import InputRef

# One message makes one draft; the photos of an album arrive as messages of their own, in any
# order, and gather in the draft of the album. A photo that is there already is not added again.
GATHER = """
INSERT INTO drafts AS d (user_id, chat_id, source_key, prompt, inputs,
                         model, aspect_ratio, image_size)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT ON CONSTRAINT drafts_source_once DO UPDATE
SET prompt = CASE WHEN d.prompt = '' THEN excluded.prompt ELSE d.prompt END,
    inputs = CASE WHEN d.inputs @> excluded.inputs THEN d.inputs
                  ELSE d.inputs || excluded.inputs END
RETURNING *
"""


async def gather(
    connection: Connection,
    *,
    user_id: int,
    chat_id: int,
    source_key: str,
    prompt: str,
    inputs: tuple[InputRef, ...],
    model: str,
    aspect_ratio: str,
    image_size: str,
) -> Draft:
    """Start the draft of a message or album, or add to it."""
    row = await connection.fetchrow(
        GATHER, user_id, chat_id, source_key, prompt, [_ref(i) for i in inputs],
        model, aspect_ratio, image_size,
    )  # fmt: skip
    assert row is not None
    return draft_of(row)


async def find(connection: Connection, draft_id: int, *, user_id: int) -> Draft | None:
    """The user's own draft, or None."""
    row = await connection.fetchrow(
        "SELECT * FROM drafts WHERE id = $1 AND user_id = $2", draft_id, user_id
    )
    return None if row is None else draft_of(row)


CHOOSE = """
UPDATE drafts
SET model = $3, aspect_ratio = $4, image_size = $5
WHERE id = $1 AND user_id = $2
RETURNING *
"""


async def choose(
    connection: Connection,
    draft_id: int,
    *,
    user_id: int,
    model: str,
    aspect_ratio: str,
    image_size: str,
) -> Draft | None:
    """Change what the picture will be; None if the draft is not the user's."""
    row = await connection.fetchrow(CHOOSE, draft_id, user_id, model, aspect_ratio, image_size)
    return None if row is None else draft_of(row)


LATEST_WITHOUT_PROMPT = """
UPDATE drafts
SET prompt = $2
WHERE id = (
    SELECT id FROM drafts
    WHERE user_id = $1 AND prompt = '' AND created_at > now() - interval '15 minutes'
    ORDER BY id DESC
    LIMIT 1
)
RETURNING *
"""


async def answer_prompt(connection: Connection, user_id: int, prompt: str) -> Draft | None:
    """Give the prompt to the photos sent just before it; None if none wait for one."""
    row = await connection.fetchrow(LATEST_WITHOUT_PROMPT, user_id, prompt)
    return None if row is None else draft_of(row)


async def show_card(connection: Connection, draft_id: int, message_id: int) -> None:
    """Remember the message that shows the draft's buttons."""
    await connection.execute(
        "UPDATE drafts SET card_message_id = $2 WHERE id = $1", draft_id, message_id
    )


FORGET = """
DELETE FROM drafts
WHERE id IN (
    SELECT id FROM drafts
    WHERE created_at < now() - make_interval(secs => $1)
    ORDER BY created_at
    LIMIT $2
)
"""


async def forget(connection: Connection, *, older_than_seconds: float, limit: int) -> int:
    """Remove drafts nobody confirmed; how many went. Their jobs, if any, stay."""
    return int((await connection.execute(FORGET, older_than_seconds, limit)).split()[-1])


def draft_of(row: asyncpg.Record) -> Draft:
    """A row of `drafts` as a value."""
    return Draft(
        id=row["id"],
        user_id=row["user_id"],
        chat_id=row["chat_id"],
        card_message_id=row["card_message_id"],
        prompt=row["prompt"],
        inputs=tuple(InputRef(**ref) for ref in row["inputs"]),
        model=row["model"],
        aspect_ratio=row["aspect_ratio"],
        image_size=row["image_size"],
    )


def _ref(ref: InputRef) -> dict[str, Any]:
    return {"file_id": ref.file_id, "mime_type": ref.mime_type, "size_bytes": ref.size_bytes}
