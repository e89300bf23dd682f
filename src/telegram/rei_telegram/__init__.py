"""What bot and worker share on the way to Telegram; `rei_core` knows no framework, aiogram neither."""
