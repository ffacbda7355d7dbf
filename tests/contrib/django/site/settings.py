"""A Django project for the tests; what varies comes from the environment."""

from __future__ import annotations

import json
import os
from typing import Any

SECRET_KEY = "for tests alone"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "tests.contrib.django.site.urls"
AUTH_USER_MODEL = "shop.Member"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "/static/"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "xpert_mq.contrib.django",
    "tests.contrib.django.site.shop",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "xpert_mq.contrib.django.middleware.ContextMiddleware",
]
TEMPLATES = [
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
SESSION_ENGINE = "django.contrib.sessions.backends.db"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

_FOLDER = os.environ.get("SITE_FOLDER", ".")
#: As Django's `DATABASES`, by default two files.
DATABASES: dict[str, Any] = json.loads(os.environ.get("SITE_DATABASES", "null")) or {
    name: {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{_FOLDER}/{name}.sqlite3", "OPTIONS": {"timeout": 20}}
    for name in ("default", "other")
}
XPERT_MQ: dict[str, Any] = json.loads(os.environ.get("SITE_XPERT_MQ", "{}"))
# Django sets the process' own to it.
TIME_ZONE = "UTC"
