"""An order being composed."""

from __future__ import annotations

from dataclasses import dataclass

from rei_core.jobs.model import InputRef


@dataclass(frozen=True, slots=True)
class Draft:
    """What the customer has chosen so far; confirming it makes a job keyed by the draft."""

    id: int
    user_id: int
    chat_id: int
    card_message_id: int | None
    prompt: str
    inputs: tuple[InputRef, ...]
    model: str
    aspect_ratio: str
    image_size: str

    @property
    def idempotency_key(self) -> str:
        return f"draft:{self.id}"
