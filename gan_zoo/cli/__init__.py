"""The command line. Thin: torch and what stands on it are imported only inside a command that needs them."""

from gan_zoo.cli.main import COMMANDS, GROUPS, main
from gan_zoo.cli.train import train_command

__all__ = ["COMMANDS", "GROUPS", "main", "train_command"]
