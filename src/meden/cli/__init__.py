"""The command line: ``meden COMMAND --help``."""

from meden.cli.app import main

__all__ = ["main"]
