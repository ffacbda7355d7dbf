from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from tests.contrib.django.conftest import Configure
from tests.contrib.django.site.shop.managed_jobs import SHOP
from tests.contrib.django.site.shop.models import Member
from tests.integration.pretend import PretendWorker
from xpert_mq import ManagedQueueService
from xpert_mq.contrib.django import joblist
from xpert_mq.contrib.django.admin import key_of
from xpert_mq.contrib.django.models import OutboxJob
from xpert_mq.settings import Settings

JOB = {**SHOP, "job_name": "note"}
LIST = "/admin/xpert_mq/job/"


def staff(tenant: str | None, *permissions: str, superuser: bool = False) -> Client:
    user = Member.objects.create_user(
        f"staff-{tenant}-{superuser}", tenant_id=tenant, is_staff=True, is_superuser=superuser
    )
    user.user_permissions.set(Permission.objects.filter(codename__in=[f"{one}_job" for one in permissions]))
    client = Client()
    client.force_login(user)
    return client


def page(tenant: str | None, job_id: str, verb: str | None = None) -> str:
    key = key_of(tenant, job_id)
    if verb:
        return str(reverse("admin:xpert_mq_job_act", args=[key, verb]))
    return str(reverse("admin:xpert_mq_job_change", args=[key]))


def listed(client: Client, **filters: str) -> list[str]:
    return [job.id for _, job, *_ in client.get(LIST, filters).context["rows"]]


@pytest.fixture
def jobs(queue: ManagedQueueService) -> ManagedQueueService:
    """Two jobs of tenant a, one of b, one of nobody."""
    for tenant, job_id in (("a", "a1"), ("a", "a2"), ("b", "b1"), (None, "none")):
        queue.enqueue(JOB, tenant_id=tenant, job_id=job_id, payload={"secret of": tenant})
    return queue


def test_list_shows_the_jobs_of_the_own_tenant(jobs: ManagedQueueService) -> None:
    assert sorted(listed(staff("a", "view"))) == ["a1", "a2"]
    assert listed(staff("b", "view")) == ["b1"]
    assert listed(staff(None, "view")) == []


def test_superuser_sees_all(jobs: ManagedQueueService) -> None:
    assert sorted(listed(staff("a", superuser=True))) == ["a1", "a2", "b1", "none"]


def test_setting_gives_further_tenants(jobs: ManagedQueueService, configure: Configure) -> None:
    configure(ADMIN_TENANTS=lambda user: [user.tenant_id, "b", None])
    client = staff("a", "view")

    assert sorted(listed(client)) == ["a1", "a2", "b1", "none"]
    assert listed(client, tenant="b") == ["b1"]
    assert listed(client, tenant="c") == []


def test_filters(jobs: ManagedQueueService) -> None:
    jobs.enqueue({**JOB, "job_name": "other"}, tenant_id="a", job_id="o", delay_ms=60_000)
    client = staff("a", "view")

    assert listed(client, state="delayed") == ["o"]
    assert listed(client, job_name="other") == ["o"]
    assert sorted(listed(client, plugin="shop", queue="orders", job_name="note")) == ["a1", "a2"]
    assert listed(client, plugin="none") == []
    assert len(listed(client, state="nonsense")) == 3


def test_tenant_filter_opens_no_other_tenant(jobs: ManagedQueueService) -> None:
    assert listed(staff("a", "view"), tenant="b") == []


