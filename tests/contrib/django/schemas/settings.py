"""A project with django-tenants: a schema for each customer, with its own users."""

from __future__ import annotations

import json
import os
from typing import Any

SECRET_KEY = "for tests alone"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "tests.contrib.django.schemas.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

SHARED_APPS = ["django_tenants", "tests.contrib.django.schemas.customers", "xpert_mq.contrib.django"]
TENANT_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "tests.contrib.django.schemas.stock",
]
INSTALLED_APPS = [*SHARED_APPS, *TENANT_APPS]
TENANT_MODEL = "customers.Customer"
TENANT_DOMAIN_MODEL = "customers.Domain"
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
DATABASES: dict[str, Any] = json.loads(os.environ["SITE_DATABASES"])

MIDDLEWARE = [
    "django_tenants.middleware.main.TenantMainMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "xpert_mq.contrib.django.middleware.ContextMiddleware",
]
XPERT_MQ = {
    "TENANT": "xpert_mq.contrib.django.tenants.from_django_tenants",
    **json.loads(os.environ.get("SITE_XPERT_MQ", "{}")),
}
