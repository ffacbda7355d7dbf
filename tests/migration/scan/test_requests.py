"""Handlers that lean on a request."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.migration.scan.trees import found, only

HEAD = """
import { Worker } from 'bullmq'
import { Inject, Injectable, Scope } from '@nestjs/common'
import { REQUEST } from '@nestjs/core'
import { Processor, WorkerHost } from '@nestjs/bullmq'
import { RequestContext, runWithRequestContext } from '@acme/sdk'
import { AsyncLocalStorage } from 'async_hooks'
const storage = new AsyncLocalStorage()
"""
OF_REQUEST = "@Injectable({ scope: Scope.REQUEST }) class S {}"


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("new Worker('n', async (job) => RequestContext.currentUser())", "RequestContext.currentUser, reached from"),
        ("new Worker('n', async (job) => storage.getStore().tenant)", "storage.getStore, reached from"),
        ("app.get('/', (req, res) => new Worker('n', async (job) => req.user.id))", "req.user, reached from"),
        (
            "function deep() { return RequestContext.currentTenantId() }\nnew Worker('n', (job) => deep())",
            "currentTenantId",
        ),
        (
            "class H { start() { new Worker('n', (job) => this.a(job)) } a(job) { RequestContext.current() } }",
            "RequestContext.current, reached from",
        ),
        (
            "@Processor('n') class H extends WorkerHost { constructor(@Inject(REQUEST) r) {} process(job) {} }",
            "injected: @Inject(REQUEST) r",
        ),
        ("@Injectable({ scope: Scope.REQUEST }) @Processor('n') class H { process(job) {} }", "lives as long as"),
        (
            f"{OF_REQUEST}\n@Processor('n') class H {{ constructor(private s: S) {{}} process(job) {{}} }}",
            "class S lives as long as a request",
        ),
    ],
)
def test_what_needs_a_request(tmp_path: Path, code: str, what: str) -> None:
    finding = only(tmp_path, HEAD + code, "request")
    assert what in finding.what
    assert finding.step == 7


@pytest.mark.parametrize(
    "code",
    [
        "runWithRequestContext({}, () => RequestContext.currentUser())",
        "RequestContext.run(job.data, () => RequestContext.currentUser())",
        "storage.run(job.data, () => storage.getStore())",
    ],
)
def test_a_context_that_the_handler_makes_itself(tmp_path: Path, code: str) -> None:
    findings = found(tmp_path, f"{HEAD}new Worker('n', (job) => {code})", "request", "own-context")
    assert [one.kind for one in findings] == ["own-context"]


@pytest.mark.parametrize(
    "code",
    [
        "app.get('/', (req) => RequestContext.currentUser())\nnew Worker('n', async (job) => job.data)",
        "new Worker('n', async (job) => ((req) => req.user)(job.data))",
        "new Worker('n', async (request) => request.data)",
    ],
)
def test_what_needs_none(tmp_path: Path, code: str) -> None:
    assert found(tmp_path, HEAD + code, "request", "own-context") == []


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("return request.headers", 1),
        ("return g.user", 1),
        ("return current_user.id", 1),
        ("return tenant.get()", 1),
        ("return deep()", 1),
        ("return job.data.get('request')", 0),
        ("return current_context().tenant_id", 0),
    ],
)
def test_handlers_in_python(tmp_path: Path, body: str, count: int) -> None:
    code = f"""
from contextvars import ContextVar
from bullmq import Worker
from flask import g, request
from flask_login import current_user
from xpert_mq import current_context
tenant = ContextVar("tenant")
def deep():
    return request.args
async def process(job, token):
    {body}
Worker("n", process)
"""
    assert len(found(tmp_path, {"a.py": code}, "request")) == count
