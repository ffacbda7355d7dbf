from __future__ import annotations

import functools
import inspect
import logging
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from xpert_mq.errors import HandlerNotFoundError, InvalidHandlerError, ManagedQueueError, StalledJobError
from xpert_mq.handlers import (
    Handler,
    HandlerRegistry,
    ManagedQueueJob,
    PluginJobProcessor,
    declarations_of,
    declared,
    plugin_job_processor,
)
from xpert_mq.models import JobContext, JobOptions

NAMES: dict[str, Any] = {"plugin_name": "p", "queue_name": "q", "job_name": "j"}
CONTEXT = JobContext("p", "q", "j")


@pytest.fixture
def registry() -> HandlerRegistry:
    return HandlerRegistry()


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Writes an importable module, whose traces are removed after the test."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(path: str, source: str) -> None:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(source))

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def make_job(data: Any = None, **fields: Any) -> ManagedQueueJob[Any]:
    return ManagedQueueJob(id="1", name="j", data=data, **fields)


def handler_of(registry: HandlerRegistry, handler: Any) -> Handler:
    registry.register(**NAMES, handler=handler)
    return registry.resolve(None, "p", "q", "j")


# --- Declaring ---


def test_decorator_returns_the_object_itself_and_notes_what_it_handles() -> None:
    def send(job: Any) -> None: ...

    class Sender:
        def handle(self, job: Any) -> None: ...

    for target in (send, Sender):
        assert (
            plugin_job_processor(plugin_name=" p ", queue_name="q", job_name="j", scope_key="s", concurrency=2)(target)
            is target
        )
        (noted,) = declarations_of(target)
        assert (noted.plugin_name, noted.queue_name, noted.job_name) == ("p", "q", "j")
        assert (noted.scope_key, noted.concurrency) == ("s", 2)


@pytest.mark.parametrize(
    "fields",
    [
        {"plugin_name": "p", "queue_name": "q", "job_name": "j", "scope_key": "s"},
        {"plugin_name": "p", "queue": "q", "job_type": "j", "scope_key": "s"},
        {"pluginName": "p", "queueName": "q", "jobName": "j", "scopeKey": "s"},
        {"pluginName": "p", "queue": "q", "jobType": "j", "scope_key": "s"},
    ],
)
def test_decorator_accepts_every_spelling(fields: dict[str, Any]) -> None:
    @plugin_job_processor(**fields)
    def send(job: Any) -> None: ...

    (noted,) = declarations_of(send)
    assert (noted.plugin_name, noted.queue_name, noted.job_name, noted.scope_key) == ("p", "q", "j", "s")


def test_decorator_has_the_platforms_name_too() -> None:
    assert PluginJobProcessor is plugin_job_processor


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"jobname": "j"}, "unknown field 'jobname'.*'jobName'|unknown field 'jobname'.*'job_name'"),
        ({"concurency": 1}, "unknown field 'concurency'.*'concurrency'"),
        ({"zzz": 1}, "unknown field 'zzz'.*plugin_name, queue_name, job_name, scope_key, concurrency"),
        ({"queue": "other"}, "queue_name is given twice"),
        ({"pluginName": "p"}, "plugin_name is given twice"),
        ({"concurrency": 0}, "concurrency must be an integer >= 1"),
        ({"concurrency": -1}, "concurrency must be"),
        ({"concurrency": True}, "concurrency must be"),
        ({"concurrency": 1.5}, "concurrency must be"),
        ({"concurrency": "1"}, "concurrency must be"),
        ({"plugin_name": ""}, "plugin_name"),
        ({"queue_name": "  "}, "queue_name"),
        ({"job_name": None}, "job_name"),
        ({"job_name": 5}, "job_name"),
        ({"job_name": "a\nb"}, "job_name"),
        ({"job_name": "x" * 201}, "job_name"),
        ({"scope_key": ""}, "scope_key"),
        ({"scope_key": 7}, "scope_key"),
    ],
)
def test_decorator_refuses_bad_values_before_it_sees_the_handler(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidHandlerError, match=said) as caught:
        plugin_job_processor(**{**NAMES, **fields})
    assert isinstance(caught.value, (ManagedQueueError, TypeError))


