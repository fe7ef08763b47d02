"""The command line. Torch and what needs it are imported only inside the commands."""

from gan_zoo.cli.main import main
from gan_zoo.cli.table import COMMANDS, GROUPS

__all__ = ["COMMANDS", "GROUPS", "main"]
