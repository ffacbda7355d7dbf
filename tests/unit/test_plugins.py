from __future__ import annotations

import logging
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

from xpert_mq.errors import InvalidHandlerError, PluginLoadError
from xpert_mq.handlers import HandlerRegistry
from xpert_mq.plugins import MANAGED_QUEUE_SERVICE_TOKEN, LoadedPlugin, PluginContext, load_plugins
from xpert_mq.settings import Settings

Write = Callable[[str, str], None]

HEAD = """
from xpert_mq.handlers import plugin_job_processor
from xpert_mq.plugins import PluginContext
made = []
def on(job_name, **more):
    return plugin_job_processor(plugin_name="p", queue_name="q", job_name=job_name, **more)
"""


@pytest.fixture
def registry() -> HandlerRegistry:
    return HandlerRegistry()


@pytest.fixture
def write_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes an importable plugin module, whose traces are removed after the test."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(path: str, source: str) -> None:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(HEAD + textwrap.dedent(source))

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def write_entry_points(tmp_path: Path, write_plugin: Write) -> Callable[..., None]:
    """Writes the metadata of an installed distribution, as pip would."""

    def write(**points: str) -> None:
        folder = tmp_path / "demo_plugins-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: demo-plugins\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in points.items()]
        (folder / "entry_points.txt").write_text("\n".join(["[xpert_mq.plugins]", *lines, ""]))

    return write


def load(registry: HandlerRegistry, *modules: str) -> list[LoadedPlugin]:
    return load_plugins(Settings(plugins=modules), registry)


def jobs(registry: HandlerRegistry) -> list[str]:
    return [handler.job_name for handler in registry.handlers()]


def made_by(module: str) -> list[object]:
    """What the plugin's constructors noted."""
    loaded: ModuleType = sys.modules[module]
    made: list[object] = loaded.made
    return made


FUNCTION = """
@on("{0}")
def {0}(job): ...
"""

CLASS = """
@on("one", concurrency=2)
@on("two")
class Sender:
    def __init__(self):
        made.append(None)
    async def handle(self, job): ...
"""


# --- Where plugins come from ---


def test_plugin_named_by_the_setting_is_loaded(registry: HandlerRegistry, write_plugin: Write) -> None:
    write_plugin("set_plugin.py", FUNCTION.format("send"))
    (plugin,) = load(registry, "set_plugin")
    assert (plugin.name, plugin.target, plugin.error) == ("set_plugin", "set_plugin", None)
    assert list(plugin.handlers) == registry.handlers()
    assert jobs(registry) == ["send"]


def test_entry_points_load_first_by_name(
    registry: HandlerRegistry, write_plugin: Write, write_entry_points: Callable[..., None]
) -> None:
    for name in ("set_plugin", "b_plugin", "a_plugin"):
        write_plugin(f"{name}.py", FUNCTION.format(name))
    write_entry_points(second="b_plugin", first="a_plugin")
    assert [plugin.name for plugin in load(registry, "set_plugin")] == ["first", "second", "set_plugin"]
    assert jobs(registry) == ["a_plugin", "b_plugin", "set_plugin"]


