"""The application."""

from __future__ import annotations

import os
from pathlib import Path

from flask import Flask, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

from xpert_mq import current_context
from xpert_mq.contrib.flask import XpertMQ

from . import letters
from .users import USERS, find_user

_STYLE = Path(__file__).parents[1] / "sites" / "static"


def create_app() -> Flask:
    """The site. From the environment: SITE_DATABASE and SITE_SECRET; WECHAT_DATABASE is the plugin's."""
    app = Flask(__package__, static_folder=str(_STYLE))
    app.config.update(
        SECRET_KEY=os.environ["SITE_SECRET"],
        # Forms of other sites must not act for who is signed in here.
        SESSION_COOKIE_SAMESITE="Strict",
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{os.environ['SITE_DATABASE']}",
        XPERT_MQ_USER=find_user,
        XPERT_MQ_PLUGINS=("examples.wechat",),
    )
    XpertMQ(app)
    letters.db.init_app(app)
    app.cli.command("make-tables")(letters.db.create_all)
    app.register_blueprint(letters.pages)
    app.add_url_rule("/sign-in", view_func=sign_in, methods=["GET", "POST"])
    app.add_url_rule("/sign-out", view_func=sign_out, methods=["POST"])
    app.context_processor(lambda: {"user": current_context().user})
    return app


def sign_in() -> str | Response:
    """The page to choose a user."""
    if request.method == "GET":
        return render_template("sign_in.html", users=USERS.values())
    session["user"] = request.form["user"]
    return redirect(url_for("letters.show"))


def sign_out() -> Response:
    """Ends the session."""
    session.clear()
    return redirect(url_for("sign_in"))
