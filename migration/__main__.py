"""`python -m migration`."""

from .cli import migrate

migrate(prog_name="python -m migration")
