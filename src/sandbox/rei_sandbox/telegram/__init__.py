"""A stand-in for the Telegram Bot API: the real shapes, limits and refusals, kept in memory.

`routes.setup` puts it on an aiohttp application; `state.TelegramState` is what it knows. The
chat page and tests act as Telegram's users through the state's methods.
"""