def test_module_named_by_an_entry_point_and_the_setting_loads_once(
    registry: HandlerRegistry,
    write_plugin: Write,
    write_entry_points: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    write_plugin("both_plugin.py", CLASS)
    write_entry_points(first="both_plugin", second="both_plugin")
    assert [plugin.name for plugin in load(registry, "both_plugin")] == ["first"]
    assert made_by("both_plugin") == [None]
    assert caplog.records == []


def test_entry_point_may_name_one_object(
    registry: HandlerRegistry, write_plugin: Write, write_entry_points: Callable[..., None]
) -> None:
    write_plugin("object_plugin.py", CLASS + FUNCTION.format("send") + FUNCTION.format("unnamed"))
    write_entry_points(cls="object_plugin:Sender", func="object_plugin:send")
    assert all(plugin.error is None for plugin in load(registry))
    assert sorted(jobs(registry)) == ["one", "send", "two"]
    assert made_by("object_plugin") == [None]


def test_class_named_by_object_and_by_module_is_made_once(
    registry: HandlerRegistry,
    write_plugin: Write,
    write_entry_points: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    write_plugin("twice_plugin.py", CLASS + FUNCTION.format("send"))
    write_entry_points(cls="twice_plugin:Sender")
    first, second = load(registry, "twice_plugin")
    assert sorted(handler.job_name for handler in first.handlers) == ["one", "two"]
    assert [handler.job_name for handler in second.handlers] == ["send"]
    assert made_by("twice_plugin") == [None]
    assert caplog.records == []


def test_package_brings_the_modules_it_imports(
    registry: HandlerRegistry, write_plugin: Write, write_entry_points: Callable[..., None]
) -> None:
    write_plugin("whole_plugin/__init__.py", "from . import jobs")
    write_plugin("whole_plugin/jobs.py", FUNCTION.format("send"))
    write_entry_points(sub="whole_plugin:jobs")
    assert [plugin.error for plugin in load(registry, "whole_plugin")] == [None, None]
    assert jobs(registry) == ["send"]


def test_plugin_without_handlers_is_warned_about(
    registry: HandlerRegistry, write_plugin: Write, caplog: pytest.LogCaptureFixture
) -> None:
    write_plugin("empty_plugin/__init__.py", "")
    write_plugin("empty_plugin/jobs.py", FUNCTION.format("send"))
    (plugin,) = load(registry, "empty_plugin")
    assert (plugin.handlers, plugin.error) == ((), None)
    (record,) = caplog.records
    assert "empty_plugin" in record.getMessage()
    assert "must import the modules" in record.getMessage()


# --- Once ---


def test_loading_again_does_nothing(registry: HandlerRegistry, write_plugin: Write) -> None:
    write_plugin("again_plugin.py", CLASS)
    write_plugin("later_plugin.py", FUNCTION.format("later"))
    first = load(registry, "again_plugin")
    assert load(registry, "again_plugin", "later_plugin") == first
    assert made_by("again_plugin") == [None]
    assert "later_plugin" not in sys.modules


def test_threads_that_load_at_once_load_once_and_all_wait(registry: HandlerRegistry, write_plugin: Write) -> None:
    write_plugin("slow_plugin.py", CLASS)
    start = threading.Barrier(4, timeout=10)

    def run(_: int) -> tuple[list[LoadedPlugin], list[str]]:
        start.wait()
        return load(registry, "slow_plugin"), jobs(registry)

    with ThreadPoolExecutor(4) as executor:
        results = list(executor.map(run, range(4)))
    assert made_by("slow_plugin") == [None]
    assert all(result == results[0] for result in results)
    assert sorted(results[0][1]) == ["one", "two"]


def test_plugin_that_loads_plugins_when_imported_does_not_hang(registry: HandlerRegistry, write_plugin: Write) -> None:
    source = """
    from xpert_mq.handlers import HandlerRegistry
    from xpert_mq.plugins import load_plugins
    from xpert_mq.settings import Settings
    import test_registry_holder
    load_plugins(Settings(plugins=()), test_registry_holder.registry)
    @on("send")
    def send(job): ...
    """
    holder = ModuleType("test_registry_holder")
    holder.registry = registry  # type: ignore[attr-defined]
    sys.modules["test_registry_holder"] = holder
    write_plugin("nested_plugin.py", source)
    load(registry, "nested_plugin")
    assert jobs(registry) == ["send"]


# --- What goes wrong ---


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("raise RuntimeError('no database')", RuntimeError),
        ("import no_such_module_anywhere", ModuleNotFoundError),
        ("raise SystemExit(3)", SystemExit),
        ("def broken(:", SyntaxError),
        ("@on('j', concurency=1)\ndef send(job): ...", InvalidHandlerError),
    ],
)
def test_plugin_that_fails_is_logged_and_kept_and_the_others_load(
    registry: HandlerRegistry,
    write_plugin: Write,
    caplog: pytest.LogCaptureFixture,
    source: str,
    cause: type[BaseException],
) -> None:
    write_plugin("good_plugin.py", FUNCTION.format("good"))
    write_plugin("bad_plugin.py", source)
    write_plugin("other_plugin.py", FUNCTION.format("other"))
    good, bad, other = load(registry, "good_plugin", "bad_plugin", "other_plugin")
    assert (good.error, other.error) == (None, None)
    assert jobs(registry) == ["good", "other"]
    assert isinstance(bad.error, PluginLoadError)
    assert isinstance(bad.error.__cause__, cause)
    assert "bad_plugin" in str(bad.error)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "bad_plugin" in record.getMessage()
    assert record.exc_info
    assert record.exc_info[1] is bad.error.__cause__


def test_module_that_does_not_exist_is_an_error_of_its_own(registry: HandlerRegistry) -> None:
    (plugin,) = load(registry, "no_such_plugin_anywhere")
    assert plugin.error is not None
    assert isinstance(plugin.error.__cause__, ModuleNotFoundError)


@pytest.mark.parametrize("target", ["target_plugin:missing", "target_plugin:on", "target_plugin:made", "not a module"])
def test_entry_point_that_names_no_processor_is_an_error(
    registry: HandlerRegistry, write_plugin: Write, write_entry_points: Callable[..., None], target: str
) -> None:
    write_plugin("target_plugin.py", FUNCTION.format("send"))
    write_entry_points(broken=target)
    (plugin,) = load(registry)
    assert (plugin.name, plugin.target) == ("broken", target)
    assert isinstance(plugin.error, PluginLoadError)


