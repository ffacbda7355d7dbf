"""The managed queue in a Flask application: `XpertMQ(app)`, or `init_app`.

It knows each request's tenant, runs handlers in the application's context, enqueues with the commit of
Flask-SQLAlchemy's session, and adds the commands `flask managed-jobs`.
"""

from xpert_mq.contrib.flask.extension import XpertMQ
from xpert_mq.contrib.tenants import (
    Finders,
    TenantRefusedError,
    from_header,
    from_subdomain,
    organization_header,
    tenant_header,
)

__all__ = [
    "Finders",
    "TenantRefusedError",
    "XpertMQ",
    "from_header",
    "from_subdomain",
    "organization_header",
    "tenant_header",
]
