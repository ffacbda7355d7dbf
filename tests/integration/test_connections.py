"""TLS, unix sockets and the options of a URL: for the service, and for the plugins' clients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
import trustme

from tests.conftest import ServerFactory
from tests.integration.conftest import ServiceFactory
from tests.integration.pretend import JOB
from xpert_mq.embedded import EmbeddedServer
from xpert_mq.errors import QueueUnavailableError
from xpert_mq.service import ManagedQueueService
from xpert_mq.store.keys import job_token


async def check(service: ManagedQueueService) -> None:
    """All three ways to Redis work and meet in the same database."""
    assert service.enqueue(JOB, job_id="id").created
    assert not (await service.aenqueue(JOB, job_id="id")).created
    key = f"{service.settings.prefix}:own"
    assert service.get_redis().set(key, "1")
    assert await (await service.aget_redis()).exists(key) == 1
    assert service.get_redis().exists(service.store.keys.job(job_token(None, "id"))) == 1


async def test_connection_unix_socket(any_server: EmbeddedServer, service_factory: ServiceFactory) -> None:
    await check(service_factory(any_server.unix_url))


async def test_connection_unix_socket_with_password(
    server_factory: ServerFactory, service_factory: ServiceFactory
) -> None:
    await check(service_factory(server_factory(password='p/@:# "%é').unix_url))


async def test_connection_unix_socket_that_is_not_there(tmp_path: Path, service_factory: ServiceFactory) -> None:
    service = service_factory(f"unix://{tmp_path}/none.sock", enqueue_timeout=0.2)

    with pytest.raises(QueueUnavailableError, match=r"none\.sock"):
        service.enqueue(JOB)
    with pytest.raises(QueueUnavailableError, match=r"none\.sock"):
        await service.aenqueue(JOB)


async def test_connection_other_database(any_server: EmbeddedServer, service_factory: ServiceFactory) -> None:
    base = f"redis://127.0.0.1:{any_server.port}"
    service = service_factory(f"{base}/3")
    await check(service)
    with redis.Redis.from_url(f"{base}/0") as other:
        assert other.exists(service.store.keys.job(job_token(None, "id"))) == 0


@pytest.mark.parametrize(
    "query",
    [
        "decode_responses=true",
        "protocol=3",
        "max_connections=5",
        "health_check_interval=10",
        "client_name=plugin",
        "socket_timeout=5&socket_connect_timeout=5",
        "socket_keepalive=true",
        "retry_on_timeout=true",
        "db=2",
    ],
)
async def test_connection_url_options(server: EmbeddedServer, service_factory: ServiceFactory, query: str) -> None:
    await check(service_factory(f"redis://127.0.0.1:{server.port}?{query}"))


async def test_get_redis_replies_are_bytes_unless_the_url_says_so(
    server: EmbeddedServer, service_factory: ServiceFactory
) -> None:
    for query, expected in (("", b"1"), ("?decode_responses=true", "1")):
        service = service_factory(f"{server.url}{query}")
        key = f"{service.settings.prefix}:own"
        service.get_redis().set(key, "1")
        assert service.get_redis().get(key) == expected
        assert await (await service.aget_redis()).get(key) == expected


async def test_get_redis_is_one_pooled_client(service: ManagedQueueService) -> None:
    assert service.get_redis() is service.get_redis()
    assert await service.aget_redis() is await service.aget_redis()


TlsFiles = Callable[[str], tuple[Path, Path, Path]]


@pytest.fixture
def tls_files(tmp_path: Path) -> TlsFiles:
    """Makes certificate, key and authority for a host name."""

    def make(host: str) -> tuple[Path, Path, Path]:
        authority = trustme.CA()
        certificate = authority.issue_cert(host)
        cert, key, ca = tmp_path / f"{host}.pem", tmp_path / f"{host}.key", tmp_path / f"{host}-ca.pem"
        certificate.private_key_pem.write_to_path(key)
        cert.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        authority.cert_pem.write_to_path(ca)
        return cert, key, ca

    return make


@pytest.fixture
def tls_server(server_factory: ServerFactory, tls_files: TlsFiles) -> EmbeddedServer:
    cert, key, ca = tls_files("127.0.0.1")
    return server_factory(binary="redis", tls_cert=cert, tls_key=key, tls_ca=ca, password="s3cret")


async def test_connection_tls_with_the_authority(tls_server: EmbeddedServer, service_factory: ServiceFactory) -> None:
    service = service_factory(tls_server.url)

    await check(service)
    assert "ssl_ca_certs" not in service.settings.safe_redis_url


async def refused_by_certificate(service: ManagedQueueService) -> None:
    with pytest.raises(QueueUnavailableError, match=r"(?i)certificate") as caught:
        service.enqueue(JOB)
    assert caught.value.may_have_been_added is False
    assert "s3cret" not in str(caught.value)
    with pytest.raises(QueueUnavailableError, match=r"(?i)certificate"):
        await service.aenqueue(JOB)
    with pytest.raises(redis.ConnectionError, match=r"(?i)certificate"):
        service.get_redis().ping()
    with pytest.raises(redis.ConnectionError, match=r"(?i)certificate"):
        await (await service.aget_redis()).ping()


async def test_connection_tls_self_signed_is_refused(
    tls_server: EmbeddedServer, service_factory: ServiceFactory
) -> None:
    url = f"rediss://:s3cret@127.0.0.1:{tls_server.port}/0"

    await refused_by_certificate(service_factory(url, enqueue_timeout=0.3))


async def test_connection_tls_of_another_host_is_refused(
    server_factory: ServerFactory, service_factory: ServiceFactory, tls_files: TlsFiles
) -> None:
    cert, key, ca = tls_files("another.host")
    server = server_factory(binary="redis", tls_cert=cert, tls_key=key, tls_ca=ca)

    await refused_by_certificate(service_factory(server.url, enqueue_timeout=0.3))


async def test_connection_tls_without_tls_is_refused(
    server: EmbeddedServer, service_factory: ServiceFactory, tls_files: TlsFiles
) -> None:
    ca = quote(str(tls_files("127.0.0.1")[2]))
    service = service_factory(f"rediss://127.0.0.1:{server.port}/0?ssl_ca_certs={ca}", enqueue_timeout=0.3)

    with pytest.raises(QueueUnavailableError):
        service.enqueue(JOB)
    with pytest.raises(QueueUnavailableError):
        await service.aenqueue(JOB)
