"""`xpert-mq jobs`: looks at single jobs, cancels them and runs them again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from xpert_mq.cli.output import as_document, json_option, say, say_json

if TYPE_CHECKING:
    from xpert_mq.models import CancelResult
    from xpert_mq.service import ManagedQueueService

F = TypeVar("F", bound=Callable[..., Any])

#: Ids that a question names.
_NAMED = 5


def _owned(command: F) -> F:
    """Whose job it is: ids belong to tenants, so it must be said."""
    none = click.option("--no-tenant", is_flag=True, help="Of the jobs without a tenant.")
    return click.option("--tenant", metavar="ID", help="Of this tenant.")(none(command))


def _owner(tenant: str | None, no_tenant: bool) -> str | None:
    if (tenant is not None) == no_tenant:
        raise click.UsageError("say whose job it is: --tenant ID or --no-tenant")
    return tenant


def _owner_named(tenant_id: str | None) -> str:
    return "without a tenant" if tenant_id is None else f"of tenant {tenant_id!r}"


def _service() -> ManagedQueueService:
    from xpert_mq.service import managed_queue

    return managed_queue


@click.group()
def jobs() -> None:
    """Look at jobs by their ids, cancel them, run them again.

    An id that begins with a hyphen comes after a `--`.
    """


@jobs.command()
@click.argument("job_id", metavar="ID")
@_owned
@json_option
def show(job_id: str, tenant: str | None, no_tenant: bool, as_json: bool) -> None:
    """Show all there is about a job: whose it is, its options, payload, tries and times.

    Exit code 1 if there is no such job.
    """
    from xpert_mq.cli.job import document, print_job, read_job

    tenant_id = _owner(tenant, no_tenant)
    job = read_job(_service(), job_id, tenant_id)
    if job is None:
        raise click.ClickException(f"there is no job {job_id!r} {_owner_named(tenant_id)}, or not any more")
    if as_json:
        say_json(document(job))
    else:
        print_job(job)


@jobs.command()
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
@_owned
@click.option("-y", "--yes", is_flag=True, help="Don't ask, where there is more than one.")
@json_option
@click.pass_context
def cancel(context: click.Context, /, job_ids: Sequence[str], tenant: str | None, no_tenant: bool, **how: bool) -> None:
    """Remove jobs that have not started.

    They never run then, and their ids are free. Exit code 1 if one was not removed.
    """
    _act(context, "cancel", job_ids, _owner(tenant, no_tenant), **how)


@jobs.command()
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
@_owned
@click.option("-y", "--yes", is_flag=True, help="Don't ask, where there is more than one.")
@json_option
@click.pass_context
def retry(context: click.Context, /, job_ids: Sequence[str], tenant: str | None, no_tenant: bool, **how: bool) -> None:
    """Run failed jobs again, with their full number of attempts.

    Exit code 1 if one was not failed.
    """
    _act(context, "retry", job_ids, _owner(tenant, no_tenant), **how)


def _act(
    context: click.Context, verb: str, job_ids: Sequence[str], tenant_id: str | None, yes: bool, as_json: bool
) -> None:
    """Cancels or retries one job after the other; what was done before an error is told first."""
    ids = list(dict.fromkeys(job_ids))
    if len(ids) > 1 and not yes:
        _confirm(verb, ids, tenant_id)
    act = getattr(_service(), verb)
    results: list[CancelResult] = []
    try:
        for job_id in ids:
            results.append(act(job_id, tenant_id=tenant_id))
            if not as_json:
                say(_said(verb, results[-1]))
    finally:
        if as_json:
            say_json([as_document(result, "job_id", "success", "state", "reason") for result in results])
    context.exit(int(not all(result.success for result in results)))


def _confirm(verb: str, ids: Sequence[str], tenant_id: str | None) -> None:
    from xpert_mq.cli.output import safe

    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    named = ", ".join(map(repr, ids[:_NAMED])) + more
    question = safe(f"{verb.capitalize()} {len(ids)} jobs {_owner_named(tenant_id)}: {named}?")
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort:
        click.echo(err=True)
        raise click.UsageError("no answer, so nothing was done; --yes does it without asking") from None
    if not agreed:
        raise click.ClickException("nothing was done")


def _said(verb: str, result: CancelResult) -> str:
    if result.reason == "not_found":
        return f"{result.job_id}: there is no such job"
    if not result.success:
        return f"{result.job_id}: not {'cancelled' if verb == 'cancel' else 'run again'}, it is {result.reason}"
    return f"{result.job_id}: " + (f"cancelled, it was {result.state}" if verb == "cancel" else "runs again")
