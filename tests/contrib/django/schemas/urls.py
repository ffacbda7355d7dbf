from __future__ import annotations

from django.urls import path

from tests.contrib.django.schemas.stock.views import add

urlpatterns = [path("add", add)]
