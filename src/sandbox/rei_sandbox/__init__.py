"""Stand-ins for Telegram, YooKassa and Gemini over real HTTP, for development and tests.

Never part of a production image.
"""
