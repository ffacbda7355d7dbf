"""`xpert-mq jobs`: lists jobs and shows single ones, watches them, cancels them and runs them again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from xpert_mq.cli.act import cancel, retry
from xpert_mq.cli.filters import (
    interval_option,
    job_filter,
    job_options,
    one_owner,
    owner_named,
    owner_options,
    position_of,
)
from xpert_mq.cli.output import json_option, say_json

if TYPE_CHECKING:
    from xpert_mq.cli.job import Job

limit_option = click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, metavar="N", help="This many at the most."
)


@click.group()
def jobs() -> None:
    """List jobs, look at them, cancel them, run them again.

    An id that begins with a hyphen comes after a `--`.
    """


@jobs.command("list")
@job_options()
@limit_option
@click.option(
    "--after", metavar="CURSOR", type=position_of, help="Go on where a list was broken off, which tells it at its end."
)
@json_option
def list_(limit: int, after: Any, oldest_first: bool, as_json: bool, **given: Any) -> None:
    """List jobs, by the time since when they are in their state.

    Without --tenant and --no-tenant it lists those of all tenants. Tries are those that ended, of those that the job
    has. Below 120 columns a job takes several lines; ids are never broken.
    """
    from xpert_mq.cli.listing import JobList, show
    from xpert_mq.service import managed_queue

    found = JobList(managed_queue, job_filter(**given), limit, after, oldest_first)
    found.look()
    if as_json:
        say_json(found.document())
    else:
        show(found)


@jobs.command()
@click.argument("job_id", metavar="[ID]", required=False)
@job_options()
@limit_option
@interval_option
@json_option
@click.pass_context
def watch(
    context: click.Context,
    /,
    job_id: str | None,
    limit: int,
    interval: float,
    oldest_first: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Watch the list, or with an ID what becomes of that job.

    The list is shown anew at every interval until Ctrl-C, which is exit code 0.

    A job is followed until it has ended: exit code 0 if it completed, 1 if it failed or is gone, 130 after Ctrl-C.
    """
    from xpert_mq.cli.watch import follow, keep_looking
    from xpert_mq.service import managed_queue

    if job_id is None:
        from xpert_mq.cli.listing import JobList

        keep_looking(JobList(managed_queue, job_filter(**given), limit, None, oldest_first), interval, as_json)
        return
    tenant, no_tenant = given.pop("tenant"), given.pop("no_tenant")
    if oldest_first or any(given.values()):
        raise click.UsageError("either the ID of a job or filters, not both")
    context.exit(follow(managed_queue, _job(job_id, one_owner(tenant, no_tenant)), interval, as_json))


@jobs.command()
@click.argument("job_id", metavar="ID")
@owner_options
@json_option
def show(job_id: str, tenant: str | None, no_tenant: bool, as_json: bool) -> None:
    """Show all there is about a job: whose it is, its options, payload, tries and times.

    Exit code 1 if there is no such job.
    """
    from xpert_mq.cli.job import document, print_job

    job = _job(job_id, one_owner(tenant, no_tenant))
    if as_json:
        say_json(document(job))
    else:
        print_job(job)


def _job(job_id: str, tenant_id: str | None) -> Job:
    from xpert_mq.cli.job import read_job
    from xpert_mq.service import managed_queue

    job = read_job(managed_queue, job_id, tenant_id)
    if job is None:
        raise click.ClickException(f"there is no job {job_id!r} {owner_named(tenant_id)}, or not any more")
    return job


for command in (cancel, retry):
    jobs.add_command(command)
