"""What the bot says about itself: getMe, commands, name, descriptions, menu button, log out."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

from rei_sandbox.telegram.errors import bad_request
from rei_sandbox.telegram.model import Chat, Json
from rei_sandbox.telegram.params import Params
from rei_sandbox.telegram.state import BOT_NAME, TelegramState

COMMANDS_MAX: Final = 100
COMMAND_LISTS_MAX: Final = 1000
DESCRIPTION_LENGTH_MAX: Final = 256
TEXT_LENGTHS_MAX: Final = {"name": 64, "description": 512, "short_description": 120}
DEFAULT_SCOPE: Final = "default"
PRIVATE_SCOPE: Final = "all_private_chats"
_SCOPES: Final = (
    DEFAULT_SCOPE, PRIVATE_SCOPE, "all_group_chats", "all_chat_administrators", "chat",
    "chat_administrators", "chat_member",
)  # fmt: skip
_COMMAND: Final = re.compile(r"[a-z0-9_]{1,32}")
_LANGUAGE: Final = re.compile(r"([a-z]{2})?")


def commands_for(state: TelegramState, chat: Chat) -> list[Json]:
    """The menu that this user sees: the narrowest scope that has one, their language first."""
    language = chat.language_code[:2].lower()
    for scope in (f"chat:{chat.user_id}", PRIVATE_SCOPE, DEFAULT_SCOPE):
        for code in (language, ""):
            if (found := state.commands.get((scope, code))) is not None:
                return found
    return []


def scope_key(scope: Any) -> str:
    """A BotCommandScope as text: its type, with the chat if it is for one."""
    if scope is None:
        return DEFAULT_SCOPE
    if not isinstance(scope, dict) or scope.get("type") not in _SCOPES:
        raise bad_request("can't parse BotCommandScope: unsupported type specified")
    parts = [str(scope["type"])]
    parts += [str(scope[name])[:64] for name in ("chat_id", "user_id") if name in scope]
    return ":".join(parts)


async def get_me(state: TelegramState, _params: Params) -> Json:
    return {
        **state.bot(),
        "can_join_groups": True,
        "can_read_all_group_messages": False,
        "supports_inline_queries": False,
        "can_connect_to_business": False,
        "has_main_web_app": False,
    }


async def set_my_commands(state: TelegramState, params: Params) -> bool:
    commands = params.objects("commands")
    if commands is None:
        raise bad_request('parameter "commands" is required')
    if len(commands) > COMMANDS_MAX:
        raise bad_request("BOT_COMMANDS_TOO_MUCH")
    key = _commands_key(params)
    if key not in state.commands and len(state.commands) >= COMMAND_LISTS_MAX:
        raise bad_request("BOT_COMMANDS_TOO_MUCH")
    state.commands[key] = [_command(each) for each in commands]
    return True


async def get_my_commands(state: TelegramState, params: Params) -> list[Json]:
    return state.commands.get(_commands_key(params), [])


async def delete_my_commands(state: TelegramState, params: Params) -> bool:
    state.commands.pop(_commands_key(params), None)
    return True


def setter(which: str) -> Callable[[TelegramState, Params], Awaitable[bool]]:
    """setMyName and its like; an empty text takes it back."""

    async def set_text(state: TelegramState, params: Params) -> bool:
        text = params.text(which)
        if len(text) > TEXT_LENGTHS_MAX[which]:
            raise bad_request(f"BOT_{which.upper()}_TOO_LONG")
        state.texts[which, _language(params)] = text
        return True

    return set_text


def getter(which: str) -> Callable[[TelegramState, Params], Awaitable[Json]]:
    """getMyName and its like; another language than was set gets the one for all."""

    async def get_text(state: TelegramState, params: Params) -> Json:
        fallback = BOT_NAME if which == "name" else ""
        own = state.texts.get((which, _language(params)))
        return {which: own or state.texts.get((which, "")) or fallback}

    return get_text


async def set_chat_menu_button(state: TelegramState, params: Params) -> bool:
    """Taken and forgotten: the chat page always shows the commands."""
    if params.text("chat_id"):
        state.known_chat(params.chat_id())
    button = params.json("menu_button")
    if button is not None and (
        not isinstance(button, dict) or button.get("type") not in {"default", "commands", "web_app"}
    ):
        raise bad_request("can't parse menu button: unsupported type specified")
    return True


async def done(_state: TelegramState, _params: Params) -> bool:
    """close and logOut: they matter only where a bot moves between servers."""
    return True


def _commands_key(params: Params) -> tuple[str, str]:
    return scope_key(params.json("scope")), _language(params)


def _language(params: Params) -> str:
    code = params.text("language_code")
    if not _LANGUAGE.fullmatch(code):
        raise bad_request("invalid language code specified")
    return code


def _command(given: Json) -> Json:
    name, description = given.get("command"), given.get("description")
    if not isinstance(name, str) or not _COMMAND.fullmatch(name.removeprefix("/")):
        raise bad_request("BOT_COMMAND_INVALID")
    if not isinstance(description, str) or not 1 <= len(description) <= DESCRIPTION_LENGTH_MAX:
        raise bad_request("BOT_COMMAND_DESCRIPTION_INVALID")
    return {"command": name.removeprefix("/"), "description": description}
