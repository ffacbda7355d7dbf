"""Where the pages are, and who may ask for them."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LogoutView
from django.urls import path
from django.views.decorators.http import require_GET, require_POST
from django.views.generic import RedirectView

from . import views

urlpatterns = [
    path("", require_GET(login_required(views.show)), name="show"),
    path("letters", require_POST(login_required(views.write)), name="write"),
    path("letters/<str:letter_id>/cancel", require_POST(login_required(views.cancel)), name="cancel"),
    path("letters/<str:letter_id>/retry", require_POST(login_required(views.retry)), name="retry"),
    path("sign-in", views.sign_in, name="sign_in"),
    path("sign-out", LogoutView.as_view(next_page="sign_in"), name="sign_out"),
    # The demo's users have no passwords.
    path("admin/login/", RedirectView.as_view(pattern_name="sign_in")),
    path("admin/", admin.site.urls),
]
