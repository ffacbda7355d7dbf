"""A PostgreSQL of a test's own, from the programs that the system has installed."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.acceptance.nodes import wait_for

_numbers = itertools.count(1)


def program(name: str) -> str | None:
    """Where it is: on the PATH, or where Debian puts the newest."""
    newest = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    return shutil.which(name) or (str(newest[-1]) if newest else None)


class Postgres:
    """A server that listens on a socket in its folder alone, with one database at a time."""

    name = "postgres"

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="xpert-mq-postgres-"))
        # It refuses to run as root.
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            self._user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self._run("initdb", "--auth=trust", "--username=postgres", "--no-sync", "-D", str(self.folder / "data"))
        self._process = self._started()

    def restart(self) -> None:
        """Ends all connections."""
        self._stop()
        self._process = self._started()

    def renew(self) -> None:
        """Another database, which is empty."""
        self.name = f"site{next(_numbers)}"
        self.ask(f"CREATE DATABASE {self.name}")

    def database(self, **options: Any) -> dict[str, Any]:
        """An entry of Django's `DATABASES`."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": self.name,
            "USER": "postgres",
            "HOST": str(self.folder),
            **options,
        }

    def ask(self, query: str) -> list[str]:
        """The rows of a query, each as text."""
        done = self._run("psql", "-h", str(self.folder), "-U", "postgres", "-At", "-c", query)
        return done.stdout.split("\n")[:-1]

    def clients(self) -> list[str]:
        """The states of the connections to the database."""
        return self.ask(f"SELECT state FROM pg_stat_activity WHERE datname = '{self.name}'")

    def close(self) -> None:
        """Ends it."""
        self._stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _started(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [program("postgres") or "", "-D", str(self.folder / "data"), "-k", str(self.folder), "-h", "", "-F"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            **self._user,
        )
        wait_for(lambda: self._is_ready(process), "PostgreSQL", 30)
        return process

    def _stop(self) -> None:
        # By SIGTERM it would wait for its clients.
        self._process.send_signal(signal.SIGINT)
        self._process.wait(20)

    def _is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.poll() is None, "PostgreSQL has ended"
        return (self.folder / ".s.PGSQL.5432").exists() and self._run(
            "psql", "-h", str(self.folder), "-U", "postgres", "-c", "SELECT 1", check=False
        ).returncode == 0

    def _run(self, name: str, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [program(name) or name, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", timeout=60, **self._user)
        assert not check or done.returncode == 0, done.stderr
        return done
