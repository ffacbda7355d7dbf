"""The project's settings. From the environment: SITE_DATABASE and SITE_SECRET; WECHAT_DATABASE is the plugin's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

SECRET_KEY = os.environ["SITE_SECRET"]
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "examples.django_site.urls"
AUTH_USER_MODEL = "django_site.Member"
LOGIN_URL = "sign_in"
STATIC_URL = "static/"
STATICFILES_DIRS = [Path(__file__).parents[1] / "sites" / "static"]
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "xpert_mq.contrib.django",
    "examples.django_site",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    # Tenant, organization and user of a request are those of its user.
    "xpert_mq.contrib.django.middleware.ContextMiddleware",
]
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES: dict[str, Any] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["SITE_DATABASE"],
        # Two processes write: one waits for the other.
        "OPTIONS": {"timeout": 20},
    }
}

# The Redis is that of XPERT_MQ_REDIS_URL, unless REDIS_URL says so here.
XPERT_MQ: dict[str, Any] = {"PLUGINS": ["examples.wechat"], "OUTBOX": True}
