"""Handlers: how they are declared, registered and found.

The decorator only notes what a class or function handles; nothing is registered by an import alone. `registry` is the
table that a worker looks a job's handler up in.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import itertools
import logging
import sys
import threading
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, TypedDict, TypeVar, Unpack

from xpert_mq.errors import HandlerNotFoundError, InvalidHandlerError, InvalidJobError
from xpert_mq.models import JobContext, JobOptions, JobRequest

logger = logging.getLogger(__name__)

T = TypeVar("T")
H = TypeVar("H", bound=Callable[..., Any])
Key = tuple[str | None, str, str, str]
Wrapper = Callable[[JobContext], AbstractContextManager[Any]]
AsyncWrapper = Callable[[JobContext], AbstractAsyncContextManager[Any]]

_DECLARED = "__xpert_mq_handlers__"
_METHODS = ("handle", "process")
_NAMES = ("plugin_name", "queue_name", "job_name")
_FIELDS = (*_NAMES, "scope_key", "concurrency")
_SPELLINGS = {
    **{name: name for name in _FIELDS},
    "queue": "queue_name",
    "job_type": "job_name",
    "pluginName": "plugin_name",
    "queueName": "queue_name",
    "jobName": "job_name",
    "scopeKey": "scope_key",
    "jobType": "job_name",
}
_definition_order = itertools.count()


@dataclass(slots=True)
class ManagedQueueJob(Generic[T]):
    """What a handler gets as its first argument.

    Attributes:
        id: the job's id within its tenant.
        name: the job name, by which a class that handles several tells them apart.
        data: the payload, as last checkpointed.
        attempts_made: tries that have ended; 0 in the first try (BullMQ's `attemptsMade`).
        opts: the job's options; `opts.attempts` is at least 1.

    Without the checkpoint callables, as in a plugin's own unit tests, a checkpoint changes `data` and nothing else.
    """

    id: str
    name: str
    data: T
    attempts_made: int = 0
    opts: JobOptions = field(default_factory=JobOptions)
    checkpoint: Callable[[Any], None] | None = field(default=None, repr=False, compare=False)
    acheckpoint: Callable[[Any], Awaitable[None]] | None = field(default=None, repr=False, compare=False)

    def update_data(self, data: T) -> None:
        """Keep `data` as the job's payload: `get_job` and the next try see it.

        Raises StalledJobError if this try has lost its job, and InvalidJobError for what is not JSON; `data` stays as
        it was then.
        """
        if self.checkpoint is not None:
            self.checkpoint(data)
        self.data = data

    async def aupdate_data(self, data: T) -> None:
        """`update_data` without blocking the event loop."""
        if self.acheckpoint is not None:
            await self.acheckpoint(data)
        self.data = data


@dataclass(frozen=True, slots=True)
class Declaration:
    """What one use of the decorator says; `order` grows with every use in this process."""

    plugin_name: str
    queue_name: str
    job_name: str
    scope_key: str | None = None
    concurrency: int | None = None
    order: int = field(default_factory=lambda: next(_definition_order), compare=False)

    @property
    def logical_job(self) -> str:
        return f"{self.plugin_name}/{self.queue_name}/{self.job_name}"

    def scoped(self, scope_key: object) -> Declaration:
        """The same for another scope, which is checked."""
        return Declaration(**_checked({**asdict(self), "scope_key": scope_key}))


@dataclass(frozen=True, slots=True, eq=False)
class Handler:
    """A registration: what it handles and how to call it. Two are never equal, whatever they say.

    `func` takes the job, and the JobContext too if `wants_context`. If `is_async`, it returns a coroutine.
    """

    plugin_name: str
    queue_name: str
    job_name: str
    scope_key: str | None
    concurrency: int | None
    func: Callable[..., Any]
    is_async: bool
    wants_context: bool

    @property
    def key(self) -> Key:
        return (self.scope_key, self.plugin_name, self.queue_name, self.job_name)

    def call(self, job: ManagedQueueJob[Any], context: JobContext) -> Any:
        """Call the handler with as many arguments as it takes; the result of an async one is still to be awaited."""
        return self.func(job, context) if self.wants_context else self.func(job)


class HandlerFields(TypedDict, total=False):
    """The decorator's keywords, in all their spellings."""

    plugin_name: str
    queue_name: str
    job_name: str
    scope_key: str | None
    concurrency: int | None
    queue: str
    job_type: str
    pluginName: str
    queueName: str
    jobName: str
    scopeKey: str | None
    jobType: str


def plugin_job_processor(*misplaced: object, **fields: Unpack[HandlerFields]) -> Callable[[H], H]:
    """Declare a class with a `handle` (or `process`) method, or a function, as the handler of a logical job.

    Stack it on a class to handle several job names. The decorated object is returned as it is, and is registered when
    its plugin is loaded or by `registry.register_processor`.

    Args:
        plugin_name, queue_name, job_name: the logical job; `queue` and `job_type` mean the last two, and all may be
            camelCase.
        scope_key: the one scope it serves, unless the instance has a `scope_key` or `plugin_context.scope_key`; None:
            every scope.
        concurrency: calls at a time in one worker node, at least 1; None: no limit but the node's.

    Raises InvalidHandlerError for unknown, missing or bad values, and for an object that can't be called with a job.
    """
    if misplaced:
        right = "@plugin_job_processor(plugin_name=..., queue_name=..., job_name=...)"
        raise InvalidHandlerError(f"plugin_job_processor takes keywords only: {right}")
    declaration = Declaration(**_checked(_canonical(dict(fields))))

    def declare(target: H) -> H:
        _check_target(target, declaration)
        _note(target, declaration)
        return target

    return declare


PluginJobProcessor = plugin_job_processor


class HandlerRegistry:
    """The handlers of this process by scope and logical job.

    Safe to use from any thread. `resolve` takes no lock: single reads of a dict are atomic, and changes are made one
    key at a time.
    """

    def __init__(self) -> None:
        self._handlers: dict[Key, Handler] = {}
        self._wrappers: tuple[tuple[Wrapper, AsyncWrapper | None], ...] = ()
        self._lock = threading.Lock()

    def register(
        self,
        *,
        plugin_name: str,
        queue_name: str,
        job_name: str,
        handler: Callable[..., Any] | object,
        scope_key: str | None = None,
        concurrency: int | None = None,
    ) -> Callable[[], None]:
        """Register a callable, or an object with a `handle` or `process` method, for one logical job.

        A handler that is registered already is replaced, with a warning. Returns a function that removes this
        registration, and does nothing if it has been replaced meanwhile. Raises InvalidHandlerError.
        """
        given = {
            "plugin_name": plugin_name,
            "queue_name": queue_name,
            "job_name": job_name,
            "scope_key": scope_key,
            "concurrency": concurrency,
        }
        declaration = Declaration(**_checked(given))
        return self._add([_handler(declaration, _entry_point(handler, declaration.logical_job))])

    def register_processor(self, instance: object) -> Callable[[], None]:
        """Register an instance of a decorated class, or a decorated function, for all that its decorators name.

        The scope is read now: `instance.scope_key`, else `instance.plugin_context.scope_key`, else the decorator's.
        Returns a function that removes these registrations, as `register` does. Raises InvalidHandlerError, having
        registered nothing.
        """
        if inspect.isclass(instance):
            raise InvalidHandlerError(f"register_processor takes an instance of {instance.__qualname__}, not the class")
        declarations: tuple[Declaration, ...] = getattr(instance, _DECLARED, ())
        if not declarations:
            said = "is not decorated with plugin_job_processor; use registry.register for it"
            raise InvalidHandlerError(f"{_called(instance)} {said}")
        scope_key = _scope_of(instance)
        scoped = declarations if scope_key is None else [one.scoped(scope_key) for one in declarations]
        func = _entry_point(instance, declarations[0].logical_job)
        return self._add([_handler(one, func) for one in scoped])

    def resolve(self, scope_key: str | None, plugin_name: str, queue_name: str, job_name: str) -> Handler:
        """The handler of exactly this scope, else the one without a scope; HandlerNotFoundError if there is neither."""
        find = self._handlers.get
        found = find((scope_key, plugin_name, queue_name, job_name))
        if found is None and scope_key is not None:
            found = find((None, plugin_name, queue_name, job_name))
        if found is None:
            raise HandlerNotFoundError(plugin_name, queue_name, job_name, scope_key)
        return found

    def add_wrapper(self, make: Wrapper, amake: AsyncWrapper | None = None) -> Callable[[], None]:
        """Enter a context manager around every call of a handler and the loading of its job's user, within those that
        were added before.

        It is entered in the thread in which a sync handler runs, and in the task of an async one, in the job's context.
        The user of an async handler's job is loaded before, inside wrappers of its own: a loader may block.
        What it raises, also at its exit, fails the try; what the handler raises it must let through.

        Args:
            make: gives it for a JobContext.
            amake: gives the one for async handlers; default: `make`, whose manager then must not block.

        Returns:
            A function that takes it away.
        """
        entry = (make, amake)
        with self._lock:
            self._wrappers = (*self._wrappers, entry)

        def remove() -> None:
            with self._lock:
                self._wrappers = tuple(one for one in self._wrappers if one is not entry)

        return remove

    def adopt(self, handlers: Iterable[Handler]) -> None:
        """Take handlers of another registry. One that is registered already for the same stays."""
        with self._lock:
            for handler in handlers:
                self._handlers.setdefault(handler.key, handler)

    @contextmanager
    def put_back(self) -> Iterator[None]:
        """Handlers and wrappers are after the block what they were before it: for tests."""
        with self._lock:
            handlers, wrappers = dict(self._handlers), self._wrappers
        try:
            yield
        finally:
            with self._lock:
                # One step, since `resolve` takes no lock.
                self._handlers, self._wrappers = handlers, wrappers

    @contextmanager
    def wrapped(self, context: JobContext) -> Iterator[None]:
        """All wrappers, for a sync handler."""
        with ExitStack() as stack:
            for make, _ in self._wrappers:
                stack.enter_context(make(context))
            yield

    @asynccontextmanager
    async def awrapped(self, context: JobContext) -> AsyncIterator[None]:
        """All wrappers, for an async handler."""
        async with AsyncExitStack() as stack:
            for make, amake in self._wrappers:
                if amake is None:
                    stack.enter_context(make(context))
                else:
                    await stack.enter_async_context(amake(context))
            yield

    def handlers(self) -> list[Handler]:
        """Every registered handler, in the order of registration."""
        with self._lock:
            return list(self._handlers.values())

    def _add(self, handlers: list[Handler]) -> Callable[[], None]:
        with self._lock:
            replaced = [self._handlers[handler.key] for handler in handlers if handler.key in self._handlers]
            self._handlers.update((handler.key, handler) for handler in handlers)
        for old in replaced:
            _warn_replaced(old)
        return functools.partial(self._remove, handlers)

    def _remove(self, handlers: list[Handler]) -> None:
        with self._lock:
            for handler in handlers:
                if self._handlers.get(handler.key) is handler:
                    del self._handlers[handler.key]


registry = HandlerRegistry()
"""The process-wide registry, which plugins are loaded into and workers look up."""


def declarations_of(target: object) -> tuple[Declaration, ...]:
    """What the decorator noted on this very class or function; what a base class declares is not its subclass's.

    Runs none of the target's own code: a module may hold lazy proxies, which break or open connections when touched.
    """
    if _is_a(target, type):
        own: tuple[Declaration, ...] = vars(target).get(_DECLARED, ())
        return own
    found: tuple[Declaration, ...] = inspect.getattr_static(target, _DECLARED, ())
    inherited = inspect.getattr_static(type(target), _DECLARED, None)
    return () if found is inherited else found


def _is_a(target: object, kind: type) -> bool:
    """isinstance that does not ask a proxy for its `__class__`."""
    return issubclass(type(target), kind)


def declared(module_name: str) -> list[Any]:
    """The decorated classes and functions of an imported module, or of a package and its imported modules, as defined.

    One imported from elsewhere belongs to the module that defines it.
    """
    found = {id(target): target for module in _modules(module_name) for target in _decorated(module, module_name)}
    return sorted(found.values(), key=lambda target: declarations_of(target)[0].order)


def _modules(name: str) -> Iterator[types.ModuleType]:
    for loaded, module in list(sys.modules.items()):
        if _within(loaded, name) and _is_a(module, types.ModuleType):
            yield module


def _decorated(module: types.ModuleType, package: str) -> Iterable[Any]:
    for target in list(vars(module).values()):
        if declarations_of(target) and _within(getattr(target, "__module__", None) or "", package):
            yield target


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _canonical(fields: dict[str, Any]) -> dict[str, Any]:
    """The given fields by their snake_case names; refuses unknown and doubled ones."""
    named: dict[str, Any] = {}
    for spelling, value in fields.items():
        name = _SPELLINGS.get(spelling)
        if name is None:
            close = difflib.get_close_matches(spelling, _SPELLINGS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(_FIELDS)}"
            raise InvalidHandlerError(f"unknown field {spelling!r} of a job processor; {hint}")
        if name in named:
            raise InvalidHandlerError(f"{name} is given twice, once as {spelling!r}")
        named[name] = value
    return named


def _checked(fields: dict[str, Any]) -> dict[str, Any]:
    """Names and scope by the rules of `enqueue`: one that no job could have would never be found."""
    concurrency = fields.get("concurrency")
    whole = isinstance(concurrency, int) and not isinstance(concurrency, bool)
    if concurrency is not None and not (whole and concurrency >= 1):
        raise InvalidHandlerError(f"concurrency must be an integer >= 1, or None for no limit, not {concurrency!r}")
    try:
        job = JobRequest.parse(**{name: fields.get(name) for name in (*_NAMES, "scope_key")})
    except InvalidJobError as error:
        raise InvalidHandlerError(str(error)) from None
    return {
        "plugin_name": job.plugin_name,
        "queue_name": job.queue_name,
        "job_name": job.job_name,
        "scope_key": job.scope_key,
        "concurrency": concurrency,
    }


def _check_target(target: object, declaration: Declaration) -> None:
    if not inspect.isclass(target):
        _call_style(target, declaration.logical_job)
        return
    for name in _METHODS:
        method = inspect.getattr_static(target, name, None)
        if method is not None:
            bound = isinstance(method, (staticmethod, classmethod)) or not hasattr(method, "__get__")
            receiver = () if bound else (None,)
            _call_style(getattr(target, name), declaration.logical_job, receiver)
            return
    said = f"handles {declaration.logical_job} and has neither a `handle` nor a `process` method"
    raise InvalidHandlerError(f"{target.__qualname__} {said}")


def _note(target: object, declaration: Declaration) -> None:
    noted = declarations_of(target)
    if any((one.logical_job, one.scope_key) == (declaration.logical_job, declaration.scope_key) for one in noted):
        raise InvalidHandlerError(f"{_called(target)} declares {declaration.logical_job} twice")
    try:
        setattr(target, _DECLARED, (declaration, *noted))
    except (AttributeError, TypeError) as error:
        said = f"can't be decorated ({error}); use registry.register for it"
        raise InvalidHandlerError(f"{_called(target)} {said}") from error


def _entry_point(handler: object, logical_job: str) -> Callable[..., Any]:
    """What to call: the object's `handle`, else its `process`, else the object itself."""
    if inspect.isclass(handler):
        said = f"is the class {handler.__qualname__}; register an instance of it"
        raise InvalidHandlerError(f"the handler of {logical_job} {said}")
    for name in _METHODS:
        method = getattr(handler, name, None)
        if callable(method):
            bound: Callable[..., Any] = method
            return bound
    if callable(handler):
        return handler
    said = f"is neither callable nor has a `handle` or `process` method: {handler!r}"
    raise InvalidHandlerError(f"the handler of {logical_job} {said}")


def _handler(declaration: Declaration, func: Callable[..., Any]) -> Handler:
    return Handler(
        plugin_name=declaration.plugin_name,
        queue_name=declaration.queue_name,
        job_name=declaration.job_name,
        scope_key=declaration.scope_key,
        concurrency=declaration.concurrency,
        func=func,
        is_async=_is_async(func),
        wants_context=_call_style(func, declaration.logical_job),
    )


def _scope_of(instance: object) -> Any:
    scope_key = getattr(instance, "scope_key", None)
    return getattr(getattr(instance, "plugin_context", None), "scope_key", None) if scope_key is None else scope_key


def _call_style(func: object, logical_job: str, receiver: tuple[None, ...] = ()) -> bool:
    """Whether the context is passed too; InvalidHandlerError for what can't be called with a job.

    `receiver` stands for the `self` of a method that is not bound yet.
    """
    where = f"the handler {_called(func)} of {logical_job}"
    if not callable(func):
        raise InvalidHandlerError(f"{where} is not callable")
    if _answers_to(inspect.isgeneratorfunction, func) or _answers_to(inspect.isasyncgenfunction, func):
        raise InvalidHandlerError(f"{where} is a generator, whose body would never run: it must not `yield`")
    try:
        signature = _signature(func)
    except ValueError as error:
        raise InvalidHandlerError(f"{where} does not tell its parameters; wrap it in a function of (job)") from error
    if _accepts(signature, (*receiver, None, None)):
        return True
    if _accepts(signature, (*receiver, None)):
        return False
    raise InvalidHandlerError(f"{where} must accept (job) or (job, context), not {signature}")


def _signature(func: Callable[..., Any]) -> inspect.Signature:
    """What the callable itself takes; what it wraps is asked only where it passes on whatever it gets (`*args`)."""
    own = inspect.signature(func, follow_wrapped=False)
    passes_on = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in own.parameters.values())
    return inspect.signature(func) if passes_on else own


def _accepts(signature: inspect.Signature, arguments: tuple[None, ...]) -> bool:
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True


def _is_async(func: object) -> bool:
    return _answers_to(inspect.iscoroutinefunction, func)


def _answers_to(question: Callable[[Any], bool], func: object) -> bool:
    """Ask about a function, what a partial is of, or an object's `__call__`."""
    while isinstance(func, functools.partial):
        func = func.func
    return question(func) or question(getattr(func, "__call__", None))  # noqa: B004 - wants the method, not whether there is one


def _called(target: object) -> str:
    return getattr(target, "__qualname__", None) or repr(target)


def _warn_replaced(old: Handler) -> None:
    logger.warning(
        "handler of %s/%s/%s (scope %s) replaced: %s was registered before",
        old.plugin_name,
        old.queue_name,
        old.job_name,
        old.scope_key,
        _called(old.func),
        extra={
            "action": "handler_replaced",
            "plugin_name": old.plugin_name,
            "queue_name": old.queue_name,
            "job_name": old.job_name,
        },
    )
