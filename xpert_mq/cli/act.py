"""`xpert-mq jobs cancel` and `retry`: by ids, or by filters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from xpert_mq.cli.endings import Interrupted, interrupt_noted
from xpert_mq.cli.filters import in_words, job_filter, job_options, nothing_there, one_owner, owner_named
from xpert_mq.cli.output import as_document, counted, json_option, one_line, safe, say, say_json

if TYPE_CHECKING:
    from xpert_mq.cli.bulk import Bulk, JobKey
    from xpert_mq.models import CancelResult
    from xpert_mq.store.listing import JobFilter

F = TypeVar("F", bound=Callable[..., Any])

#: Ids that a question names.
_NAMED = 5

#: The states that a job must be in.
_STATES = {"cancel": ("waiting", "delayed"), "retry": ("failed",)}


def _what_to_act_on(verb: str) -> Callable[[F], F]:
    def decorate(command: F) -> F:
        for option in (
            json_option,
            click.option("-y", "--yes", is_flag=True, help="Don't ask, where there is more than one."),
            click.option("--limit", type=click.IntRange(1), metavar="N", help="This many at the most."),
            click.option("--all-tenants", is_flag=True, help="Of all tenants; only with another filter."),
            job_options(_STATES[verb]),
            click.argument("job_ids", metavar="[ID]...", nargs=-1),
        ):
            command = option(command)
        return command

    return decorate


@click.command()
@_what_to_act_on("cancel")
@click.pass_context
def cancel(context: click.Context, /, **given: Any) -> None:
    """Remove jobs that have not started: those of the IDs, or all that match the filters.

    They never run then, and their ids are free. With IDs the exit code is 1 if one was not removed. With filters, what
    has started or ended meanwhile is only counted.
    """
    context.exit(_act("cancel", **given))


@click.command()
@_what_to_act_on("retry")
@click.pass_context
def retry(context: click.Context, /, **given: Any) -> None:
    """Run failed jobs again, with their full number of attempts: those of the IDs, or all that match the filters.

    With IDs the exit code is 1 if one was not failed.
    """
    context.exit(_act("retry", **given))


def _act(verb: str, job_ids: Sequence[str], all_tenants: bool, yes: bool, as_json: bool, **given: Any) -> int:
    """Gives the exit code."""
    owner = {name: given.pop(name) for name in ("tenant", "no_tenant")}
    limit, oldest_first = given.pop("limit"), given.pop("oldest_first")
    narrowed = any(value not in (None, ()) for value in given.values())
    if job_ids:
        if narrowed or limit or oldest_first or all_tenants:
            raise click.UsageError("either IDs or filters, not both; with IDs only --tenant or --no-tenant")
        return _act_on_ids(verb, list(dict.fromkeys(job_ids)), one_owner(**owner), yes, as_json)
    owners = [owner["tenant"] is not None, owner["no_tenant"], all_tenants].count(True)
    if owners > 1:
        raise click.UsageError("--tenant, --no-tenant and --all-tenants exclude each other")
    if not owners:
        raise click.UsageError("say which jobs: IDs or filters; and whose: --tenant ID, --no-tenant or --all-tenants")
    if all_tenants and not narrowed:
        raise click.UsageError("--all-tenants needs another filter: a plugin, queue, job name, state or age")
    wanted = job_filter(**owner, **given, default_states=_STATES[verb])
    _act_on_matching(verb, wanted, limit, oldest_first, yes, as_json, narrowed)
    return 0


def _act_on_ids(verb: str, ids: Sequence[str], tenant_id: str | None, yes: bool, as_json: bool) -> int:
    """One job after the other; what was done before an error or Ctrl-C is told first."""
    from xpert_mq.service import managed_queue

    if len(ids) > 1 and not yes:
        more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
        named = ", ".join(map(repr, ids[:_NAMED])) + more
        _confirm(f"{verb.capitalize()} {len(ids)} jobs {owner_named(tenant_id)}: {named}?")
    act = getattr(managed_queue, verb)
    results: list[CancelResult] = []
    try:
        with interrupt_noted() as interrupted:
            for job_id in ids:
                results.append(act(job_id, tenant_id=tenant_id))
                if not as_json:
                    say(_said(verb, results[-1]))
                if interrupted.is_set() and len(results) < len(ids):
                    raise Interrupted(f"Interrupted after {len(results)} of {len(ids)} jobs.")
    finally:
        if as_json:
            say_json([as_document(result, "job_id", "success", "state", "reason") for result in results])
    return int(not all(result.success for result in results))


def _act_on_matching(
    verb: str, wanted: JobFilter, limit: int | None, oldest_first: bool, yes: bool, as_json: bool, narrowed: bool
) -> None:
    from xpert_mq.cli.bulk import Bulk
    from xpert_mq.service import managed_queue

    bulk = Bulk(managed_queue, verb)
    found = bulk.find(wanted, limit, oldest_first)
    # Whoever names only a tenant may have forgotten the id.
    if found and not yes and (len(found) > 1 or not narrowed):
        _confirm(f"{verb.capitalize()} {_described(wanted, found)}?")
    try:
        complete = bulk.act(found)
    except BaseException:
        _tell(bulk, as_json)
        raise
    if not complete:
        if as_json:
            say_json(bulk.document())
        raise Interrupted("Interrupted." if as_json else f"Interrupted; {bulk.in_words()}")
    if found or as_json:
        _tell(bulk, as_json)
    else:
        say(nothing_there(wanted, managed_queue.settings))


def _tell(bulk: Bulk, as_json: bool) -> None:
    if as_json:
        say_json(bulk.document())
    else:
        say(bulk.in_words())


def _described(wanted: JobFilter, found: Sequence[JobKey]) -> str:
    """The jobs for the question: how many, whose, and some of them."""
    from xpert_mq.store.listing import Tenants

    many, filters = counted(len(found), "job"), in_words(wanted)
    such = [repr(job_id) for _, job_id in found[:_NAMED]]
    if wanted.tenant_id is Tenants.ALL:
        many, filters = f"{many} {_owners(found)}", f"all tenants, {filters}"
        such = [f"{job_id!r} {owner_named(tenant_id)}" for tenant_id, job_id in found[:_NAMED]]
    named = f"{'such as ' if len(found) > _NAMED else ''}{', '.join(such)}"
    return f"{many} ({filters}): {named}"


def _owners(found: Sequence[JobKey]) -> str:
    owners = {tenant_id for tenant_id, _ in found}
    tenants = len(owners - {None})
    parts = [f"of {counted(tenants, 'tenant')}" if tenants else "", "without a tenant" if None in owners else ""]
    return " and ".join(filter(None, parts))


def _confirm(question: str) -> None:
    try:
        agreed = click.confirm(safe(question), err=True)
    except click.Abort as abort:
        click.echo(err=True)
        if isinstance(abort.__context__, KeyboardInterrupt):
            raise Interrupted from None
        raise click.UsageError("no answer, so nothing was done; --yes does it without asking") from None
    if not agreed:
        raise click.ClickException("nothing was done")


def _said(verb: str, result: CancelResult) -> str:
    job_id = one_line(result.job_id)
    if result.reason == "not_found":
        return f"{job_id}: there is no such job"
    if not result.success:
        return f"{job_id}: not {'cancelled' if verb == 'cancel' else 'run again'}, it is {result.reason}"
    return f"{job_id}: " + (f"cancelled, it was {result.state}" if verb == "cancel" else "runs again")
