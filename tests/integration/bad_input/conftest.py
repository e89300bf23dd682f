"""What a hostile customer, provider or network can bring; the fixtures are those of other tests."""

from __future__ import annotations

from ..bot_conversation.conftest import rei
from ..bot_process.conftest import stage, telegram
from ..worker.conftest import studio

__all__ = ["rei", "stage", "studio", "telegram"]
