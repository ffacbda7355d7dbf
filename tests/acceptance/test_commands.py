"""Celery's own commands on the platform's application."""

from __future__ import annotations

import json

from tests.acceptance.conftest import DeploymentFactory
from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import ROOT, wait_for

CALL = json.dumps({"plugin_name": "acme", "queue_name": "sync", "job_name": "echo", "payload": 7, "tenantId": "t-1"})
REFUSED = "--broker has no effect here: XPERT_MQ_REDIS_URL names the platform's Redis"


def test_inspect_and_status(deployment: Deployment) -> None:
    worker = deployment.worker(fast=False)
    gate = deployment.hold("inspect")

    status, active, stats = (
        deployment.celery(*words) for words in (["status"], ["inspect", "active", "--json"], ["inspect", "stats"])
    )
    deployment.open_gate("inspect")

    assert "1 node online." in status.stdout
    (running,) = json.loads(active.stdout)[worker.hostname()]
    assert running["name"] == "acme/sync/gate"
    assert gate in running["id"]
    assert worker.hostname() in stats.stdout
    assert "not JSON serializable" not in worker.logs()


def test_call_enqueues_a_job(deployment: Deployment) -> None:
    deployment.worker()

    called = deployment.celery("call", "xpert_mq.dispatch", "--kwargs", CALL)
    task_id = called.stdout.strip()
    job_id = task_id.split(":")[2]
    done = deployment.finished(job_id, "t-1")
    result = deployment.celery("result", task_id)

    assert done.return_value["data"] == 7
    assert json.loads(result.stdout.replace("'", '"').replace("None", "null"))["data"] == 7


def test_call_of_anything_else_is_refused(deployment: Deployment) -> None:
    other = deployment.celery("call", "some.task")
    invalid = deployment.celery("call", "xpert_mq.dispatch", "--kwargs", '{"plugin_name": "acme"}')

    assert other.returncode != 0
    assert "only takes xpert_mq.dispatch" in other.stderr
    assert invalid.returncode != 0
    assert "queue_name is required" in invalid.stderr


def test_purge_takes_no_job_for_good(deployment: Deployment) -> None:
    job_id = deployment.enqueue("echo")

    purged = deployment.celery("purge", "-f")

    # The record is the truth: what became of the messages, it is still waiting.
    assert purged.returncode == 0
    assert deployment.job(job_id).state == "waiting"


def test_revoked_task_is_a_cancelled_job(deployment: Deployment) -> None:
    deployment.worker(fast=False)
    deployment.hold("revoke")
    job_id = deployment.enqueue("echo", tenant_id="t-1")
    task_id = deployment.python(
        "-c",
        "from xpert_mq import managed_queue as q;"
        f"print(q.executor.run(q.store.read('t-1', {job_id!r})).task_id(), end='')",
    ).stdout

    revoked = deployment.celery("control", "revoke", task_id)
    deployment.open_gate("revoke")

    assert revoked.returncode == 0, revoked.stderr
    wait_for(lambda: deployment.service.get_job(job_id, tenant_id="t-1") is None, "the job to be gone")
    assert deployment.run("echo").state == "completed"


def test_broker_option_is_refused_with_a_clear_line(deployment: Deployment) -> None:
    for words in (["-A", "xpert_mq", "-b", "redis://x", "worker"], ["-b", "redis://x", "-A", "xpert_mq", "worker"]):
        done = deployment.python("-m", "celery", *words)

        assert done.returncode != 0
        assert REFUSED in done.stderr.strip().splitlines()[-1]
        assert "Traceback" not in done.stderr


def test_broker_option_of_another_application_is_its_own(deploy: DeploymentFactory) -> None:
    deployment = deploy(XPERT_MQ_PLUGINS="")
    (deployment.folder / "hostapp.py").write_text(
        "from celery import Celery\nfrom xpert_mq import app as platform, managed_queue\napp = Celery('host')\n"
    )

    done = deployment.python(
        "-m", "celery", "-A", "hostapp", "-b", "redis://127.0.0.1:1/0", "report", PYTHONPATH=f"{ROOT}:."
    )

    assert done.returncode == 0, done.stderr
    assert "celery.loaders.app.AppLoader" in done.stdout


def test_queue_option_limits_the_pools(deployment: Deployment) -> None:
    queue = f"{deployment.prefix}:plugin-jobs"
    deployment.worker("-Q", queue)
    other = deployment.enqueue("echo", execution_pool="sandbox-browser")

    assert deployment.run("echo").state == "completed"
    assert deployment.job(other).state == "waiting"
    deployment.worker("-Q", f"{queue}-sandbox-browser")
    assert deployment.finished(other).state == "completed"


def test_queue_option_with_an_unknown_queue_is_refused(deployment: Deployment) -> None:
    done = deployment.celery("worker", "-Q", "celery")

    assert done.returncode != 0
    assert "'celery'" in done.stderr


def test_children_may_be_replaced_after_every_job(deployment: Deployment) -> None:
    deployment.worker("--max-tasks-per-child", "1", pool="prefork")

    # Celery itself takes up to 5 s to replace a child.
    ids = [deployment.enqueue("echo", queue=queue) for queue in ["sync", "async"]]

    assert [deployment.finished(job_id).state for job_id in ids] == ["completed"] * 2


def test_worker_that_is_told_to_consume_another_queue_goes_on(deployment: Deployment) -> None:
    deployment.worker(fast=False)
    assert "OK" in deployment.celery("control", "add_consumer", "foreign").stdout

    assert deployment.run("echo").state == "completed"
