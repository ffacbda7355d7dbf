from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections import OrderedDict, deque
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any, NamedTuple
from uuid import UUID

import pydantic.dataclasses
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, RootModel, field_serializer
from pydantic_core import to_jsonable_python

from xpert_mq.errors import InvalidJobError
from xpert_mq.payload import MAX_DEPTH, decode_payload, encode_payload

MIB = 1024 * 1024
NAN, INF = float("nan"), float("inf")
AN_ID = UUID("12345678-1234-5678-1234-567812345678")
NOW = datetime(2024, 2, 29, 12, 30, 5, 123456, tzinfo=UTC)


class Color(Enum):
    RED = "red"
    ODD = NAN


class Level(IntEnum):
    HIGH = 3


class Kind(StrEnum):
    MAIL = "mail"


@dataclasses.dataclass
class Item:
    price: Any
    _hidden: int = 1


@pydantic.dataclasses.dataclass
class CheckedItem:
    price: Any


class Order(BaseModel):
    items: list[Any] = []
    order_id: Any = Field(default=None, alias="orderId")
    note: Any = None
    secret: Any = Field(default=None, exclude=True)


class Prices(RootModel[list[float]]):
    pass


class Faulty(BaseModel):
    amount: int = 1

    @field_serializer("amount")
    def _fail(self, amount: int) -> int:
        raise LookupError(f"no {amount}\nmore")


class Point(NamedTuple):
    x: int
    y: int


def encoded(value: object) -> str:
    return encode_payload(value, MIB)


def refusal(value: object) -> str:
    with pytest.raises(InvalidJobError) as caught:
        encoded(value)
    assert caught.value.field == "payload"
    return str(caught.value)


def nested(value: object, levels: int) -> object:
    for _ in range(levels):
        value = [value]
    return value


def numbers(count: int) -> Iterator[int]:
    yield from range(count)


# --- Round trips ------------------------------------------------------------------------------------------------------

# In JSON two surrogates in a row that form a pair are the one character that they stand for, so no low ones here.
_texts = st.text(st.characters(exclude_categories=[]).filter(lambda char: not "\udc00" <= char <= "\udfff"))
_huge = st.builds(lambda digits, sign: sign * (7**digits), st.integers(5200, 12_000), st.sampled_from([-1, 1]))
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _texts | _huge,
    lambda part: st.lists(part, max_size=4) | st.dictionaries(_texts, part, max_size=4),
    max_leaves=12,
)


def same(left: object, right: object) -> bool:
    """Equal, in type too: 1 is not 1.0, nor True, and 0.0 is not -0.0."""
    if isinstance(left, dict) and isinstance(right, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and isinstance(right, float):
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    return type(left) is type(right) and left == right


# The first draw of a run builds tables of all characters.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_json)
def test_payload_comes_back_as_it_was(value: Any) -> None:
    text = encoded(value)
    assert same(decode_payload(text), value)
    assert same(decode_payload(text.encode()), value)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(st.characters(categories=["Cs", "Lo", "Ll"])))
def test_payload_text_with_surrogates_is_storable(value: str) -> None:
    back = decode_payload(encoded([value]).encode())[0]
    assert back.encode("utf-16-le", "surrogatepass") == value.encode("utf-16-le", "surrogatepass")


def test_payload_is_compact_and_keeps_other_alphabets() -> None:
    assert encoded({"a": [1, None, True], "é": "消息"}) == '{"a":[1,null,true],"é":"消息"}'
    assert encoded(["é\ud800", "\udfff"]) == '["é\\ud800","\\udfff"]'
    assert encoded(None) == "null"
    assert encoded("text") == '"text"'


@pytest.mark.parametrize("digits", [4299, 4300, 4301, 20_000, 100_000])
def test_payload_integers_have_any_size(digits: int) -> None:
    for value in (10 ** (digits - 1), 10**digits - 1, -(10**digits) + 1, -(3 * 10 ** (digits - 1))):
        text = encode_payload({"n": [value]}, MIB)
        assert len(text) == digits + len('{"n":[]}') + (value < 0)
        assert decode_payload(text) == {"n": [value]}


