"""`xpert-mq plugins`: loads the plugins as a worker does, and tells what became of them."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from xpert_mq.cli.output import as_document, json_option, say, say_json, show_block, show_table

if TYPE_CHECKING:
    from xpert_mq.handlers import Handler
    from xpert_mq.plugins import LoadedPlugin

_NONE = (
    "No plugins: XPERT_MQ_PLUGINS names no module, and no installed package has an entry point of the group"
    " xpert_mq.plugins."
)
_HANDLER = ("plugin_name", "queue_name", "job_name", "scope_key", "concurrency", "is_async")


@click.command(short_help="Show what is loaded, the handlers, and what failed.")
@click.option("-v", "--verbose", is_flag=True, help="With the traceback of each that failed.")
@json_option
@click.pass_context
def plugins(context: click.Context, verbose: bool, as_json: bool) -> None:
    """Load the plugins as a worker does; show their handlers, and what failed and why.

    Exit code 1 if one failed.
    """
    loaded, warnings = _load()
    if as_json:
        say_json({"plugins": [_document(one) for one in loaded], "warnings": warnings})
    else:
        _show(loaded, warnings, verbose)
    context.exit(int(any(one.error for one in loaded)))


def _load() -> tuple[list[LoadedPlugin], list[str]]:
    """The plugins, and what was warned of meanwhile."""
    from xpert_mq.handlers import registry
    from xpert_mq.plugins import load_plugins
    from xpert_mq.settings import get_settings

    settings = get_settings()
    # As in a worker. And what plugins print is no part of the answer.
    if (folder := os.getcwd()) not in sys.path:
        sys.path.insert(0, folder)
    with _warnings() as warnings, contextlib.redirect_stdout(sys.stderr):
        loaded = load_plugins(settings, registry)
    return loaded, warnings


@contextlib.contextmanager
def _warnings() -> Iterator[list[str]]:
    """Collects the platform's own warnings, which would else go to standard error."""
    found: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno == logging.WARNING:
                found.append(record.getMessage())

    logger, collector = logging.getLogger("xpert_mq"), Collector()
    logger.addHandler(collector)
    logger.propagate, before = False, logger.propagate
    try:
        yield found
    finally:
        logger.propagate = before
        logger.removeHandler(collector)


def _document(plugin: LoadedPlugin) -> dict[str, Any]:
    error = plugin.error and {"message": _reason(plugin), "traceback": _traceback(plugin)}
    handlers = [as_document(handler, *_HANDLER) for handler in plugin.handlers]
    return {"name": plugin.name, "target": plugin.target, "error": error, "handlers": handlers}


def _reason(plugin: LoadedPlugin) -> str:
    cause = plugin.error and plugin.error.__cause__
    return f"{type(cause).__name__}: {cause}" if cause else str(plugin.error)


def _traceback(plugin: LoadedPlugin) -> str:
    cause = plugin.error and plugin.error.__cause__
    return "".join(traceback.format_exception(cause)) if cause else ""


def _show(loaded: Sequence[LoadedPlugin], warnings: Sequence[str], verbose: bool) -> None:
    if not loaded:
        say(_NONE)
        return
    show_table(
        "Plugins",
        ("module or entry point", "loaded from", "handlers"),
        [_line(one) for one in loaded],
        right=("handlers",),
        whole=("handlers",),
    )
    if handlers := [handler for one in loaded for handler in one.handlers]:
        say()
        columns = ("plugin name", "queue", "job", "scope", "at a time", "async")
        show_table(
            "Handlers",
            columns,
            list(_handler_lines(sorted(handlers, key=_order))),
            right=("at a time",),
            whole=("at a time", "async"),
        )
    for one in loaded:
        if one.error:
            show_block(f"{one.name} failed", _traceback(one) if verbose else _reason(one))
    if warnings:
        show_block("Warnings", "\n".join(warnings))


def _line(plugin: LoadedPlugin) -> tuple[object, ...]:
    return plugin.name, plugin.target, "failed" if plugin.error else len(plugin.handlers)


def _order(handler: Handler) -> tuple[str, ...]:
    return handler.plugin_name, handler.queue_name, handler.job_name, handler.scope_key or ""


def _handler_lines(handlers: Sequence[Handler]) -> Iterator[tuple[object, ...]]:
    """What is as in the line before is left out."""
    before: tuple[str, ...] = ()
    for one in handlers:
        name: tuple[str, ...] = (one.plugin_name, one.queue_name)
        plugin, queue = ("" if before[:1] == name[:1] else name[0]), ("" if before == name else name[1])
        yield plugin, queue, one.job_name, one.scope_key or "any", one.concurrency or "-", "yes" if one.is_async else ""
        before = name
