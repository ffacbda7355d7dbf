"""Writes the reports of the fixtures anew, to be looked through: `python -m tests.migration.scan.write_expected`."""

from __future__ import annotations

import os

from tests.migration.scan.reports import EXPECTED, FIXTURES, FORMS, NAMES, report

if __name__ == "__main__":
    os.chdir(FIXTURES)
    for name in NAMES:
        for form in FORMS:
            (EXPECTED / f"{name}.{form}").write_text(report(name, form), encoding="utf-8")
