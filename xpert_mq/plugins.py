"""Plugins: finding them, loading them, and what they are given.

A plugin is a module or package that declares handlers. It is named by an entry point of the group `xpert_mq.plugins`,
whose value is a module or `module:object`, or by the setting XPERT_MQ_PLUGINS.
"""

from __future__ import annotations

import inspect
import logging
import threading
import types
import typing
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Final, Literal, overload
from weakref import WeakKeyDictionary

from xpert_mq.errors import InvalidHandlerError, PluginLoadError
from xpert_mq.handlers import Handler, HandlerRegistry, declarations_of, declared

if TYPE_CHECKING:
    from xpert_mq.service import ManagedQueueService
    from xpert_mq.settings import Settings

logger = logging.getLogger(__name__)

GROUP = "xpert_mq.plugins"
MANAGED_QUEUE_SERVICE_TOKEN: Final = "xpert_mq.managed_queue_service"

_CONTEXT_NAMES = ("context", "plugin_context", "ctx")
_loads: WeakKeyDictionary[HandlerRegistry, _Load] = WeakKeyDictionary()
_loads_lock = threading.Lock()


def _managed_queue() -> ManagedQueueService:
    # Not before it is asked for: a plugin that only handles jobs needs no service.
    from xpert_mq.service import managed_queue

    return managed_queue


_SERVICES: dict[str, Callable[[], Any]] = {MANAGED_QUEUE_SERVICE_TOKEN: _managed_queue}


@dataclass(frozen=True, slots=True)
class PluginContext:
    """What the platform gives a plugin: its name, its scope, and a way to the platform's services."""

    plugin_name: str
    scope_key: str | None = None

    @overload
    def resolve(self, token: Literal["xpert_mq.managed_queue_service"]) -> ManagedQueueService: ...
    @overload
    def resolve(self, token: str) -> Any: ...
    def resolve(self, token: str) -> Any:
        """The process-wide service of this token; KeyError, listing the known tokens, for any other."""
        service = _SERVICES.get(token)
        if service is None:
            raise KeyError(f"unknown service token {token!r}; known: {', '.join(map(repr, _SERVICES))}")
        return service()


@dataclass(frozen=True, slots=True)
class LoadedPlugin:
    """A plugin that was loaded, or could not be.

    Attributes:
        name: the entry point's name, or the module's where the setting names it.
        target: `module` or `module:object`.
        handlers: what loading it registered.
        error: None, or a PluginLoadError with the plugin's own error as its cause; it has registered nothing then.
    """

    name: str
    target: str
    handlers: tuple[Handler, ...] = ()
    error: PluginLoadError | None = None


def load_plugins(settings: Settings, registry: HandlerRegistry) -> list[LoadedPlugin]:
    """Import every plugin and register what it declares, once per process and registry.

    A later call does nothing and returns the same list.

    Plugins of entry points come first, by name, then those of the setting in its order. One that fails is logged with
    its traceback and kept in the list, and the others still load.
    """
    with _loads_lock:
        load = _loads.setdefault(registry, _Load())
    return load.run(settings, registry)


def register_declared(target: Any, registry: HandlerRegistry) -> Callable[[], None]:
    """Register a decorated function, or an instance of a decorated class, as for one that a plugin declares.

    Returns a function that removes the registration. Raises InvalidHandlerError.
    """
    return registry.register_processor(_instance(target))


