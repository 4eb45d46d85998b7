"""The command line, on typer and rich (extra ``cli``)."""

from llmwatch.cli.entry import main

__all__ = ["main"]
