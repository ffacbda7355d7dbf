"""`python -m examples.django_site`: a Redis, a chat service, a worker and the site, until Ctrl-C."""

from __future__ import annotations

import sys

from ..sites.processes import Site, main
from .people import PEOPLE

_MANAGE = ("-m", "django")
_SITE = Site(
    package=str(__package__),
    owners={(person.tenant_id, person.organization_id) for person in PEOPLE},
    variables={"DJANGO_SETTINGS_MODULE": f"{__package__}.settings"},
    prepare=(*_MANAGE, "prepare_demo"),
    worker=(*_MANAGE, "xpert_mq_worker", "--pool", "threads", "-l", "INFO"),
    # Without --insecure it leaves the admin's own style to another server, as is right in production.
    serve=(*_MANAGE, "runserver", "--noreload", "--insecure"),
    ready="development server at",
)

if __name__ == "__main__":
    sys.exit(main(_SITE))