@pytest.mark.parametrize("missing", ["plugin_name", "queue_name", "job_name"])
def test_decorator_requires_all_three_names(missing: str) -> None:
    with pytest.raises(InvalidHandlerError, match=missing):
        plugin_job_processor(**{name: value for name, value in NAMES.items() if name != missing})


def test_decorator_without_call_says_how_it_is_used() -> None:
    def send(job: Any) -> None: ...

    with pytest.raises(InvalidHandlerError, match="keywords only: @plugin_job_processor"):
        plugin_job_processor(send)


def test_decorator_can_be_stacked_but_not_repeated() -> None:
    @plugin_job_processor(plugin_name="p", queue_name="q", job_name="one")
    @plugin_job_processor(plugin_name="p", queue_name="q", job_name="two")
    class Sender:
        def handle(self, job: Any) -> None: ...

    assert [noted.job_name for noted in declarations_of(Sender)] == ["one", "two"]
    with pytest.raises(InvalidHandlerError, match="p/q/two twice"):
        plugin_job_processor(plugin_name="p", queue_name="q", job_name="two", concurrency=3)(Sender)


def test_declarations_of_a_base_class_are_not_its_subclasses() -> None:
    @plugin_job_processor(plugin_name="p", queue_name="q", job_name="base")
    class Base:
        def handle(self, job: Any) -> None: ...

    class Plain(Base): ...

    @plugin_job_processor(plugin_name="p", queue_name="q", job_name="own")
    class Own(Base): ...

    assert declarations_of(Plain) == ()
    assert [noted.job_name for noted in declarations_of(Own)] == ["own"]
    assert [noted.job_name for noted in declarations_of(Base)] == ["base"]
    assert declarations_of(Base()) == ()


# --- What can be called with a job ---


def takes_job(job: Any) -> tuple[Any, ...]:
    return (job,)


def takes_both(job: Any, context: Any) -> tuple[Any, ...]:
    return (job, context)


def takes_optional_context(job: Any, context: Any = None) -> tuple[Any, ...]:
    return (job, context)


def takes_all(*args: Any, **options: Any) -> tuple[Any, ...]:
    return args


def takes_job_and_keywords(job: Any, *, retries: int = 3) -> tuple[Any, ...]:
    return (job,)


