"""Rich's console, for what it does otherwise than the rest of the command line."""

from __future__ import annotations

from rich.console import Console


class Terminal(Console):
    """A console that leaves a closed pipe to the command."""

    def on_broken_pipe(self) -> None:
        """Raises the error that it is called in."""
        raise BrokenPipeError