class _Load:
    """The one load of a registry. Other threads wait for it; its own does not, should a plugin load plugins itself."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._started = False
        self._plugins: list[LoadedPlugin] = []
        self._seen: dict[int, Any] = {}  # kept, so that no id is used again

    def run(self, settings: Settings, registry: HandlerRegistry) -> list[LoadedPlugin]:
        with self._lock:
            if not self._started:
                self._started = True
                for point in _named(settings):
                    self._plugins.append(self._load(point, registry))
            return list(self._plugins)

    def _load(self, point: EntryPoint, registry: HandlerRegistry) -> LoadedPlugin:
        before = set(registry.handlers())
        try:
            found = self._register(point, registry)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin's own, whatever it is: logged and kept
            return _failed(point, error)
        added = tuple(handler for handler in registry.handlers() if handler not in before)
        if not found and not added:
            _warn_empty(point)
        return LoadedPlugin(point.name, point.value, added)

    def _register(self, point: EntryPoint, registry: HandlerRegistry) -> list[Any]:
        """Register all that the plugin declares, or nothing; what an earlier plugin brought is not made twice."""
        targets = _targets(point)
        fresh = [target for target in targets if id(target) not in self._seen]
        with ExitStack() as undo:
            for target in fresh:
                undo.callback(register_declared(target, registry))
            undo.pop_all()
        self._seen.update((id(target), target) for target in fresh)
        return targets


def _named(settings: Settings) -> Iterator[EntryPoint]:
    """Every plugin once, whether an entry point, the setting, or both name it."""
    installed = sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value))
    listed = [EntryPoint(name=module, value=module, group=GROUP) for module in settings.plugins]
    unique: dict[str, EntryPoint] = {}
    for point in (*installed, *listed):
        unique.setdefault(point.value.replace(" ", ""), point)
    yield from unique.values()


def _targets(point: EntryPoint) -> list[Any]:
    loaded = point.load()
    return declared(loaded.__name__) if isinstance(loaded, types.ModuleType) else [loaded]


def _instance(target: Any) -> Any:
    """An instance of a decorated class, with its PluginContext if the constructor takes one; anything else as it is."""
    if not inspect.isclass(target):
        return target
    if not declarations_of(target):
        raise InvalidHandlerError(f"{target.__qualname__} is not decorated with plugin_job_processor")
    parameters = _parameters(target)
    taking = _context_parameter(target, parameters)
    _refuse_others(target, parameters, taking)
    make: Callable[..., Any] = target
    if taking is None:
        return make()
    context = _context_for(target)
    return make(context) if taking.kind is taking.POSITIONAL_ONLY else make(**{taking.name: context})


def _parameters(target: type) -> list[inspect.Parameter]:
    try:
        parameters = inspect.signature(target).parameters.values()
    except ValueError:  # a class of an extension module that does not tell
        return []
    return [one for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]


def _refuse_others(target: type, parameters: list[inspect.Parameter], taking: inspect.Parameter | None) -> None:
    required = [one.name for one in parameters if one is not taking and one.default is one.empty]
    if required:
        raise InvalidHandlerError(
            f"the constructor of {target.__qualname__} requires {', '.join(required)}; a plugin's class may require"
            " only a PluginContext (or create an instance and register it with registry.register_processor)"
        )


def _context_parameter(target: type, parameters: list[inspect.Parameter]) -> inspect.Parameter | None:
    """The parameter annotated as a PluginContext, else the one that is named like it."""
    hints = _hints(target)
    annotated = (one for one in parameters if _means_context(hints.get(one.name, one.annotation)))
    named = (one for one in parameters if one.name in _CONTEXT_NAMES)
    return next(annotated, None) or next(named, None)


def _hints(target: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(target.__init__)  # type: ignore[misc] # the class's own, read and not called
    except Exception:  # noqa: BLE001 - names imported for the type checker only: the annotation's text must do then
        return {}


def _means_context(annotation: Any) -> bool:
    if isinstance(annotation, str):
        names = annotation.replace("Optional[", "").rstrip("] ").split("|")
        return any(name.strip().rpartition(".")[2] == PluginContext.__name__ for name in names)
    return annotation is PluginContext or PluginContext in typing.get_args(annotation)


def _context_for(target: type) -> PluginContext:
    """Named like the first declaration; scoped only where all agree, so that the others keep scopes of their own."""
    declarations = declarations_of(target)
    scopes = {one.scope_key for one in declarations}
    return PluginContext(declarations[0].plugin_name, scopes.pop() if len(scopes) == 1 else None)


def _failed(point: EntryPoint, error: BaseException) -> LoadedPlugin:
    said = f"{type(error).__name__}: {error}"
    failure = PluginLoadError(f"plugin {point.name!r} ({point.value}) could not be loaded: {said}")
    failure.__cause__ = error
    logger.error(
        "plugin %s (%s) could not be loaded",
        point.name,
        point.value,
        exc_info=error,
        extra={"action": "plugin_failed", "plugin": point.name},
    )
    return LoadedPlugin(point.name, point.value, error=failure)


def _warn_empty(point: EntryPoint) -> None:
    logger.warning(
        "plugin %s (%s) declares no handler; a package must import the modules that do",
        point.name,
        point.value,
        extra={"action": "plugin_empty", "plugin": point.name},
    )
