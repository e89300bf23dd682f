"""The conversation, a module for each topic.

Handlers are short: parse, one service call in one transaction, render. None holds a connection
while Telegram or the payment provider is waited for. Each may run twice for one update (after a
crash), so what charges is keyed by the draft, and what opens a payment by the message.
"""
