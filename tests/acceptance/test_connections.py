"""Workers reach Redis by TLS, by a socket and with a password; and say what is wrong with a server."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from tests.acceptance.conftest import DeploymentFactory, slow
from tests.acceptance.deployment import Deployment
from tests.conftest import ServerFactory, require_redis

PASSWORD = "p@ss:w/rd#1"
QUOTED = "p%40ss%3Aw%2Frd%231"


def works(deployment: Deployment, pool: str) -> None:
    deployment.worker("-E", "-l", "DEBUG", pool=pool, fast=False)
    for queue in ("sync", "async"):
        assert deployment.run("own", queue=queue, tenant_id="t-1").state == "completed"
    assert deployment.run("checkpoint", {"step": 0}, attempts=3, backoff_ms=20).state == "completed"
    assert "pong" in deployment.celery("inspect", "ping").stdout


@pytest.mark.parametrize("pool", ["prefork", slow("asyncio"), slow("gevent")])
def test_unix_socket(deploy: DeploymentFactory, server_factory: ServerFactory, pool: str) -> None:
    server = server_factory(password=PASSWORD)

    works(deploy(server, url=server.unix_url), pool)


@pytest.mark.parametrize("pool", ["prefork", slow("asyncio"), slow("gevent")])
def test_tls(deploy: DeploymentFactory, server_factory: ServerFactory, tmp_path: Path, pool: str) -> None:
    require_redis()
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    cert, key, ca = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem"
    certificate.private_key_pem.write_to_path(key)
    cert.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    authority.cert_pem.write_to_path(ca)
    server = server_factory(binary="redis", tls_cert=cert, tls_key=key, tls_ca=ca)

    works(deploy(server), pool)
    # The certificate is checked: without the authority there is no connection.
    stranger = deploy(server, XPERT_MQ_REDIS_URL=f"rediss://127.0.0.1:{server.port}/0")
    worker = stranger.worker(wait=False)
    worker.wait_for_line("CERTIFICATE_VERIFY_FAILED")


def test_other_database(deploy: DeploymentFactory, server_factory: ServerFactory) -> None:
    server = server_factory()
    deployment = deploy(server, url=server.url.removesuffix("/0") + "/5")
    deployment.worker()

    assert deployment.run("echo").state == "completed"
    assert "db5" in deployment.service.get_redis().info("keyspace")
    assert "db0" not in deployment.service.get_redis().info("keyspace")


def test_password_is_never_shown(deploy: DeploymentFactory, server_factory: ServerFactory) -> None:
    server = server_factory(password=PASSWORD)
    deployment = deploy(server)
    worker = deployment.worker("-l", "DEBUG", "-E", pool="prefork", fast=False)
    deployment.run("fail", {"times": 9, "how": "plain"}, attempts=2)

    said = [
        deployment.celery(*words)
        for words in (["report"], ["inspect", "report"], ["inspect", "conf"], ["inspect", "stats"])
    ]
    server.kill()
    worker.wait_for_line("Connection refused")

    shown = "".join([*(one.stdout + one.stderr for one in said), worker.logs()])
    assert "xpert_mq" in shown
    for secret in (PASSWORD, QUOTED):
        assert secret not in shown


def test_wrong_password_is_said_without_showing_it(deploy: DeploymentFactory, server_factory: ServerFactory) -> None:
    server = server_factory(password=PASSWORD)
    deployment = deploy(server, XPERT_MQ_REDIS_URL=f"redis://:wr0ng-one@127.0.0.1:{server.port}/0")

    worker = deployment.worker(wait=False)

    worker.wait_for_line("invalid username-password pair")
    assert "wr0ng-one" not in worker.logs()


@pytest.mark.parametrize(("policy", "warned"), [("allkeys-lru", True), ("noeviction", False)])
def test_policy_that_drops_jobs_is_warned_about(
    deploy: DeploymentFactory, server_factory: ServerFactory, policy: str, warned: bool
) -> None:
    deployment = deploy(server_factory(config={"maxmemory-policy": policy}))

    worker = deployment.worker()
    deployment.run("echo")

    assert (f"maxmemory-policy is {policy}" in worker.logs()) is warned
