"""`python -m migration.rewrite`."""

from . import command

command(prog_name="python -m migration.rewrite")
