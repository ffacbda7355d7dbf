"""`xpert-mq queues`: how many jobs there are of each kind, and how fast they go."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from xpert_mq.cli.filters import interval_option, job_filter, name_options, owner_options
from xpert_mq.cli.output import json_option, say_json


@click.command(short_help="Count jobs by plugin, queue and job name, and their rates.")
@name_options
@owner_options
@click.option("--watch", is_flag=True, help="Show it anew at every interval, until Ctrl-C.")
@interval_option
@json_option
@click.pass_context
def queues(context: click.Context, /, watch: bool, interval: float, as_json: bool, **given: Any) -> None:
    """Count the jobs of each plugin, queue and job name by state, and how many come and go per minute.

    Rates are means over the last 5 full minutes and the present one, and of all tenants together; so they are left out
    where a tenant is named. `oldest` is how long the first of the waiting jobs waits.
    """
    if not watch and context.get_parameter_source("interval") is not ParameterSource.DEFAULT:
        raise click.UsageError("--interval is for --watch")
    from xpert_mq.cli.queue_lines import QueueLines
    from xpert_mq.cli.watch import keep_looking
    from xpert_mq.service import managed_queue

    lines = QueueLines(managed_queue, job_filter(**given))
    if watch:
        keep_looking(lines, interval, as_json)
        return
    lines.look()
    if as_json:
        say_json(lines.document())
    else:
        lines.show()
