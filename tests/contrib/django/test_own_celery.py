"""A project with a Celery application of its own, on the same Redis database: each keeps its own tasks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.nodes import ROOT, LocalProcess, wait_for
from tests.contrib.django.conftest import Project

FILES = {
    "mysite/__init__.py": "from mysite.celery import app as celery_app\n",
    "mysite/celery.py": """
import os
from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
app = Celery("mysite")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
""",
    "mysite/settings.py": """
from tests.contrib.django.site.settings import *

INSTALLED_APPS += ["store"]
CELERY_BROKER_URL = CELERY_RESULT_BACKEND = "{url}"
CELERY_TASK_DEFAULT_QUEUE = "{queue}"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
""",
    "store/__init__.py": "",
    "store/tasks.py": """
import os
from celery import shared_task
from tests.contrib.django.site.shop.models import Order
from xpert_mq import current_context, managed_queue

@shared_task
def count():
    return [os.getpid(), Order.objects.count()]

@shared_task
def order(name):
    import store.managed_jobs
    job = managed_queue.enqueue(plugin_name="store", queue_name="q", job_name="pack", payload=name, tenant_id="t-1")
    return [os.getpid(), job.job_id]
""",
    "store/managed_jobs.py": """
import os
from celery import current_app
from store.tasks import count
from tests.contrib.django.site.shop.models import Order
from xpert_mq import plugin_job_processor

@plugin_job_processor(plugin_name="store", queue_name="q", job_name="pack")
def pack(job):
    Order.objects.create(name=job.data)
    return [os.getpid(), count.delay().id, current_app.main]

@plugin_job_processor(plugin_name="store", queue_name="q", job_name="apack")
async def apack(job):
    return [os.getpid(), count.delay().id, current_app.main]
""",
}

#: A process of the project that enqueues for both.
WEB = """
import json
from celery import current_app, shared_task
from mysite import celery_app
from store.tasks import count, order
from xpert_mq import app, managed_queue

job = managed_queue.enqueue(plugin_name="store", queue_name="q", job_name="pack", payload="of a view")

@shared_task(name="late")
def late():
    pass

print(json.dumps({
    "task": count.delay().id,
    "order": order.delay("of a task").id,
    "job": job.job_id,
    "current": current_app.main,
    "app of a task": [count.app.main, late.app.main],
    "tasks": sorted(name for name in app.tasks if not name.startswith("celery.")),
    "host": sorted(name for name in celery_app.tasks if not name.startswith("celery.")),
}))
"""


class Host(Project):
    """The project, in its folder."""

    def migrate(self) -> None:
        """Writes its files, and makes the tables."""
        self.queue = f"{self.prefix}:host"
        for name, text in FILES.items():
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text.format(url=self.settings.redis_url, queue=self.queue) if "settings" in name else text)
        self.env |= {
            "DJANGO_SETTINGS_MODULE": "mysite.settings",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(self.folder)]),
        }
        super().migrate()

    def host_worker(self, pool: str = "threads") -> LocalProcess:
        """The worker of its own application."""
        worker = self.start("worker", "-P", pool, "-c", "2", "-n", "host@test", "-l", "INFO", name="host", app="mysite")
        wait_for(lambda: b" ready." in worker.logs(), "the host's worker", 30)
        return worker

    def results(self, *tasks: str) -> list[Any]:
        """Of the host's tasks, when they have ended."""
        found: list[Any] = self.shell(f"""
import json
from mysite import celery_app
print(json.dumps([celery_app.AsyncResult(task).get(timeout=20) for task in {tasks}]))
""")
        return found

    def waiting(self) -> int:
        """Messages for the host's worker."""
        client: Any = self.service.get_redis()
        return int(client.llen(self.queue))


@pytest.fixture
def host(server: Any, tmp_path: Path) -> Any:
    project = Host(server, tmp_path)
    project.migrate()
    yield project
    project.close()


def test_shared_tasks_stay_the_project_s_own(host: Host) -> None:
    seen = host.shell(WEB)

    assert seen["current"] == "mysite"
    assert seen["app of a task"] == ["mysite", "mysite"]
    assert seen["tasks"] == ["xpert_mq.dispatch"]
    assert seen["host"] == ["late", "store.tasks.count", "store.tasks.order"]
    assert host.waiting() == 2
    assert host.job(seen["job"]).state == "waiting"


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["threads", "prefork", "solo", "gevent"])
def test_both_workers_side_by_side(host: Host, pool: str) -> None:
    """Tasks and jobs of a view, jobs of a task, and tasks of a job, sync and async."""
    own = host.worker(pool=pool)
    theirs = host.host_worker()
    seen = host.shell(WEB)
    # With gevent the loop has a thread of its own, where no connection of the greenlets can be used.
    handler = "pack" if pool == "gevent" else "apack"
    of_async = host.service.enqueue(plugin_name="store", queue_name="q", job_name=handler, payload="of a script").job_id

    (task_pid, _), (order_pid, of_task) = host.results(seen["task"], seen["order"])
    jobs = [host.finished(seen["job"]), host.finished(of_task, "t-1"), host.finished(of_async)]

    assert [(one.state, one.failed_reason) for one in jobs] == [("completed", None)] * 3
    tasks_of_jobs = host.results(*[one.return_value[1] for one in jobs])
    assert {task_pid, order_pid, *[pid for pid, _ in tasks_of_jobs]} == {theirs.pid}
    assert theirs.pid not in {one.return_value[0] for one in jobs}
    assert {one.return_value[2] for one in jobs} == {"mysite"}
    for log in (own.logs(), theirs.logs().decode()):
        assert "unregistered task" not in log
        assert "Traceback" not in log
    assert own.terminate() == 0
