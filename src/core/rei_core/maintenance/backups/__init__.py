"""Backups of the database: taken as a stream, verified by restoring, never the last one deleted.

`dump` takes them, `verify` and `restore` read them, `retention` decides which may go, `manifest`
describes the format, `storage` is where they lie. Needs the extra `operator` (obstore, zstandard,
pyrage), so nothing outside imports it before it is used.
"""