def test_plugin_registers_all_or_nothing(registry: HandlerRegistry, write_plugin: Write) -> None:
    source = """
    @on("second")
    class Fails:
        def __init__(self):
            raise RuntimeError("no credentials")
        def handle(self, job): ...
    """
    write_plugin("half_plugin.py", FUNCTION.format("first") + textwrap.dedent(source))
    (plugin,) = load(registry, "half_plugin")
    assert plugin.handlers == ()
    assert "no credentials" in str(plugin.error)
    assert registry.handlers() == []


# --- Constructors ---

CONSTRUCTORS = [
    "context",
    "plugin_context",
    "ctx",
    "anything: PluginContext",
    "anything: 'PluginContext | None' = None",
    "anything: 'Unknown | PluginContext' = None",
    "anything: PluginContext, /",
    "*, anything: PluginContext, retries: int = 3",
    "context: int = 0, real: PluginContext = None",
    "plugin_context=None, *more, **options",
]


@pytest.mark.parametrize("parameters", CONSTRUCTORS)
def test_class_gets_its_plugin_context(registry: HandlerRegistry, write_plugin: Write, parameters: str) -> None:
    source = f"""
    @on("send", scope_key="org-1")
    class Sender:
        def __init__(self, {parameters}):
            made.extend(value for value in locals().values() if isinstance(value, PluginContext))
        def handle(self, job): ...
    """
    write_plugin("made_plugin.py", source)
    (plugin,) = load(registry, "made_plugin")
    assert plugin.error is None
    assert made_by("made_plugin") == [PluginContext("p", "org-1")]
    assert [handler.scope_key for handler in registry.handlers()] == ["org-1"]


def test_dataclass_gets_its_plugin_context_and_serves_its_scopes(
    registry: HandlerRegistry, write_plugin: Write
) -> None:
    source = """
    from dataclasses import dataclass
    @on("one", scope_key="org-1")
    @on("two", scope_key="org-2")
    @dataclass
    class Sender:
        plugin_context: PluginContext
        retries: int = 3
        def __post_init__(self):
            made.append(self.plugin_context)
        def handle(self, job): ...
    """
    write_plugin("data_plugin.py", source)
    load(registry, "data_plugin")
    assert made_by("data_plugin") == [PluginContext("p", None)]
    assert {handler.job_name: handler.scope_key for handler in registry.handlers()} == {"one": "org-1", "two": "org-2"}


def test_annotation_tells_the_plugin_context_before_a_name_does(registry: HandlerRegistry, write_plugin: Write) -> None:
    source = """
    @on("send")
    class Sender:
        def __init__(self, context: int = 0, *, real: PluginContext):
            made.extend([context, real])
        def handle(self, job): ...
    """
    write_plugin("annotated_plugin.py", source)
    load(registry, "annotated_plugin")
    assert made_by("annotated_plugin") == [0, PluginContext("p")]


def test_handlers_that_cannot_be_hashed_load(registry: HandlerRegistry, write_plugin: Write) -> None:
    class Unhashable:
        def __eq__(self, other: object) -> bool:
            return self is other

        def __call__(self, job: object) -> None: ...

    registry.register(plugin_name="p", queue_name="q", job_name="by-hand", handler=Unhashable())
    write_plugin("hashed_plugin.py", FUNCTION.format("send"))
    (plugin,) = load(registry, "hashed_plugin")
    assert [handler.job_name for handler in plugin.handlers] == ["send"]


@pytest.mark.parametrize("parameters", ["retries", "context, retries", "*, retries", "retries, /, context=None"])
def test_constructor_that_requires_more_is_the_plugins_error(
    registry: HandlerRegistry, write_plugin: Write, parameters: str
) -> None:
    source = f"""
    @on("send")
    class Sender:
        def __init__(self, {parameters}): ...
        def handle(self, job): ...
    """
    write_plugin("greedy_plugin.py", source)
    (plugin,) = load(registry, "greedy_plugin")
    assert plugin.error is not None
    assert isinstance(plugin.error.__cause__, InvalidHandlerError)
    assert "Sender requires retries" in str(plugin.error)
    assert registry.handlers() == []


# --- The plugin context ---


def test_plugin_context_resolves_the_process_wide_service() -> None:
    from xpert_mq.service import managed_queue

    assert isinstance(MANAGED_QUEUE_SERVICE_TOKEN, str)
    assert PluginContext("p").resolve(MANAGED_QUEUE_SERVICE_TOKEN) is managed_queue


@pytest.mark.parametrize("token", ["", "managed-queue", "XPERT_MQ.MANAGED_QUEUE_SERVICE"])
def test_plugin_context_lists_the_known_tokens(token: str) -> None:
    with pytest.raises(KeyError) as caught:
        PluginContext("p").resolve(token)
    assert MANAGED_QUEUE_SERVICE_TOKEN in str(caught.value)
    assert repr(token) in caught.value.args[0]
