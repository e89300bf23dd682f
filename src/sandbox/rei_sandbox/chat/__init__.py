"""The chat page: a messenger in the browser, with the bot at its other end.

`routes.setup` serves it at `/`. The page acts as Telegram's users do, through
`/_sandbox/telegram/…`, and hears of everything through one stream of events (`feed`).
"""
