"""`python -m rei_core` is `rei`, for where only the interpreter is known."""

from rei_core.cli import main

main()
