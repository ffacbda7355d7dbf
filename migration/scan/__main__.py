"""`python -m migration.scan`."""

from . import command

command()
