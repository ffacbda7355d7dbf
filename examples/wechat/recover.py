"""Sets going again, for all tenants, what a crash has left without a job.

The platform repeats no jobs by itself, so something else has to call this now and then. As a line of a crontab, with
the workers' environment and folder:

    * * * * *  python -m examples.wechat.recover

Or an application calls `recover` from a timer of its own. It may run in several places at the same time.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from xpert_mq import ManagedQueueService, managed_queue, request_context

from .inbound import Inbound
from .outbound import Outbound
from .rows import Rows
from .settings import get_settings


def recover(queue: ManagedQueueService, rows: Rows, older_than_ms: int = 60_000) -> Counter[str]:
    """What has stood still for so long goes on. Gives how many messages, by tenant.

    Each tenant and organization in a context of its own, where only its rows, keys and jobs can be met. Raises an
    ExceptionGroup for those whose integration is gone or wrong, when all others are done; and QueueUnavailableError.
    """
    outbound, inbound = Outbound(queue, rows), Inbound(queue, rows)
    numbers: Counter[str] = Counter()
    errors: list[Exception] = []
    for tenant, organization in rows.owners():
        with request_context(tenant_id=tenant, organization_id=organization):
            try:
                numbers[tenant] += outbound.recover(older_than_ms) + inbound.recover(older_than_ms)
            except (LookupError, ValueError) as error:
                error.add_note(f"tenant {tenant!r}, organization {organization!r}")
                errors.append(error)
    if errors:
        raise ExceptionGroup("not all tenants have been recovered", errors)
    return numbers


def main() -> None:
    """Prints a line for each tenant. Exit status 2 if there is no database: then WECHAT_DATABASE is wrong."""
    parser = argparse.ArgumentParser(description="Set going again what has stood still, for all tenants.")
    parser.add_argument("--older-than-ms", type=int, default=60_000, metavar="MS", help="for so long; default 60000")
    arguments = parser.parse_args()
    rows = Rows(get_settings().database)
    if not rows.path.exists():
        print(f"there is no {rows.path}; WECHAT_DATABASE names the plugin's database", file=sys.stderr)
        sys.exit(2)
    for tenant, number in recover(managed_queue, rows, arguments.older_than_ms).items():
        print(f"{tenant}: {number}")


if __name__ == "__main__":
    main()