def passes_on(func: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(func)
    def wrapper(*args: Any, **options: Any) -> Any:
        return func(*args, **options)

    return wrapper


def injects(func: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(func)
    def wrapper(job: Any) -> Any:
        return func(job, "session", "clock")

    return wrapper


def needs_three(job: Any, session: Any, clock: Any) -> tuple[Any, ...]:
    return (job, session, clock)


class Everything:
    """Methods of every kind."""

    def method(self, job: Any) -> tuple[Any, ...]:
        return (job,)

    @staticmethod
    def static(job: Any) -> tuple[Any, ...]:
        return (job,)

    @classmethod
    def of_class(cls, job: Any, context: Any) -> tuple[Any, ...]:
        return (job, context)

    def __call__(self, job: Any, context: Any) -> tuple[Any, ...]:
        return (job, context)


@pytest.mark.parametrize(
    ("func", "count"),
    [
        (takes_job, 1),
        (takes_both, 2),
        (takes_optional_context, 2),
        (takes_all, 2),
        (takes_job_and_keywords, 1),
        (passes_on(takes_job), 1),
        (passes_on(takes_both), 2),
        (injects(needs_three), 1),
        (functools.partial(needs_three, "first"), 2),
        (functools.partial(takes_both, context="own"), 1),
        (Everything().method, 1),
        (Everything().static, 1),
        (Everything().of_class, 2),
        (Everything(), 2),
        (lambda job: (job,), 1),
    ],
)
def test_handler_gets_as_many_arguments_as_it_takes(registry: HandlerRegistry, func: Any, count: int) -> None:
    handler = handler_of(registry, func)
    job = make_job()
    result = handler.call(job, CONTEXT)
    assert handler.wants_context is (count == 2)
    assert job in result
    assert (CONTEXT in result) is (count == 2)


def no_parameters() -> None: ...


def three_parameters(job: Any, context: Any, more: Any) -> None: ...


def keyword_context(job: Any, *, context: Any) -> None: ...


def generator(job: Any) -> Any:
    yield job


async def async_generator(job: Any) -> Any:
    yield job


BAD_FUNCTIONS = [no_parameters, three_parameters, keyword_context, generator, async_generator]


@pytest.mark.parametrize("func", BAD_FUNCTIONS)
def test_function_that_cannot_take_a_job_is_refused_when_decorated_and_registered(
    registry: HandlerRegistry, func: Any
) -> None:
    said = f"{func.__name__} of p/q/j (must accept|is a generator)"
    with pytest.raises(InvalidHandlerError, match=said):
        plugin_job_processor(**NAMES)(func)
    with pytest.raises(InvalidHandlerError, match=said):
        registry.register(**NAMES, handler=func)
    assert declarations_of(func) == ()
    assert registry.handlers() == []


@pytest.mark.parametrize("method", ["handle", "process"])
@pytest.mark.parametrize("func", BAD_FUNCTIONS)
def test_class_whose_method_cannot_take_a_job_is_refused_when_decorated(method: str, func: Any) -> None:
    cls = type("Bad", (), {method: staticmethod(func)})
    with pytest.raises(InvalidHandlerError, match="p/q/j"):
        plugin_job_processor(**NAMES)(cls)


def test_class_method_counts_its_self() -> None:
    class Forgot:
        def handle(job: Any) -> None: ...  # noqa: N805 - the mistake that is tested

    class Neither:
        def run(self, job: Any) -> None: ...

    class NotCallable:
        handle = "send"

    with pytest.raises(InvalidHandlerError, match=r"must accept \(job\)"):
        plugin_job_processor(**NAMES)(Forgot)
    with pytest.raises(InvalidHandlerError, match="neither a `handle` nor a `process`"):
        plugin_job_processor(**NAMES)(Neither)
    with pytest.raises(InvalidHandlerError, match="not callable"):
        plugin_job_processor(**NAMES)(NotCallable)


@pytest.mark.parametrize("kind", [staticmethod, classmethod])
def test_class_may_have_a_static_or_class_method(registry: HandlerRegistry, kind: Any) -> None:
    func = takes_both if kind is staticmethod else lambda cls, job, context: (job, context)
    cls = plugin_job_processor(**NAMES)(type("Sender", (), {"handle": kind(func)}))
    registry.register_processor(cls())
    job = make_job()
    assert registry.resolve(None, "p", "q", "j").call(job, CONTEXT) == (job, CONTEXT)


@pytest.mark.parametrize("handler", ["send", None, 7, object()])
def test_register_refuses_what_is_no_handler(registry: HandlerRegistry, handler: Any) -> None:
    with pytest.raises(InvalidHandlerError, match="neither callable nor"):
        registry.register(**NAMES, handler=handler)


def test_register_refuses_a_class(registry: HandlerRegistry) -> None:
    with pytest.raises(InvalidHandlerError, match="is the class Everything"):
        registry.register(**NAMES, handler=Everything)


# --- Sync or async ---


async def async_function(job: Any) -> tuple[Any, ...]:
    return (job,)


class AsyncCallable:
    async def __call__(self, job: Any) -> None: ...

    async def handle_async(self, job: Any) -> None: ...


@pytest.mark.parametrize(
    ("func", "is_async"),
    [
        (async_function, True),
        (AsyncCallable(), True),
        (AsyncCallable().handle_async, True),
        (functools.partial(async_function), True),
        (functools.partial(functools.partial(AsyncCallable())), True),
        (takes_job, False),
        (Everything(), False),
        (Everything().method, False),
        (functools.partial(takes_job), False),
        (functools.partial(Everything()), False),
    ],
)
def test_handler_knows_whether_it_is_async(registry: HandlerRegistry, func: Any, is_async: bool) -> None:
    assert handler_of(registry, func).is_async is is_async


# --- Registering ---


def test_handle_wins_over_process(registry: HandlerRegistry) -> None:
    @plugin_job_processor(**NAMES)
    class Both:
        def handle(self, job: Any) -> str:
            return "handle"

        async def process(self, job: Any, context: Any) -> str:
            return "process"

    registry.register_processor(Both())
    handler = registry.resolve(None, "p", "q", "j")
    assert (handler.call(make_job(), CONTEXT), handler.is_async, handler.wants_context) == ("handle", False, False)


def test_process_is_accepted_for_handle(registry: HandlerRegistry) -> None:
    @plugin_job_processor(**NAMES)
    class Old:
        def process(self, job: Any) -> str:
            return "process"

    registry.register_processor(Old())
    assert registry.resolve(None, "p", "q", "j").call(make_job(), CONTEXT) == "process"


def test_register_processor_takes_decorated_functions(registry: HandlerRegistry) -> None:
    @plugin_job_processor(plugin_name="p", queue_name="q", job_name="one", concurrency=2)
    @plugin_job_processor(plugin_name="p", queue_name="q", job_name="two", scope_key="s")
    def send(job: Any) -> str:
        return "sent"

    registry.register_processor(send)
    assert [(one.job_name, one.scope_key, one.concurrency, one.func) for one in registry.handlers()] == [
        ("one", None, 2, send),
        ("two", "s", None, send),
    ]


def test_register_processor_takes_what_a_subclass_inherits(registry: HandlerRegistry) -> None:
    @plugin_job_processor(**NAMES)
    class Base:
        def handle(self, job: Any) -> str:
            return "base"

    class Special(Base):
        def handle(self, job: Any) -> str:
            return "special"

    registry.register_processor(Special())
    assert registry.resolve(None, "p", "q", "j").call(make_job(), CONTEXT) == "special"


def test_register_processor_refuses_what_is_not_decorated(registry: HandlerRegistry) -> None:
    with pytest.raises(InvalidHandlerError, match="not decorated"):
        registry.register_processor(Everything())
    with pytest.raises(InvalidHandlerError, match="instance of Everything, not the class"):
        registry.register_processor(Everything)
    assert registry.handlers() == []


class WithScope:
    def __init__(self, scope_key: Any = None, plugin_context: Any = None) -> None:
        self.scope_key = scope_key
        self.plugin_context = plugin_context

    def handle(self, job: Any) -> None: ...


class ContextWithScope:
    scope_key = "contexts"


@pytest.mark.parametrize(
    ("instance_scope", "plugin_context", "declared_scope", "scope"),
    [
        ("own", ContextWithScope(), "decorators", "own"),
        (None, ContextWithScope(), "decorators", "contexts"),
        (None, object(), "decorators", "decorators"),
        (None, None, "decorators", "decorators"),
        (None, None, None, None),
    ],
)
def test_scope_of_an_instance(
    registry: HandlerRegistry, instance_scope: Any, plugin_context: Any, declared_scope: Any, scope: Any
) -> None:
    cls = type("Scoped", (WithScope,), {})
    plugin_job_processor(**NAMES, scope_key=declared_scope)(cls)
    instance = cls(instance_scope, plugin_context)
    registry.register_processor(instance)
    instance.scope_key = "changed later"
    assert [handler.scope_key for handler in registry.handlers()] == [scope]


@pytest.mark.parametrize("scope_key", ["", " ", 7])
def test_bad_scope_of_an_instance_registers_nothing(registry: HandlerRegistry, scope_key: Any) -> None:
    cls = type("Scoped", (WithScope,), {})
    plugin_job_processor(plugin_name="p", queue_name="q", job_name="one")(cls)
    plugin_job_processor(plugin_name="p", queue_name="q", job_name="two")(cls)
    with pytest.raises(InvalidHandlerError, match="scope_key"):
        registry.register_processor(cls(scope_key))
    assert registry.handlers() == []


def test_two_instances_of_one_class_serve_two_scopes(registry: HandlerRegistry) -> None:
    cls = type("Scoped", (WithScope,), {})
    plugin_job_processor(**NAMES)(cls)
    first, second = cls("org-1"), cls("org-2")
    registry.register_processor(first)
    registry.register_processor(second)
    assert registry.resolve("org-1", "p", "q", "j").func == first.handle
    assert registry.resolve("org-2", "p", "q", "j").func == second.handle


@pytest.mark.parametrize(
    "fields", [{"plugin_name": " "}, {"job_name": "x" * 201}, {"concurrency": 0}, {"scope_key": ""}]
)
def test_register_checks_its_values(registry: HandlerRegistry, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidHandlerError, match=next(iter(fields))):
        registry.register(**{**NAMES, **fields}, handler=takes_job)


def test_decorator_refuses_what_cannot_be_noted_on() -> None:
    with pytest.raises(InvalidHandlerError, match=r"can't be decorated.*registry\.register"):
        plugin_job_processor(**NAMES)(Everything().method)


# --- Replacing and unregistering ---


def test_replacing_warns_and_the_old_unregister_does_nothing(
    registry: HandlerRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "xpert_mq.handlers"):
        unregister_old = registry.register(**NAMES, handler=takes_job)
        assert caplog.records == []
        unregister_new = registry.register(**NAMES, handler=takes_both)
    (record,) = caplog.records
    assert "p/q/j" in record.getMessage()
    assert "takes_job" in record.getMessage()
    unregister_old()
    assert registry.resolve(None, "p", "q", "j").func is takes_both
    unregister_new()
    unregister_new()
    with pytest.raises(HandlerNotFoundError):
        registry.resolve(None, "p", "q", "j")


def test_unregister_keeps_a_later_registration_of_the_same_handler(registry: HandlerRegistry) -> None:
    unregister = registry.register(**NAMES, handler=takes_job)
    unregister()
    registry.register(**NAMES, handler=takes_job)
    unregister()
    assert registry.resolve(None, "p", "q", "j").func is takes_job


def test_unregister_of_a_processor_removes_only_what_is_still_its_own(registry: HandlerRegistry) -> None:
    @plugin_job_processor(plugin_name="p", queue_name="q", job_name="one")
    @plugin_job_processor(plugin_name="p", queue_name="q", job_name="two")
    class Sender:
        def handle(self, job: Any) -> None: ...

    unregister = registry.register_processor(Sender())
    registry.register(plugin_name="p", queue_name="q", job_name="two", handler=takes_job)
    unregister()
    assert [(handler.job_name, handler.func) for handler in registry.handlers()] == [("two", takes_job)]


# --- Lookup ---


def test_resolve_prefers_the_scope_and_falls_back_to_none_only(registry: HandlerRegistry) -> None:
    registry.register(**NAMES, handler=takes_job)
    registry.register(**NAMES, handler=takes_both, scope_key="org-1")
    assert registry.resolve("org-1", "p", "q", "j").func is takes_both
    assert registry.resolve("org-2", "p", "q", "j").func is takes_job
    assert registry.resolve(None, "p", "q", "j").func is takes_job


def test_resolve_never_gives_a_scoped_handler_to_a_job_without_that_scope(registry: HandlerRegistry) -> None:
    registry.register(**NAMES, handler=takes_job, scope_key="org-1")
    for scope_key in (None, "org-2"):
        with pytest.raises(HandlerNotFoundError, match="No managed queue handler registered for p/q/j") as caught:
            registry.resolve(scope_key, "p", "q", "j")
        assert caught.value.scope_key == scope_key


@pytest.mark.parametrize("job", [("x", "q", "j"), ("p", "x", "j"), ("p", "q", "x")])
def test_resolve_compares_every_name(registry: HandlerRegistry, job: tuple[str, str, str]) -> None:
    registry.register(**NAMES, handler=takes_job)
    with pytest.raises(HandlerNotFoundError):
        registry.resolve(None, *job)


def test_registry_survives_many_threads(registry: HandlerRegistry) -> None:
    registry.register(plugin_name="p", queue_name="q", job_name="kept", handler=takes_job)
    start = threading.Barrier(8, timeout=10)
    failures: list[BaseException] = []

    def churn(number: int) -> None:
        try:
            start.wait()
            for _ in range(200):
                own = registry.register(plugin_name="p", queue_name="q", job_name=f"j{number}", handler=takes_job)
                assert registry.resolve("s", "p", "q", "kept").func is takes_job
                registry.handlers()
                own()
        except BaseException as error:  # noqa: BLE001 - brought to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=churn, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [handler.job_name for handler in registry.handlers()] == ["kept"]


# --- The job ---


def test_job_has_a_first_trys_defaults() -> None:
    job = make_job({"n": 1})
    assert (job.attempts_made, job.opts) == (0, JobOptions())
    assert job.opts.attempts == 1


def test_update_data_checkpoints_before_it_changes_the_job() -> None:
    seen = []
    job = make_job({"n": 1})
    job.checkpoint = lambda data: seen.append((data, job.data))
    job.update_data({"n": 2})
    assert seen == [({"n": 2}, {"n": 1})]
    assert job.data == {"n": 2}


async def test_aupdate_data_checkpoints_before_it_changes_the_job() -> None:
    seen = []
    job = make_job({"n": 1})

    async def acheckpoint(data: Any) -> None:
        seen.append((data, job.data))

    job.acheckpoint = acheckpoint
    await job.aupdate_data({"n": 2})
    assert seen == [({"n": 2}, {"n": 1})]
    assert job.data == {"n": 2}


async def test_data_stays_when_the_checkpoint_fails() -> None:
    def checkpoint(_: Any) -> None:
        raise StalledJobError("lost")

    async def acheckpoint(_: Any) -> None:
        raise StalledJobError("lost")

    job = make_job({"n": 1}, checkpoint=checkpoint, acheckpoint=acheckpoint)
    with pytest.raises(StalledJobError):
        job.update_data({"n": 2})
    with pytest.raises(StalledJobError):
        await job.aupdate_data({"n": 2})
    assert job.data == {"n": 1}


# --- What a module declares ---

DECORATED = """
    from xpert_mq.handlers import plugin_job_processor
    def on(job_name):
        return plugin_job_processor(plugin_name="p", queue_name="q", job_name=job_name)
"""


def test_declared_lists_a_module_in_order_of_definition(write_module: Callable[[str, str], None]) -> None:
    write_module(
        "ordered_plugin.py",
        DECORATED
        + """
    @on("z")
    class Zebra:
        def handle(self, job): ...
    @on("a")
    def ant(job): ...
    @on("m1")
    @on("m2")
    class Mouse(Zebra):
        def handle(self, job): ...
    class Undecorated(Zebra): ...
    instance, again = Zebra(), ant
""",
    )
    __import__("ordered_plugin")
    assert [target.__name__ for target in declared("ordered_plugin")] == ["Zebra", "ant", "Mouse"]


def test_declared_includes_a_packages_imported_modules_and_nothing_foreign(
    write_module: Callable[[str, str], None],
) -> None:
    write_module("other_plugin.py", DECORATED + '    @on("other")\n    def other(job): ...\n')
    write_module("pack_plugin_more.py", DECORATED + '    @on("more")\n    def more(job): ...\n')
    write_module("pack_plugin/__init__.py", "from other_plugin import other\nimport pack_plugin_more\nfrom .b import b")
    write_module("pack_plugin/b.py", "from .a import a\n" + textwrap.dedent(DECORATED) + '@on("b")\ndef b(job): ...\n')
    write_module("pack_plugin/a.py", DECORATED + '    @on("a")\n    def a(job): ...\n')
    write_module("pack_plugin/never_imported.py", "raise RuntimeError")
    __import__("pack_plugin")
    assert [target.__name__ for target in declared("pack_plugin")] == ["a", "b"]
    assert [target.__name__ for target in declared("pack_plugin.a")] == ["a"]
    assert declared("not_imported_at_all") == []


def test_declared_touches_no_lazy_object_of_the_module(write_module: Callable[[str, str], None]) -> None:
    write_module(
        "lazy_plugin.py",
        DECORATED
        + """
    class Proxy:
        @property
        def __dict__(self):
            raise RuntimeError("touched")
        def __getattribute__(self, name):
            raise RuntimeError("touched")
        def __eq__(self, other):
            raise RuntimeError("touched")
    proxy = Proxy()
    @on("a")
    def ant(job): ...
""",
    )
    __import__("lazy_plugin")
    assert [target.__name__ for target in declared("lazy_plugin")] == ["ant"]


def test_decorated_function_keeps_its_signature() -> None:
    @plugin_job_processor(**NAMES)
    def send(job: ManagedQueueJob[Any], context: JobContext | None = None) -> int:
        """Sends."""
        return 1

    assert list(inspect.signature(send).parameters) == ["job", "context"]
    assert (send.__doc__, send(make_job())) == ("Sends.", 1)
