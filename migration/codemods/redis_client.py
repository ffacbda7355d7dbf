"""`queue.client` becomes the platform's client: `await managed_queue.aget_redis()`."""

from __future__ import annotations

import ast

import libcst as cst

from .analysis.findings import Reason
from .analysis.values import Client
from .codemod import Codemod

#: Commands whose replies hold texts.
_READS = {
    "get",
    "getdel",
    "getex",
    "getset",
    "hget",
    "hgetall",
    "hkeys",
    "hmget",
    "hvals",
    "keys",
    "lindex",
    "lpop",
    "lrange",
    "mget",
    "rpop",
    "scan",
    "scan_iter",
    "smembers",
    "spop",
    "srandmember",
    "zpopmax",
    "zpopmin",
    "zrange",
    "zrangebyscore",
}


class RedisClient(Codemod):
    """In coroutines: elsewhere there is no such client to be had."""

    def attribute(self, original: cst.Attribute, updated: cst.BaseExpression) -> cst.BaseExpression:
        node = self.file.node(original)
        if not isinstance(node, ast.Attribute) or not isinstance(updated, cst.Attribute):
            return updated
        scope = self.file.scope(node)
        if node.attr != "client" or self.file.project.value(node, scope) != Client():
            return updated
        if not scope.is_async:
            self.file.decide(_SYNC, node)
            return updated
        self.file.note(_KEYS, node)
        alone = isinstance(self.file.module.parent_of[node], (ast.Assign, ast.AnnAssign, ast.Return))
        code = f"await {self.file.service('aget_redis')}()"
        return cst.parse_expression(code if alone else f"({code})")

    def call(self, original: cst.Call, updated: cst.BaseExpression) -> cst.BaseExpression:
        node = self.file.node(original)
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            return updated
        scope = self.file.scope(node)
        is_read = node.func.attr in _READS and self.file.project.value(node.func.value, scope) == Client()
        if is_read:
            self.file.decide(_BYTES, node)
        return updated


_SYNC = Reason(
    "redis",
    "only a coroutine can get the platform's asyncio client",
    "redis = await managed_queue.aget_redis() where it is used; managed_queue.get_redis() in threads",
)
_KEYS = Reason(
    "redis",
    "the platform's Redis is shared by all plugins and tenants",
    "build keys with managed_queue.redis_key(...), which has plugin and tenant",
)
_BYTES = Reason("redis", "replies are bytes here, and were texts", "decode them, or compare with bytes")