def test_payload_integers_leave_pythons_limit_alone() -> None:
    before = sys.get_int_max_str_digits()
    decode_payload(encoded([10**9000]))
    assert sys.get_int_max_str_digits() == before


def test_payload_that_is_not_json_is_not_decoded() -> None:
    with pytest.raises(json.JSONDecodeError):
        decode_payload("{")


# --- What pydantic encodes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        NOW,
        NOW.replace(tzinfo=None),
        date(2024, 2, 29),
        NOW.timetz(),
        timedelta(days=1, seconds=1.5),
        AN_ID,
        Decimal("1.50"),
        Decimal("1e40"),
        Color.RED,
        Level.HIGH,
        Kind.MAIL,
        b"bytes",
        Item(AN_ID),
        CheckedItem(NOW),
        Order(items=[Item(Order(orderId=NOW)), Point(1, 2)], orderId=AN_ID, secret=1),
        Prices([1.5]),
        Point(1, 2),
        (1, (2,)),
        {Color.RED},
        frozenset({AN_ID}),
        deque([Item(1)]),
        OrderedDict(a=1),
        10**30,
    ],
)
def test_payload_is_encoded_as_pydantic_does(value: object) -> None:
    expected = to_jsonable_python(value)
    assert decode_payload(encoded(value)) == expected
    assert decode_payload(encoded({"a": [value]})) == {"a": [expected]}
    assert decode_payload(encoded([value, 10**5000])) == [expected, 10**5000]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (1, "1"),
        (Level.HIGH, "3"),
        (True, "true"),
        (None, "null"),
        (1.5, "1.5"),
        (AN_ID, str(AN_ID)),
        (date(2024, 2, 29), "2024-02-29"),
        (Decimal("1.50"), "1.50"),
        (Color.RED, "red"),
        (Kind.MAIL, "mail"),
        (b"key", "key"),
        ((1, 2), "1,2"),
        ("\ud800", "\ud800"),
        pytest.param(10**5000, "1" + "0" * 5000, id="huge"),
    ],
)
def test_payload_keys_become_text(key: object, text: str) -> None:
    assert decode_payload(encoded({key: 1})) == {text: 1}
    assert decode_payload(encoded({"a": {key: 1, AN_ID: 2}})) == {"a": {text: 1, str(AN_ID): 2}}
    assert decode_payload(encoded(Item({key: 1}))) == {"price": {text: 1}, "_hidden": 1}


def test_payload_models_go_by_alias_and_validate_again() -> None:
    order = Order(items=[1], orderId="o-1")
    assert Order.model_validate(decode_payload(encoded(order))) == order


# --- Refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (NAN, "payload is nan, which JSON doesn't know"),
        ({"items": [{}, {}, {}, {"price": INF}]}, "payload.items[3].price is inf"),
        ({"a b": {"'": [-INF]}}, "payload['a b'][\"'\"][0] is -inf"),
        ({"a": {NAN: 1}}, "payload.a[nan] is nan"),
        ((1, {INF}), "payload[1][0] is inf"),
        (Item(NAN), "payload.price is nan"),
        ([Item({NAN: 1})], "payload[0].price[nan] is nan"),
        (CheckedItem([NAN]), "payload.price[0] is nan"),
        ({"o": Order(items=[1, {"q": NAN}])}, "payload.o.items[1].q is nan"),
        (Order(note={"q": {INF: 1}}), "payload.note.q[inf] is inf"),
        (Order(orderId=NAN), "payload.orderId is nan"),
        (Order(note=Item(NAN)), "payload.note.price is nan"),
        (Prices([1, NAN]), "payload[1] is nan"),
        (Color.ODD, "payload is nan"),
        ({"d": Decimal("NaN")}, "payload.d can't be encoded as JSON: Decimal (NaN or infinity)"),
        ({"d": Order(note=Decimal("Infinity"))}, "payload.d.note can't be encoded as JSON: Decimal"),
        ({Decimal("NaN"): 1}, "has a key that can't be encoded: Decimal (NaN or infinity)"),
    ],
)
def test_payload_with_nan_names_the_path(value: object, said: str) -> None:
    assert said in refusal(value)


