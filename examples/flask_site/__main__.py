"""`python -m examples.flask_site`: a Redis, a chat service, a worker and the site, until Ctrl-C."""

from __future__ import annotations

import sys

from ..sites.processes import Site, main
from .users import USERS

_FLASK = ("-m", "flask")
_SITE = Site(
    package=str(__package__),
    owners={(user.tenant_id, user.organization_id) for user in USERS.values()},
    variables={"FLASK_APP": str(__package__)},
    prepare=(*_FLASK, "make-tables"),
    worker=(*_FLASK, "managed-jobs", "worker", "--pool", "threads", "-l", "INFO"),
    serve=(*_FLASK, "run", "--port"),
    ready="Running on",
)

if __name__ == "__main__":
    sys.exit(main(_SITE))
