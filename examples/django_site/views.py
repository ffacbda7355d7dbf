"""The pages. All that is asked of the queue is asked for the tenant of the signed-in user."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth import login
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from xpert_mq import current_context, managed_queue

from ..sites import letters
from .managed_jobs import PLUGIN
from .models import Letter, Member


def sign_in(request: HttpRequest) -> HttpResponse:
    """The page to choose a user. A site of one's own asks for a password."""
    chosen = Member.objects.filter(username=request.POST.get("user", "")).first()
    if chosen is None:
        return render(request, "sign_in.html", {"members": Member.objects.order_by("username")})
    login(request, chosen)
    return redirect("show")


def show(request: HttpRequest) -> HttpResponse:
    """The form, and the latest letters of the tenant."""
    latest = Letter.objects.filter(tenant_id=current_context().tenant_id).order_by("-written_at")
    return render(request, "letters.html", {"lines": [letters.line(letter) for letter in latest[: letters.SHOWN]]})


def write(request: HttpRequest) -> HttpResponse:
    """Keeps a letter, and enqueues its job with the commit."""
    # What is blank is no text, which the table refuses.
    contact, text = (request.POST.get(name, "").strip() or None for name in ("contact", "text"))
    letter = Letter(tenant_id=current_context().tenant_id, user=request.user, contact=contact, text=text)
    try:
        with transaction.atomic():
            managed_queue.enqueue(
                letters.HAND_OVER,
                plugin_name=PLUGIN,
                payload={"letter": letter.id},
                job_id=letters.job_id(letter),
                delay_ms=letters.delay_ms(request.POST.get("seconds", "")),
                on_commit=True,
            )
            letter.save(force_insert=True)
    except IntegrityError:
        messages.warning(request, letters.REFUSED)
    return redirect("show")


def cancel(request: HttpRequest, letter_id: str) -> HttpResponse:
    """Takes a letter back that is not being sent yet."""
    messages.info(request, letters.cancel(_own(letter_id)))
    return redirect("show")


def retry(request: HttpRequest, letter_id: str) -> HttpResponse:
    """Sends a letter after all that has failed, or was cancelled at the plugin."""
    messages.info(request, letters.retry(_own(letter_id)))
    return redirect("show")


def _own(letter_id: str) -> Letter:
    """The tenant's letter; another tenant's is as unknown as one that never was."""
    letter: Letter = get_object_or_404(Letter, pk=letter_id, tenant_id=current_context().tenant_id)
    return letter
