"""The users, with their tenants, and what they write."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models


def _new_id() -> str:
    return uuid.uuid4().hex


class Member(AbstractUser):
    """A user of one tenant."""

    tenant_id = models.CharField(max_length=50)
    organization_id = models.CharField(max_length=50)


class Letter(models.Model):
    """A letter of a tenant. `row_id` is the plugin's, once the plugin has it. Contact and text must be there."""

    id = models.CharField(primary_key=True, max_length=32, default=_new_id)
    tenant_id = models.CharField(max_length=50, db_index=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    contact = models.CharField(max_length=200)
    text = models.TextField()
    row_id = models.CharField(max_length=32, null=True)
    written_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"to {self.contact}"
