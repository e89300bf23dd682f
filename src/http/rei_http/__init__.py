"""What bot, worker and operator share to be asked over HTTP; `rei_core` knows no framework, not aiohttp."""
