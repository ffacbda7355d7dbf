"""Reads jobs of an old queue, in the order in which they run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import Any

from .old_job import OldJob, UnfitError, parse_jobs
from .old_queue import ALL_PLACES, IN_FLIGHT, OldQueue
from .report import Report
from .scripts import Scripts
from .translation import Move, Translator

#: Bytes of data that are read at a time, and the most that one job may have.
_MOST_BYTES = 16 * 1024 * 1024


#: Begins what is said of a job that is in flight and does not map any more.
STUCK = "an earlier run has it in flight, and another mapping does not get it out: "


class Reader:
    """Args: `batch`: jobs that are read at a time."""

    def __init__(self, queue: OldQueue, scripts: Scripts, batch: int) -> None:
        self._queue = queue
        self._peek: Any = scripts.peek
        self.batch = batch

    def read(self, place: str, first: int) -> list[OldJob]:
        """A batch of a place, from the given one on; none at the end."""
        return self._read(place, ALL_PLACES[place], first)

    def in_flight(self) -> tuple[list[OldJob], list[OldJob]]:
        """What a run has taken and not settled, in its order; and those of them that were removed since."""
        notes = [(json.loads(_lossless(job.score)), job) for job in self._read(IN_FLIGHT, "hash", 0)]
        jobs = [
            dataclasses.replace(job, place=note["place"], score=note.get("score", "").encode())
            for note, job in sorted(notes, key=lambda pair: int(pair[0]["number"]))
        ]
        return [job for job in jobs if job.hash is not None], [job for job in jobs if job.hash is None]

    def _read(self, place: str, kind: str, first: int) -> list[OldJob]:
        keys = [self._queue.key(place), self._queue.key("")]
        now_ms, jobs = self._peek(keys=keys, args=[kind, first, self.batch, _MOST_BYTES])
        return parse_jobs(place, now_ms, jobs)


def translated(
    jobs: Sequence[OldJob], translator: Translator, report: Report, stays_because: str = ""
) -> Iterator[Move]:
    """Those that the managed queue can have; the others are noted."""
    for job in jobs:
        if job.is_marker:
            continue
        try:
            yield translator.translate(job)
        except UnfitError as error:
            report.stays(job, f"{stays_because}{error}")


def rehearse(reader: Reader, translator: Translator, places: Sequence[str], limit: int | None) -> Report:
    """What moving would do; changes nothing."""
    report = Report()
    for move in translated(reader.in_flight()[0], translator, report, STUCK):
        report.moves(move)
        report.resumed += 1
    for place in places:
        first = 0
        while jobs := reader.read(place, first):
            first += len(jobs)
            for move in translated(jobs, translator, report):
                report.moves(move)
                if limit is not None and report.moved.total() >= limit:
                    return report
    return report


def _lossless(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")
