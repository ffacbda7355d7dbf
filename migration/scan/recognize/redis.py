"""Redis clients of a plugin's own, and keys that name no tenant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ..findings import Finding
from ..libraries import KEY_COMMANDS
from ..modules import Bound
from ..scanner import Scanner
from ..syntax import Call, Constant, Function, Mapping, Member, Node, Parameter, Sequence, Spread, argument
from ..texts import Written
from .processors import own_parameters

_SCRIPTS = frozenset({"eval", "evalsha", "eval_ro", "evalro", "evalsharo", "fcall"})
_KEY_BUILDERS = ("redis_key", "redisKey")
_DEPTH = 3


def clients(scanner: Scanner, place: Bound) -> None:
    """`new Redis(…)`, `createClient(…)`, `redis.Redis(…)`, and the client of a queue."""
    node, scope = place
    if isinstance(node, Member) and node.name in ("client", "redis"):
        thing = scanner.resolver.thing(node, scope, "redis")
        if thing is not None and thing.module == "queue client" and thing.made is not None and thing.made.node is node:
            scanner.note("queue-client", place, scope.module.excerpt(node))
        return
    if not isinstance(node, Call):
        return
    thing = scanner.resolver.thing(node, scope)
    if thing is None or thing.kind not in ("redis", "sentinel", "pool") or thing.module == "platform":
        return
    if thing.made is not None and thing.made.node is node:
        scanner.note("redis-client", place, f"{scope.module.excerpt(node.function)}(…)")  # arguments may be secrets


class Keys:
    """Finds the keys that Redis commands are given, where the code builds them."""

    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner
        self.commands: dict[int, list[str]] = defaultdict(list)
        self.found: dict[int, tuple[Finding, str]] = {}
        self.calls: dict[str, list[Bound]] = defaultdict(list)
        for module in scanner.project.loaded():
            for place in module.places:
                if isinstance(place.node, Call):
                    self.calls[_called(place.node)].append(place)

    def look(self, place: Bound) -> None:
        """Notes the keys of a command that name no tenant."""
        node, scope = place
        if not isinstance(node, Call) or not isinstance(node.function, Member):
            return
        command = node.function.name.lower().replace("_", "")
        if command not in KEY_COMMANDS and command not in _SCRIPTS:
            return
        thing = self.scanner.resolver.thing(node.function.of, scope, "redis")
        if thing is None:
            return
        for key in _keys(command, node):
            self._key(Bound(key, scope), command.upper(), 0)

    def _key(self, key: Bound, command: str, depth: int) -> None:
        if depth > _DEPTH or self._scoped(key):
            return
        written = self.scanner.texts.text(*key)
        end = written.origin
        if isinstance(end.node, Sequence):
            for one in end.node.items:
                self._key(Bound(one, end.scope), command, depth + 1)
            return
        callers = list(self._given(end)) if isinstance(end.node, Parameter) else []
        for caller in callers:
            self._key(caller, command, depth + 1)
        if not callers:
            self._note(key, written, command)

    def _scoped(self, key: Bound) -> bool:
        """Whether a key names a tenant, or is built by the platform."""
        end = self.scanner.resolver.target(*key)
        built = isinstance(end.node, Call) and _called(end.node) in _KEY_BUILDERS
        return built or self.scanner.texts.mentions(*key, "tenant")

    def _given(self, parameter: Bound) -> Iterator[Bound]:
        """What the callers of a function give for one of its parameters."""
        function = parameter.scope.node
        if (
            not isinstance(function, Function)
            or not isinstance(parameter.node, Parameter)
            or not parameter.scope.parent
        ):
            return
        own = own_parameters(Bound(function, parameter.scope.parent))
        place = next((number for number, one in enumerate(own) if one is parameter.node), None)
        if place is None:
            return
        for call in self.calls[function.name]:
            given = argument(call.node, place, parameter.node.name) if isinstance(call.node, Call) else None
            if given is None or not isinstance(call.node, Call):
                continue
            if self.scanner.resolver.target(call.node.function, call.scope).node is function:
                yield Bound(given, call.scope)

    def _note(self, key: Bound, written: Written, command: str) -> None:
        place = key if written.opaque else written.origin
        what = f"key: computed ({written.shown[1:-1]})" if written.opaque else f"key {written.shown}"
        made = self.scanner.note("redis-key", place, what)
        commands = self.commands[id(made)]
        if command not in commands:
            commands.append(command)
        self.found[id(made)] = (made, what)

    def finish(self) -> None:
        """Says at each key which commands it is given to."""
        for number, (made, what) in self.found.items():
            made.what = f"{what} ({', '.join(sorted(self.commands[number]))})"


def _keys(command: str, node: Call) -> Iterator[Node]:
    if command in _SCRIPTS:
        yield from _script_keys(node)
        return
    count = KEY_COMMANDS[command]
    given = node.arguments if count is None else node.arguments[:count]
    yield from (one for one in given if not isinstance(one, Spread))
    yield from (node.keywords[one] for one in ("name", "key") if one in node.keywords and not node.arguments)


def _script_keys(node: Call) -> Iterator[Node]:
    """`eval(script, 2, key, key, …)`, or node-redis' `eval(script, { keys })`."""
    second = argument(node, 1)
    if isinstance(second, Constant) and isinstance(second.value, int):
        yield from (one for one in node.arguments[2 : 2 + second.value] if not isinstance(one, Spread))
    elif isinstance(second, Mapping):
        keys = [value for key, value in second.items if isinstance(key, Constant) and key.value == "keys"]
        yield from (item for one in keys if isinstance(one, Sequence) for item in one.items)


def _called(node: Call) -> str:
    function = node.function
    return function.name if isinstance(function, Member) else getattr(function, "id", "")
