"""What is beside the package in a checkout, and inside of it in a wheel."""

from __future__ import annotations

import importlib.util

import click


def module_beside(name: str) -> str:
    """The full name of the module `name` of such a package, wherever that is."""
    for place in (f"xpert_mq.{name}", name):
        if _is_there(place):
            return place
    raise click.UsageError(f"{name.rpartition('.')[0]} is not installed; run this in a checkout of the repository")


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a package above it
        return False
