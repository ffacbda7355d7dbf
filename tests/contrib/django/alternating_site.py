"""`python -m tests.contrib.django.alternating_site wsgi|asgi` serves the tests' project with other views.

It prints its port. A request adds a job, and is answered with whose it was before and after.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time

import django
import uvicorn
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.contrib.alternating import job, seen
from tests.contrib.pool_server import PoolServer
from xpert_mq import managed_queue


def view(request: HttpRequest, number: int) -> HttpResponse:
    before = seen()
    time.sleep(0.001)
    managed_queue.enqueue(job(number))
    return HttpResponse(f"{before} {seen()}")


async def aview(request: HttpRequest, number: int) -> HttpResponse:
    before = seen()
    await asyncio.sleep(0.001)
    await managed_queue.aenqueue(job(number))
    return HttpResponse(f"{before} {await asyncio.to_thread(seen)}")


urlpatterns = [path("<int:number>", aview if sys.argv[-1] == "asgi" else view)]


def serve_wsgi() -> None:
    with PoolServer(get_wsgi_application()) as server:
        say(server.server_port)
        server.serve_forever()


def serve_asgi() -> None:
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    config = uvicorn.Config(get_asgi_application(), log_config=None, lifespan="off", ws="none")
    say(listening.getsockname()[1])
    uvicorn.Server(config).run(sockets=[listening])


def say(port: int) -> None:
    print(port, flush=True)  # noqa: T201 - to who has started it


if __name__ == "__main__":
    django.setup()
    settings.ROOT_URLCONF = __name__
    serve_asgi() if sys.argv[1] == "asgi" else serve_wsgi()