def test_payload_nan_in_an_excluded_field_is_no_matter() -> None:
    assert decode_payload(encoded(Order(secret=NAN))) == {"items": [], "orderId": None, "note": None}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"f": [refusal]}, "payload.f[0] can't be encoded as JSON: function"),
        ({"o": object()}, "payload.o can't be encoded as JSON: object"),
        ({"o": Order(items=[object()])}, "payload.o.items[0] can't be encoded as JSON: object"),
        (Order, "payload can't be encoded as JSON: ModelMetaclass"),
        ([Item], "payload[0] can't be encoded as JSON: type"),
        ({"g": numbers(3)}, "payload.g can't be encoded as JSON: generator (a generator can be read only once)"),
        ({"m": map(str, [1])}, "payload.m can't be encoded as JSON: map"),
        ({"b": [b"\xff"]}, "payload.b[0] can't be encoded as JSON: bytes"),
        (Order(note=b"\xff"), "payload.note can't be encoded as JSON: bytes"),
        ({"a": {object(): 1}}, "has a key that can't be encoded: object"),
        ([Faulty()], "payload[0] can't be encoded as JSON: Faulty (Error calling function `_fail`: LookupError: no 1)"),
    ],
)
def test_payload_that_cannot_be_encoded_names_the_path(value: object, said: str) -> None:
    assert said in refusal(value)


def test_payload_refusal_leaves_a_generator_unread() -> None:
    generator = numbers(3)
    refusal([generator])
    assert list(generator) == [0, 1, 2]


def test_payload_that_contains_itself_is_refused() -> None:
    cycle: dict[str, Any] = {"a": []}
    cycle["a"].append({"q": cycle["a"]})
    assert "payload.a[0].q is payload.a again: a circular reference" in refusal(cycle)
    item = Item(None)
    item.price = [item]
    assert "payload.price[0] is payload again" in refusal(item)
    order = Order()
    order.note = order
    assert "circular reference" in refusal({"o": order})


def test_payload_may_hold_one_value_twice() -> None:
    shared = {"a": 1}
    assert decode_payload(encoded([shared, shared, {AN_ID: shared}])) == [shared, shared, {str(AN_ID): shared}]


def test_payload_nests_up_to_the_limit() -> None:
    for leaf in (1, 10**5000, "]]]["):
        assert decode_payload(encoded(nested(leaf, MAX_DEPTH))) == nested(leaf, MAX_DEPTH)
    assert f"nests deeper than {MAX_DEPTH} levels" in refusal(nested(1, MAX_DEPTH + 1))
    assert f"nests deeper than {MAX_DEPTH} levels" in refusal({"a": nested({}, MAX_DEPTH)})
    assert len(refusal(nested(1, 50_000))) < 400


@pytest.mark.parametrize("text", ["[", "]", '"', '\\"[', "\\", '"]', "{}", '[""]'])
def test_payload_depth_counts_no_brackets_in_texts(text: str) -> None:
    wide = [{text: [text, [text] * 3]} for _ in range(MAX_DEPTH)]
    assert decode_payload(encoded(wide)) == wide
    assert "nests deeper" in refusal([*wide, [text, nested(text, MAX_DEPTH)], text])


def test_payload_size_is_counted_in_bytes() -> None:
    assert encode_payload("é" * 10, 22) == f'"{"é" * 10}"'
    with pytest.raises(InvalidJobError, match="payload takes 22 bytes encoded, and at most 21 are allowed"):
        encode_payload("é" * 10, 21)
    with pytest.raises(InvalidJobError, match="takes 12 bytes"):
        encode_payload("x" * 10, 11)
    with pytest.raises(InvalidJobError, match=r"^payload.n takes more than \d+ bytes encoded, and at most 1048576"):
        encode_payload({"n": 10 ** (2 * MIB)}, MIB)


def test_payload_errors_go_by_the_given_name() -> None:
    with pytest.raises(InvalidJobError, match=r"^return_value\.a is nan") as caught:
        encode_payload({"a": NAN}, MIB, field="return_value")
    assert caught.value.field == "return_value"


def test_payload_path_is_cut_where_it_is_long() -> None:
    assert len(refusal({"k" * 100_000: {"l" * 1000: NAN}})) < 400
    assert len(refusal(nested({"k": NAN}, 400))) < 400
