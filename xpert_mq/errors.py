"""The tree of errors: one root, data as attributes, messages that say what was wrong and what would be right."""

from __future__ import annotations

from typing import Any, Self


def _rebuilt(kind: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]) -> BaseException:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class ManagedQueueError(Exception):
    """Root of every error that this package raises on purpose.

    Attributes:
        index: the place in `enqueue_many`'s input that it speaks of, or None for a single call.
    """

    index: int | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # Not by calling the class with `args`, as exceptions are by default: a pool's child sends its errors to the
        # parent.
        return _rebuilt, (type(self), self.args, self.__dict__)

    def at(self, index: int) -> Self:
        """The same error as part of a batch, naming the place of the bad input."""
        self.index = index
        self.args = (f"jobs[{index}]: {self}", *self.args[1:])
        return self


class InvalidJobError(ManagedQueueError, ValueError):
    """A job, or a reference to one, was described wrongly; nothing was added or changed.

    Attributes:
        field: the offending field in snake_case, or None where no single field is to blame.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class JobIdConflictError(ManagedQueueError):
    """The id is kept by a job of another plugin, queue or job name of the same tenant.

    Attributes:
        job_id: the id both want.
        tenant_id: the tenant the id belongs to.
        holder: (plugin, queue, job name) of the job that keeps the id.
    """

    def __init__(self, job_id: str, tenant_id: str | None, holder: tuple[str, str, str]) -> None:
        super().__init__(
            f"job id {job_id!r} is kept by {'/'.join(holder)} of the same tenant; "
            "take another id, or wait until that job is removed"
        )
        self.job_id = job_id
        self.tenant_id = tenant_id
        self.holder = holder


class ScopeMismatchError(ManagedQueueError):
    """A tenant, organization or user was named that contradicts the current context or the job's own envelope.

    Attributes:
        field: `tenant_id`, `organization_id` or `user_id`.
        given: what the call or the actor named.
        current: what the context or the envelope holds.
    """

    def __init__(
        self, field: str, given: str | None, current: str | None, *, where: str = "the current context"
    ) -> None:
        super().__init__(f"{field} {given!r} contradicts {current!r} of {where}")
        self.field = field
        self.given = given
        self.current = current


class HandlerNotFoundError(ManagedQueueError):
    """No handler is registered for the logical job; counts as a failed try."""

    def __init__(self, plugin_name: str, queue_name: str, job_name: str, scope_key: str | None = None) -> None:
        scope = f" (scope {scope_key!r}, nor without a scope)" if scope_key else ""
        super().__init__(f"No managed queue handler registered for {plugin_name}/{queue_name}/{job_name}{scope}")
        self.plugin_name = plugin_name
        self.queue_name = queue_name
        self.job_name = job_name
        self.scope_key = scope_key


class InvalidHandlerError(ManagedQueueError, TypeError):
    """A handler was declared or registered wrongly."""


class StalledJobError(ManagedQueueError):
    """This try no longer owns its job: the job was given to another try, cancelled or removed."""


class UnrecoverableError(ManagedQueueError):
    """Raised by a handler: the job fails at once, whatever attempts remain (BullMQ's error of the same name)."""


class Defer(Exception):  # noqa: N818 - not an error: a handler's way to say "later"
    """Raised by a handler: run the same job again after `delay_ms` milliseconds, with no attempt spent."""

    def __init__(self, delay_ms: float = 0) -> None:
        if isinstance(delay_ms, bool) or not isinstance(delay_ms, (int, float)) or not 0 <= delay_ms < float("inf"):
            raise InvalidJobError(
                f"delay_ms must be a finite number of milliseconds >= 0, not {delay_ms!r}", field="delay_ms"
            )
        super().__init__(f"deferred by {int(delay_ms)} ms")
        self.delay_ms = int(delay_ms)

    def __reduce__(self) -> tuple[Any, ...]:
        return Defer, (self.delay_ms,)


class QueueUnavailableError(ManagedQueueError):
    """Redis could not be reached, or did not answer, in time.

    Attributes:
        server: its URL without the password.
        job_id: the job of the call, where there is one; for `enqueue` calling again with it is safe.
        may_have_been_added: False when the command certainly never reached Redis.
    """

    def __init__(
        self, server: str, reason: str, *, job_id: str | None = None, may_have_been_added: bool = False
    ) -> None:
        said = f"Redis at {server} is unavailable: {reason}"
        if job_id is not None:
            outcome = "may or may not have been carried out" if may_have_been_added else "was not carried out"
            said += f"; the call for job {job_id!r} {outcome}, and calling again with this id is safe"
        super().__init__(said)
        self.server = server
        self.reason = reason
        self.job_id = job_id
        self.may_have_been_added = may_have_been_added


class SettingsError(ManagedQueueError, ValueError):
    """A setting of the platform is wrong; names it and what would be right."""


class PluginLoadError(ManagedQueueError):
    """A plugin could not be loaded; the cause carries its own error."""
