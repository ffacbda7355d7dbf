"""The outbox, and a name for the permissions on jobs."""

from __future__ import annotations

from django.db import models


class OutboxJob(models.Model):
    """A job of a committed transaction that may not be in Redis yet. It is deleted when it is."""

    job_id = models.CharField(max_length=300)
    text = models.TextField(help_text="The job, as PreparedJob.to_text writes it.")
    created_at = models.DateTimeField(auto_now_add=True)
    error = models.TextField(blank=True, help_text="Why the latest worker that tried could not send it.")
    retry_at = models.DateTimeField(null=True, help_text="When it is tried again, after an error.")

    class Meta:
        verbose_name = "job in the outbox"
        verbose_name_plural = "jobs in the outbox"
        default_permissions = ("view", "delete")

    def __str__(self) -> str:
        return str(self.job_id)


class _Nothing(models.Manager["Job"]):
    """Asks no database, where commands go over all models, as `dumpdata` does."""

    def get_queryset(self) -> models.QuerySet[Job]:
        """No rows."""
        return super().get_queryset().none()


class Job(models.Model):
    """No table: jobs are in Redis. It names the permissions `view_job`, `cancel_job` and `retry_job`."""

    objects = _Nothing()

    class Meta:
        managed = False
        base_manager_name = "objects"
        verbose_name = "job"
        default_permissions = ("view",)
        permissions = (("cancel_job", "Can cancel jobs"), ("retry_job", "Can run failed jobs again"))
