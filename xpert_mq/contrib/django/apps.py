"""The app `xpert_mq`."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.signals import setting_changed

from xpert_mq.handlers import registry
from xpert_mq.service import managed_queue


class ManagedJobsConfig(AppConfig):
    """Gives the process-wide service the project's settings and transactions, and handlers their connections."""

    name = "xpert_mq.contrib.django"
    label = "xpert_mq"
    verbose_name = "Managed jobs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Reads no setting yet: a wrong one shows in `manage.py check`, or at the first use."""
        from xpert_mq.contrib.django import checks, conf, databases, transactions

        checks.register_all()
        setting_changed.connect(conf.forget, dispatch_uid="xpert_mq")
        managed_queue.configure(conf.platform_settings)
        managed_queue.commit_hook = transactions.hook
        self.remove_wrapper = registry.add_wrapper(databases.around, databases.aaround)
