"""`manage.py prepare_demo`: the tables, and the users of the demo."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.core.management.base import BaseCommand

from ...models import Member
from ...people import PEOPLE

_ALLOWED = ("view_job", "cancel_job", "retry_job")


class Command(BaseCommand):
    """Makes them. Safe to run again."""

    help = "Make the tables, and the users of the demo."

    def handle(self, *_: Any, **__: Any) -> None:
        """Django's."""
        call_command("migrate", verbosity=0)
        allowed = Permission.objects.filter(content_type__app_label="xpert_mq", codename__in=_ALLOWED)
        for person in PEOPLE:
            member, _created = Member.objects.update_or_create(asdict(person), username=person.username)
            member.set_unusable_password()
            member.save()
            member.user_permissions.set(allowed if person.is_staff else ())
