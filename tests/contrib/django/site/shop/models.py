from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models


class Member(AbstractUser):
    tenant_id = models.CharField(max_length=50, null=True)
    organization_id = models.CharField(max_length=50, null=True)


class Order(models.Model):
    name = models.CharField(max_length=50)
    tenant_id = models.CharField(max_length=50, null=True)
