"""JavaScript and TypeScript by tree-sitter, into the tree of `syntax`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from .syntax import (
    Assign,
    Binary,
    Call,
    Choice,
    Class,
    Constant,
    Export,
    Function,
    Group,
    Import,
    Item,
    Mapping,
    Match,
    Member,
    Name,
    Node,
    Parameter,
    Return,
    Sequence,
    Spread,
    Text,
    Typed,
    UnparsableError,
)

if TYPE_CHECKING:
    from tree_sitter import Node as Part
    from tree_sitter import Parser

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0", "\n": ""}
_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "undefined": None}


@cache
def _parser(dialect: str) -> Parser:
    import tree_sitter_javascript
    import tree_sitter_typescript
    from tree_sitter import Language, Parser

    languages = {
        "js": tree_sitter_javascript.language,
        "ts": tree_sitter_typescript.language_typescript,
        "tsx": tree_sitter_typescript.language_tsx,
    }
    return Parser(Language(languages[dialect]()))


def parse_javascript(text: str, dialect: str = "js") -> tuple[Group, int | None]:
    """The tree of a module (`js`, `ts` or `tsx`), and the line of the first part that makes no sense.

    Raises:
        UnparsableError: it is nested too deeply.
    """
    root = _parser(dialect).parse(text.encode()).root_node
    try:
        return Group(0, root.end_byte, _all(root)), _first_error(root) if root.has_error else None
    except RecursionError as error:
        raise UnparsableError("nested too deeply") from error


def _first_error(part: Part) -> int | None:
    if part.is_error or part.is_missing:
        return part.start_point[0] + 1
    broken = (one for one in part.children if one.has_error or one.is_missing)
    return next((line for one in broken if (line := _first_error(one)) is not None), None)


def _one(part: Part) -> Node:
    read = _READERS.get(part.type)
    return read(part) if read is not None else Group(part.start_byte, part.end_byte, _all(part))


def _all(part: Part) -> list[Node]:
    return [_one(one) for one in part.named_children if one.type != "comment"]


def _field(part: Part, name: str) -> Node | None:
    found = part.child_by_field_name(name)
    return None if found is None else _one(found)


def _must(part: Part, name: str) -> Node:
    return _field(part, name) or Group(part.start_byte, part.start_byte, [])


def _text_of(part: Part | None) -> str:
    return (part.text or b"").decode() if part is not None else ""


def _at(part: Part) -> tuple[int, int]:
    return part.start_byte, part.end_byte


def _nothing(part: Part) -> Node:
    return Group(*_at(part), [])


def _name(part: Part) -> Node:
    text = _text_of(part)
    return Constant(*_at(part), None) if text == "undefined" else Name(*_at(part), text)


def _constant(part: Part) -> Node:
    return Constant(*_at(part), _CONSTANTS[part.type])


def _require(part: Part) -> Node:
    return Name(*_at(part), "require")  # `import(…)` takes the same argument


def _string(part: Part) -> Node:
    return Constant(*_at(part), "".join(_piece(one) for one in part.named_children))


def _piece(part: Part) -> str:
    text = _text_of(part)
    if part.type != "escape_sequence":
        return text
    body = text[1:]
    if body[:1] in "ux" and len(body) > 1:
        code = int(body[1:].strip("{}"), 16)
        return chr(code) if code < 0x110000 else ""
    return _ESCAPES.get(body, body)


def _template(part: Part) -> Node:
    parts: list[Node] = []
    for one in part.named_children:
        if one.type == "template_substitution":
            parts.extend(_all(one))
        else:
            parts.append(Constant(*_at(one), _piece(one)))
    return Text(*_at(part), parts)


def _number(part: Part) -> Node:
    text = _text_of(part).replace("_", "").rstrip("n")
    try:
        return Constant(*_at(part), int(text, 0))
    except ValueError:
        try:
            return Constant(*_at(part), float(text))
        except ValueError:
            return _nothing(part)


def _unary(part: Part) -> Node:
    inner = _must(part, "argument")
    number = isinstance(inner, Constant) and isinstance(inner.value, int | float) and not isinstance(inner.value, bool)
    if number and _text_of(part).startswith("-"):
        return Constant(*_at(part), -inner.value)  # type: ignore[attr-defined]
    return Group(*_at(part), [inner])


def _member(part: Part) -> Node:
    return Member(*_at(part), _must(part, "object"), _text_of(part.child_by_field_name("property")))


def _item(part: Part) -> Node:
    key = _field(part, "index")
    if isinstance(key, Constant) and isinstance(key.value, str):
        return Member(*_at(part), _must(part, "object"), key.value)
    return Item(*_at(part), _must(part, "object"), key)


def _call(part: Part) -> Node:
    given = part.child_by_field_name("arguments")
    function = _field(part, "function") or _must(part, "constructor")
    arguments = [] if given is None else [_one(given)] if given.type == "template_string" else _all(given)
    return Call(*_at(part), function, arguments)


def _inner(part: Part) -> Node:
    inner = _all(part)
    return inner[0] if len(inner) == 1 else Group(*_at(part), inner)


def _spread(part: Part) -> Node:
    return Spread(*_at(part), _inner(part))


def _cast(part: Part) -> Node:
    inner = _all(part)
    if len(inner) < 2:
        return _inner(part)
    value, annotation = reversed(inner) if part.type == "type_assertion" else inner
    return Typed(*_at(part), value, annotation)


def _object(part: Part) -> Node:
    return Mapping(*_at(part), [_pair(one) for one in part.named_children if one.type != "comment"])


def _pair(part: Part) -> tuple[Node | None, Node]:
    if part.type == "pair":
        return _key(part.child_by_field_name("key")), _must(part, "value")
    if part.type == "shorthand_property_identifier":
        return Constant(*_at(part), _text_of(part)), _name(part)
    if part.type == "method_definition":
        return _key(part.child_by_field_name("name")), _function(part)
    return None, _inner(part) if part.type == "spread_element" else _one(part)


def _key(part: Part | None) -> Node | None:
    if part is None:
        return None
    if part.type in ("property_identifier", "private_property_identifier"):
        return Constant(*_at(part), _text_of(part))
    return _inner(part) if part.type == "computed_property_name" else _one(part)


def _array(part: Part) -> Node:
    return Sequence(*_at(part), _all(part))


def _ternary(part: Part) -> Node:
    options = [_must(part, "consequence"), _must(part, "alternative")]
    return Choice(*_at(part), options, [_must(part, "condition")])


def _binary(part: Part) -> Node:
    operator = _text_of(part.child_by_field_name("operator"))
    left, right = _must(part, "left"), _must(part, "right")
    if operator in ("||", "??"):
        return Choice(*_at(part), [left, right])
    if operator == "&&":
        return Choice(*_at(part), [right], [left])
    return Binary(*_at(part), {"===": "==", "!==": "!="}.get(operator, operator), left, right)


def _arrow(part: Part) -> Node:
    body = part.child_by_field_name("body")
    if body is None or body.type == "statement_block":
        return _function(part)
    value = _one(body)
    return _made_function(part, [Return(value.start, value.end, value)])


def _function(part: Part) -> Node:
    body = part.child_by_field_name("body")
    return _made_function(part, [] if body is None else _all(body))


def _made_function(part: Part, body: list[Node]) -> Node:
    single, several = part.child_by_field_name("parameter"), part.child_by_field_name("parameters")
    listed = [single] if single else several.named_children if several else []
    parameters: list[Parameter] = []
    opened: list[Node] = []
    for place, one in enumerate(listed):
        if one.type == "comment":
            continue
        made, parts = _parameter(one, place)
        parameters.append(made)
        opened += parts
    name = _text_of(part.child_by_field_name("name"))
    return Function(*_at(part), name, parameters, opened + body, [], _field(part, "return_type"))


def _parameter(part: Part, place: int) -> tuple[Parameter, list[Node]]:
    pattern, default = part.child_by_field_name("pattern") or part, _field(part, "value")
    if pattern.type == "assignment_pattern":
        default = _field(pattern, "right")
        pattern = pattern.child_by_field_name("left") or pattern
    decorators = [_inner(one) for one in part.named_children if one.type == "decorator"]
    stored = any(one.type in ("accessibility_modifier", "readonly", "override_modifier") for one in part.children)
    annotation = _field(part, "type")
    if pattern.type in ("identifier", "this"):
        return Parameter(*_at(part), _text_of(pattern), annotation, default, decorators, stored), []
    name = f"#{place}"
    source = Name(*_at(pattern), name)
    return Parameter(*_at(part), name, annotation, default, decorators), _destructured(pattern, source)


def _destructured(pattern: Part, source: Node) -> list[Node]:
    """`{ a, b: c }` and `[a, b]`, as one assignment for each name."""
    if pattern.type in ("identifier", "member_expression", "subscript_expression"):
        return [Assign(*_at(pattern), _one(pattern), source)]
    if pattern.type in ("assignment_pattern", "object_assignment_pattern"):
        left = pattern.child_by_field_name("left")
        return [] if left is None else _destructured(left, source)
    if pattern.type == "shorthand_property_identifier_pattern":
        return [Assign(*_at(pattern), _name(pattern), Member(*_at(pattern), source, _text_of(pattern)))]
    if pattern.type == "pair_pattern":
        key, value = pattern.child_by_field_name("key"), pattern.child_by_field_name("value")
        return [] if value is None else _destructured(value, Member(*_at(pattern), source, _text_of(key)))
    parts = [one for one in pattern.named_children if one.type != "comment"]
    if pattern.type == "object_pattern":
        return [made for one in parts for made in _destructured(one, source)]
    if pattern.type == "array_pattern":
        return [
            made
            for place, one in enumerate(parts)
            for made in _destructured(one, Item(*_at(one), source, Constant(*_at(one), place)))
        ]
    return [Assign(*_at(one), _name(one), Group(*_at(one), [])) for one in parts if one.type == "identifier"]


def _declarator(part: Part) -> Node:
    target, value = part.child_by_field_name("name"), _field(part, "value")
    if target is None:
        return Group(*_at(part), [])
    if target.type == "identifier":
        return Assign(*_at(part), _one(target), value, _field(part, "type"))
    return _unpacked(part, target, value)


def _assignment(part: Part) -> Node:
    target, value = part.child_by_field_name("left"), _must(part, "right")
    if target is None:
        return value
    if target.type in ("object_pattern", "array_pattern"):
        return _unpacked(part, target, value)
    return Assign(*_at(part), _one(target), value)


def _unpacked(part: Part, target: Part, value: Node | None) -> Node:
    # The value stands once as itself: a name for it, that no code can have, is what the parts are taken from.
    if value is None:
        return Group(*_at(part), [])
    name = f"#{target.start_byte}"
    held = Assign(*_at(part), Name(*_at(target), name), value)
    return Group(*_at(part), [held, *_destructured(target, Name(*_at(target), name))])


def _loop(part: Part) -> Node:
    over, target = _must(part, "right"), part.child_by_field_name("left")
    taken = [] if target is None else _destructured(target, Item(over.start, over.end, over, None))
    return Group(*_at(part), [*taken, *([] if taken else [over]), _must(part, "body")])


def _switch(part: Part) -> Node:
    body = part.child_by_field_name("body")
    cases = [] if body is None else body.named_children
    values = [value for one in cases if (value := _field(one, "value"))]
    inside = [_one(child) for one in cases for child in one.children_by_field_name("body")]
    return Match(*_at(part), _must(part, "value"), values, inside)


def _class(part: Part) -> Node:
    body = part.child_by_field_name("body")
    heritage = [one for one in part.named_children if one.type == "class_heritage"]
    decorators = [_inner(one) for one in part.named_children if one.type == "decorator"]
    bases = [base for one in heritage for base in _bases(one)]
    members = [] if body is None else _members(body)
    return Class(*_at(part), _text_of(part.child_by_field_name("name")), bases, members, decorators)


def _bases(heritage: Part) -> list[Node]:
    clauses = [one for one in heritage.named_children if one.type == "extends_clause"]
    if clauses:
        return [_must(one, "value") for one in clauses]
    return [_one(one) for one in heritage.named_children if one.type != "implements_clause"]


def _members(body: Part) -> list[Node]:
    made: list[Node] = []
    decorators: list[Node] = []
    for part in body.named_children:
        if part.type == "decorator":
            decorators.append(_inner(part))
            continue
        node = _one(part)
        if isinstance(node, Function):
            node.decorators += decorators
        made.append(node)
        decorators = []
    return made


def _field_definition(part: Part) -> Node:
    name = part.child_by_field_name("name") or part.child_by_field_name("property")
    decorators = [_inner(one) for one in part.named_children if one.type == "decorator"]
    target = Name(*(_at(name) if name else _at(part)), _text_of(name))
    return Assign(*_at(part), target, _field(part, "value"), _field(part, "type"), decorators)


def _enum(part: Part) -> Node:
    body, items, number = part.child_by_field_name("body"), [], 0
    for one in [] if body is None else body.named_children:
        if one.type == "enum_assignment":
            value = _must(one, "value")
            items.append((_key(one.child_by_field_name("name")), value))
            number = value.value + 1 if isinstance(value, Constant) and isinstance(value.value, int) else number
        elif one.type != "comment":
            items.append((_key(one), Constant(*_at(one), number)))
            number += 1
    return Assign(*_at(part), _must(part, "name"), Mapping(*_at(part), list(items)))


def _import(part: Part) -> Node:
    names: dict[str, str] = {}
    source = part.child_by_field_name("source")
    for clause in part.named_children:
        if clause.type == "import_require_clause":
            source = clause.child_by_field_name("source")
            names[_text_of(clause.named_children[0])] = ""
        elif clause.type == "import_clause":
            for one in clause.named_children:
                names.update(_imported(one))
    return Import(*_at(part), _module_name(source), names)


def _imported(part: Part) -> dict[str, str]:
    if part.type == "identifier":
        return {_text_of(part): "default"}
    if part.type == "namespace_import":
        return {_text_of(part.named_children[0]): ""}
    pairs = ((_text_of(one.child_by_field_name("name")), one) for one in part.named_children)
    return {_text_of(one.child_by_field_name("alias")) or name: name for name, one in pairs if name}


def _module_name(source: Part | None) -> str:
    node = None if source is None else _one(source)
    return node.value if isinstance(node, Constant) and isinstance(node.value, str) else ""


def _export(part: Part) -> Node:
    at, source = _at(part), part.child_by_field_name("source")
    module = None if source is None else _module_name(source)
    declared, value = _field(part, "declaration"), _field(part, "value")
    default = any(one.type == "default" for one in part.children)
    if declared is not None:
        _decorate(declared, [_inner(one) for one in part.named_children if one.type == "decorator"])
        name = "default" if default else ""
        return Group(*at, [declared, *([Export(*at, name, _called(declared))] if name else _exports(declared))])
    if value is not None:
        return Export(*at, "default", value)
    made: list[Node] = []
    for one in part.named_children:
        if one.type == "namespace_export":
            made.append(Export(*at, _text_of(one.named_children[0]), None, module, ""))
        elif one.type == "export_clause":
            made += [_exported(spec, module) for spec in one.named_children if spec.type == "export_specifier"]
    return Group(*at, made or ([] if module is None else [Export(*at, "*", None, module, "*")]))


def _decorate(node: Node, decorators: list[Node]) -> None:
    if isinstance(node, Class):
        node.decorators += decorators


def _called(declared: Node) -> Node:
    """What `export default class X` gives away: the name if there is one, so that it is one class and not two."""
    name = declared.name if isinstance(declared, Class | Function) else ""
    return Name(declared.start, declared.start, name) if name else declared


def _exports(declared: Node) -> list[Node]:
    if isinstance(declared, Class | Function):
        at = (declared.start, declared.start)
        return [Export(*at, declared.name, Name(*at, declared.name))]
    targets = [declared] if isinstance(declared, Assign) else _assignments(declared)
    names = [one.target for one in targets if isinstance(one.target, Name)]
    return [Export(one.start, one.start, one.id, Name(one.start, one.start, one.id)) for one in names]


def _assignments(node: Node) -> list[Assign]:
    if isinstance(node, Group):
        return [found for one in node.parts for found in _assignments(one)]
    return [node] if isinstance(node, Assign) else []


def _exported(part: Part, module: str | None) -> Node:
    name = _text_of(part.child_by_field_name("name"))
    alias = _text_of(part.child_by_field_name("alias")) or name
    value = Name(*_at(part), name) if module is None else None
    return Export(*_at(part), alias, value, module, name)


def _return(part: Part) -> Node:
    inner = _all(part)
    return Return(*_at(part), inner[0] if inner else None)


def _generic_type(part: Part) -> Node:
    arguments = part.child_by_field_name("type_arguments")
    of = _must(part, "name")
    return of if arguments is None else Item(*_at(part), of, Sequence(*_at(arguments), _all(arguments)))


def _array_type(part: Part) -> Node:
    return Item(*_at(part), Name(*_at(part), "Array"), Sequence(*_at(part), _all(part)))


def _union_type(part: Part) -> Node:
    return Choice(*_at(part), _all(part))


def _nested_type(part: Part) -> Node:
    return Member(*_at(part), _must(part, "module"), _text_of(part.child_by_field_name("name")))


_READERS: dict[str, Callable[[Part], Node]] = {
    **dict.fromkeys(
        ("identifier", "property_identifier", "shorthand_property_identifier", "type_identifier", "this", "super"),
        _name,
    ),
    **dict.fromkeys(("true", "false", "null", "undefined"), _constant),
    **dict.fromkeys(("member_expression", "nested_identifier"), _member),
    **dict.fromkeys(("call_expression", "new_expression"), _call),
    **dict.fromkeys(
        (
            "await_expression",
            "parenthesized_expression",
            "non_null_expression",
            "expression_statement",
            "type_annotation",
            "readonly_type",
            "literal_type",
            "decorator",
            "instantiation_expression",
        ),
        _inner,
    ),
    **dict.fromkeys(("as_expression", "satisfies_expression", "type_assertion"), _cast),
    **dict.fromkeys(
        (
            "function_expression",
            "function_declaration",
            "generator_function",
            "generator_function_declaration",
            "method_definition",
        ),
        _function,
    ),
    **dict.fromkeys(("class_declaration", "class", "abstract_class_declaration"), _class),
    **dict.fromkeys(("public_field_definition", "field_definition"), _field_definition),
    **dict.fromkeys(("assignment_expression", "augmented_assignment_expression"), _assignment),
    **dict.fromkeys(
        (
            "interface_declaration",
            "type_alias_declaration",
            "function_signature",
            "method_signature",
            "abstract_method_signature",
            "predefined_type",
            "object_type",
            "comment",
            "regex",
            "jsx_text",
        ),
        _nothing,
    ),
    "import": _require,
    "string": _string,
    "template_string": _template,
    "number": _number,
    "unary_expression": _unary,
    "subscript_expression": _item,
    "spread_element": _spread,
    "object": _object,
    "array": _array,
    "ternary_expression": _ternary,
    "binary_expression": _binary,
    "arrow_function": _arrow,
    "variable_declarator": _declarator,
    "for_in_statement": _loop,
    "switch_statement": _switch,
    "enum_declaration": _enum,
    "import_statement": _import,
    "export_statement": _export,
    "return_statement": _return,
    "generic_type": _generic_type,
    "array_type": _array_type,
    "union_type": _union_type,
    "nested_type_identifier": _nested_type,
}
