"""Whose a job is."""

from __future__ import annotations

import pytest

from tests.migration.codemods.checking import check, decided, rewritten

TREE = """
    from dataclasses import dataclass
    from typing import TypedDict

    from bullmq import Queue

    queue = Queue("mail")


    @dataclass
    class Row:
        id: str
        tenantId: str
        organization_id: str


    class Item(TypedDict):
        tenant_id: str


    class Service:
        def __init__(self, tenant_id):
            self.tenant_id = tenant_id

        async def send(self, x):
            {method}


    async def send(x, row: Row, item: Item, thing):
        {function}
    """


@pytest.mark.parametrize(
    ("place", "call", "owner"),
    [
        ("function", 'await queue.add("a", {"tenantId": x.tenant, "organizationId": x.org})', ["x.tenant", "x.org"]),
        ("function", 'await queue.add("a", {"id": row.id})', ["row.tenantId", "row.organization_id"]),
        ("function", 'await queue.add("a", item)', ['item["tenant_id"]']),
        ("function", 'await queue.add("a", {"id": thing.id}); print(thing.tenant_id)', ["thing.tenant_id"]),
        ("function", 'tenant_id = x; await queue.add("a", 1)', None),
        ("method", 'await queue.add("a", x)', ["self.tenant_id"]),
    ],
)
def test_tenant_is_found(place: str, call: str, owner: list[str] | None) -> None:
    parts = {"method": "pass", "function": "pass", place: call}
    text = TREE.replace("{method}", parts["method"]).replace("{function}", parts["function"])
    after = rewritten({"mail.py": text})["mail.py"].text
    found = [line.strip() for line in after.split("\n")]
    expected = [f"{name}={code}," for name, code in zip(("tenant_id", "organization_id"), owner or [], strict=False)]
    assert [line for line in found if line.startswith(("tenant_id=", "organization_id=")) and line[-1] == ","] == (
        expected if owner else ["tenant_id=tenant_id,"]
    )


def test_unknown_tenant_becomes_a_parameter_that_callers_hand_down() -> None:
    check(
        """
        from bullmq import Queue

        queue = Queue("mail")


        async def send(
            to: str,
            text: str,
        ):
            await queue.add("send", {"to": to})


        async def greet(user):
            await send(user.address, "hello")
            print(user.tenant_id)


        async def greet_all(addresses):
            for one in addresses:
                await send(one, "hello")


        async def main():
            await greet_all([])
        """,
        """
        from xpert_mq import managed_queue


        async def send(
            to: str,
            text: str,
            *,
            tenant_id: str,
        ):
            await managed_queue.aenqueue(
                plugin_name="shop",
                queue_name="mail",
                job_name="send",
                payload={"to": to},
                tenant_id=tenant_id,
            )


        async def greet(user):
            await send(user.address, "hello", tenant_id=user.tenant_id)
            print(user.tenant_id)


        async def greet_all(addresses, *, tenant_id: str):
            for one in addresses:
                await send(one, "hello", tenant_id=tenant_id)


        async def main(*, tenant_id: str):
            await greet_all([], tenant_id=tenant_id)
        """,
        *["tenant"] * 3,
    )


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (
            '@app.post("/")\nasync def send(x):\n    await queue.add("a", 1)',
            "its tenant can't be known, and a decorated function may be given parameters by a caller outside",
        ),
        ('asyncio.run(queue.add("a", 1))', "its tenant can't be known at the level of the module"),
        ('send = lambda: queue.add("a", 1)', "its tenant can't be known in <lambda>"),
    ],
)
def test_where_there_can_be_no_parameter_the_call_is_left(code: str, why: str) -> None:
    text = f'import asyncio\n\nfrom bullmq import Queue\n\nqueue = Queue("mail")\n\n\n{code}\n'
    assert decided(text) == [why]


def test_without_a_plugin_name_nothing_is_rewritten() -> None:
    text = 'from bullmq import Queue\n\nqueue = Queue("mail")\n'
    result = rewritten({"mail.py": text}, plugin_name=None)["mail.py"]
    assert not result.changed
    assert [one.reason.rule for one in result.findings] == ["plugin-name"]
