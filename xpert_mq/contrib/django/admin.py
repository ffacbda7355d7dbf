"""Jobs in Django's admin: a list and a page each, with cancel and retry.

Staff see them with the permission `xpert_mq.view_job`, and only those of the tenants that `ADMIN_TENANTS` gives them;
`cancel_job` and `retry_job` allow the rest. Superusers see all.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse

from xpert_mq.context import request_context
from xpert_mq.contrib.django import joblist
from xpert_mq.contrib.django.models import Job, OutboxJob
from xpert_mq.errors import QueueUnavailableError
from xpert_mq.models import JobSnapshot
from xpert_mq.service import managed_queue
from xpert_mq.store.listing import STATES

logger = logging.getLogger(__name__)

#: The states that a job must be in.
_STATES = {"cancel": ("waiting", "delayed"), "retry": ("failed",)}

View = Callable[..., HttpResponse]


def _tells_outage(view: View) -> View:
    """With Redis away the user comes to the list, with a message."""

    @functools.wraps(view)
    def wrapper(self: JobAdmin, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(self, request, *args, **kwargs)
        except QueueUnavailableError as error:
            messages.error(request, str(error))
            return self._go("job_changelist")

    return wrapper


@admin.register(Job)
class JobAdmin(admin.ModelAdmin):
    """Its pages are its own: there is no table."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody has."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody has."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody has."""
        return False

    def get_urls(self) -> list[Any]:
        """Django's; their names are those that the admin's index links to."""
        wrap = self.admin_site.admin_view
        return [
            path("", wrap(self.list_view), name="xpert_mq_job_changelist"),
            path("<str:key>/", wrap(self.job_view), name="xpert_mq_job_change"),
            path("<str:key>/<str:verb>/", wrap(self.act_view), name="xpert_mq_job_act"),
        ]

    def list_view(self, request: HttpRequest) -> HttpResponse:
        """The jobs that the user may see and the filters want."""
        self._check(request, "view")
        wanted = {name: request.GET.get(name, "").strip() for name in joblist.FILTERS}
        listing = None
        try:
            listing = joblist.find(request.user, wanted, request.GET.get("after"))
        except QueueUnavailableError as error:
            messages.error(request, str(error))
        jobs = listing.jobs if listing else []
        context = {
            "listing": listing,
            "rows": [
                (key_of(job.envelope.tenant_id, job.id), job, _time(job.since), _time(job.due_at)) for job in jobs
            ],
            "wanted": wanted,
            "filters": [(name, name.replace("_", " ").capitalize(), value) for name, value in wanted.items()],
            "states": STATES,
            "several": joblist.sees_several(request.user),
        }
        return self._page(request, "jobs", "Jobs", **context)

    @_tells_outage
    def job_view(self, request: HttpRequest, key: str) -> HttpResponse:
        """All there is about a job."""
        self._check(request, "view")
        tenant_id, job_id = self._owned(request, key)
        job = _read(tenant_id, job_id)
        may = [
            verb
            for verb, states in _STATES.items()
            if job.state in states and request.user.has_perm(f"xpert_mq.{verb}_job")
        ]
        context = {
            "key": key,
            "job": job,
            "data": _json(job.data),
            "result": None if job.return_value is None else _json(job.return_value),
            "times": {name: _time(getattr(job, name)) for name in ("timestamp", "processed_on", "finished_on")},
            "may": may,
        }
        return self._page(request, "job", "Job", **context)

    @_tells_outage
    def act_view(self, request: HttpRequest, key: str, verb: str) -> HttpResponse:
        """Cancels a job, or runs it again."""
        if verb not in _STATES:
            raise Http404
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        self._check(request, verb)
        tenant_id, job_id = self._owned(request, key)
        act: Callable[..., Any] = getattr(managed_queue, verb)
        # Whose job it is was checked; the administrator's own tenant may be another.
        with request_context():
            result = act(job_id, tenant_id=tenant_id)
        if not result.success:
            messages.warning(request, f"Nothing was done: the job is {(result.reason or '').replace('_', ' ')}.")
            return self._go("job_changelist")
        logger.info(
            "job %s of tenant %s: %s by %s", job_id, tenant_id, verb, request.user, extra={"action": f"admin_{verb}"}
        )
        messages.success(request, "The job was cancelled." if verb == "cancel" else "The job runs again.")
        return self._go("job_changelist") if verb == "cancel" else self._go("job_change", key)

    def _check(self, request: HttpRequest, what: str) -> None:
        if not all(request.user.has_perm(f"xpert_mq.{one}_job") for one in ("view", what)):
            raise PermissionDenied

    def _owned(self, request: HttpRequest, key: str) -> tuple[str | None, str]:
        """The tenant and id that the address names, if the user may see that tenant's jobs."""
        try:
            tenant_id, job_id = json.loads(base64.urlsafe_b64decode(f"{key}{'=' * (-len(key) % 4)}"))
        except (ValueError, TypeError, binascii.Error) as error:
            raise Http404 from error
        # As an unknown one: whether another tenant has such a job is its own affair.
        if not joblist.may_see(request.user, tenant_id):
            raise Http404("there is no such job")
        return tenant_id, job_id

    def _go(self, name: str, *arguments: str) -> HttpResponse:
        address = reverse(f"admin:xpert_mq_{name}", args=arguments, current_app=self.admin_site.name)
        return HttpResponseRedirect(address)

    def _page(self, request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
        # For a project with several admin sites: links stay within this one.
        request.current_app = self.admin_site.name
        site = self.admin_site.each_context(request)
        opts = {"title": title, "opts": self.model._meta, "app_label": "xpert_mq"}
        return TemplateResponse(request, f"admin/xpert_mq/{template}.html", {**site, **opts, **context})


@admin.register(OutboxJob)
class OutboxAdmin(admin.ModelAdmin):
    """What is not in Redis yet. It holds the payloads of all tenants, so only superusers see it."""

    list_display = ("job_id", "created_at", "error")
    readonly_fields = ("job_id", "created_at", "error", "text")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody has."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody has."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Superusers have."""
        return bool(request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Superusers have."""
        return bool(request.user.is_superuser)


def key_of(tenant_id: str | None, job_id: str) -> str:
    """Tenant and id, which may be any text, as one word of an address."""
    return base64.urlsafe_b64encode(json.dumps([tenant_id, job_id]).encode()).decode().rstrip("=")


def _read(tenant_id: str | None, job_id: str) -> JobSnapshot:
    with request_context():
        job = managed_queue.get_job(job_id, tenant_id=tenant_id)
    if job is None:
        raise Http404("there is no such job")
    return job


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)


def _time(ms: int | None) -> datetime | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, tz=UTC)