def test_pages(jobs: ManagedQueueService, configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(ADMIN_TENANTS=lambda user: ["a", "b", None])
    monkeypatch.setattr(joblist, "PAGE", 2)
    client = staff("a", "view")
    seen, after = list[str](), ""
    while True:
        context: Any = client.get(LIST, {"after": after}).context
        seen += [job.id for _, job, *_ in context["rows"]]
        after = context["listing"].after
        if not after:
            break

    assert sorted(seen) == ["a1", "a2", "b1", "none"]
    assert len(listed(client, after="nonsense")) == 2


def test_without_the_permission_nothing_is_shown(jobs: ManagedQueueService) -> None:
    client = staff("a")

    assert client.get(LIST).status_code == 403
    assert client.get(page("a", "a1")).status_code == 403
    assert "/login/" in Client().get(LIST)["Location"]


def test_page_shows_the_job(jobs: ManagedQueueService) -> None:
    seen = staff("a", "view").get(page("a", "a1")).content.decode()
    may = staff("b", "view", "cancel")
    own = may.get(page("b", "b1")).content.decode()

    assert "secret of" in seen
    assert (page("a", "a1", "cancel") in seen, page("b", "b1", "cancel") in own) == (False, True)


def test_other_tenant_s_job_is_as_unknown(jobs: ManagedQueueService) -> None:
    client = staff("a", "view", "cancel", "retry")

    assert client.get(page("b", "b1")).status_code == 404
    assert client.get(page("a", "unknown")).status_code == 404
    assert client.post(page("b", "b1", "cancel")).status_code == 404
    assert client.post(page(None, "none", "cancel")).status_code == 404
    assert jobs.get_job("b1", tenant_id="b") is not None
    assert client.get("/admin/xpert_mq/job/nonsense/").status_code == 404


def test_cancel(jobs: ManagedQueueService) -> None:
    client = staff("a", "view", "cancel")

    assert client.get(page("a", "a1", "cancel")).status_code == 405
    assert client.post(page("a", "a1", "cancel")).status_code == 302
    assert jobs.get_job("a1", tenant_id="a") is None
    assert "not found" in client.post(page("a", "a1", "cancel"), follow=True).content.decode()


def test_retry(jobs: ManagedQueueService, settings: Settings) -> None:
    worker = PretendWorker(jobs)
    worker.fail(worker.claim_next())
    client = staff("a", "view", "retry")

    assert "Retry" in client.get(page("a", "a1")).content.decode()
    client.post(page("a", "a1", "retry"))

    job = jobs.get_job("a1", tenant_id="a")
    assert job is not None
    assert job.state == "waiting"


@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_acting_needs_its_permission(jobs: ManagedQueueService, verb: str) -> None:
    assert staff("a", "view").post(page("a", "a1", verb)).status_code == 403
    assert jobs.get_job("a1", tenant_id="a") is not None


def test_post_without_a_token_is_refused(jobs: ManagedQueueService) -> None:
    client = staff("a", "view", "cancel")
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = client.cookies

    assert strict.post(page("a", "a1", "cancel")).status_code == 403
    assert jobs.get_job("a1", tenant_id="a") is not None


def test_superuser_acts_for_any_tenant(jobs: ManagedQueueService) -> None:
    client = staff("a", superuser=True)

    client.post(page("b", "b1", "cancel"))
    client.post(page(None, "none", "cancel"))

    assert jobs.get_job("b1", tenant_id="b") is None
    assert jobs.get_job("none") is None


@pytest.mark.parametrize("job_id", ["a/b?c#d", "<script>alert(1)</script>", "ünï code", "…", "0" * 300])
def test_any_id_has_a_page(queue: ManagedQueueService, job_id: str) -> None:
    queue.enqueue(JOB, tenant_id="a", job_id=job_id)
    client = staff("a", "view")

    assert listed(client) == [job_id]
    text = client.get(page("a", job_id)).content.decode()
    assert "<script>alert" not in text


def test_redis_away_is_told(queue: ManagedQueueService) -> None:
    queue.configure(Settings(redis_url="redis://:s3cret@127.0.0.1:1/0", enqueue_timeout=0.1))

    response = staff("a", "view").get(LIST)

    assert "unavailable" in response.content.decode()
    assert "s3cret" not in response.content.decode()


@pytest.mark.parametrize("verb", [None, "cancel", "retry"])
def test_redis_away_at_a_job(queue: ManagedQueueService, verb: str | None) -> None:
    client = staff("a", "view", "cancel", "retry")
    queue.configure(Settings(redis_url="redis://:s3cret@127.0.0.1:1/0", enqueue_timeout=0.1))
    address = page("a", "a1", verb)

    response = client.post(address, follow=True) if verb else client.get(address, follow=True)

    assert response.redirect_chain == [(LIST, 302)]
    assert "unavailable" in response.content.decode()
    assert "There are no such jobs" not in response.content.decode()


def test_tenants_show_to_who_sees_several(jobs: ManagedQueueService) -> None:
    own = staff("a", "view").get(LIST).content.decode()
    every = staff("a", superuser=True).get(LIST).content.decode()

    assert ("<th>Tenant</th>" in own, 'name="tenant"' in own) == (False, False)
    assert ("<th>Tenant</th>" in every, 'name="tenant"' in every) == (True, True)


def test_list_tells_when_a_job_is_due(queue: ManagedQueueService) -> None:
    client = staff("a", "view")
    queue.enqueue(JOB, tenant_id="a", job_id="now")
    assert "until" not in client.get(LIST).content.decode()

    queue.enqueue(JOB, tenant_id="a", job_id="later", delay_ms=3_600_000)
    assert "until" in client.get(LIST).content.decode()


def test_page_shows_the_result_as_text(jobs: ManagedQueueService) -> None:
    worker = PretendWorker(jobs)
    worker.complete(worker.claim_next(), '{"html": "<b>done</b>"}')
    client = staff("a", "view")

    assert "&quot;html&quot;: &quot;&lt;b&gt;done&lt;/b&gt;&quot;" in client.get(page("a", "a1")).content.decode()


def test_index_links_to_the_list(queue: ManagedQueueService) -> None:
    assert LIST in staff("a", "view").get("/admin/").content.decode()
    assert LIST not in staff("b").get("/admin/").content.decode()


def test_outbox_is_for_superusers(queue: ManagedQueueService) -> None:
    OutboxJob.objects.create(job_id="stuck", text="{}")

    assert "stuck" in staff("a", superuser=True).get("/admin/xpert_mq/outboxjob/").content.decode()
    assert staff("a", "view").get("/admin/xpert_mq/outboxjob/").status_code == 403
