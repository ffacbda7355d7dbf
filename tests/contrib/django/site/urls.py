from __future__ import annotations

from django.contrib import admin
from django.urls import path

from tests.contrib.django.site.shop import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("whoami", views.whoami),
    path("awhoami", views.awhoami),
    path("stream", views.stream),
    path("download", views.download),
    path("astream", views.astream),
    path("order", views.order),
    path("aorder", views.aorder),
]
