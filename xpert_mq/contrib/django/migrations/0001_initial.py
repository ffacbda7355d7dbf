from typing import Any, ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies: ClassVar[list[tuple[str, str]]] = []

    operations: ClassVar[list[Any]] = [
        migrations.CreateModel(
            name="Job",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
            ],
            options={
                "verbose_name": "job",
                "permissions": (("cancel_job", "Can cancel jobs"), ("retry_job", "Can run failed jobs again")),
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="OutboxJob",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("job_id", models.CharField(max_length=300)),
                ("text", models.TextField(help_text="The job, as PreparedJob.to_text writes it.")),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "error",
                    models.TextField(blank=True, help_text="Why it can't be sent, whoever tries; it then stays here."),
                ),
            ],
            options={
                "verbose_name": "job in the outbox",
                "verbose_name_plural": "jobs in the outbox",
                "default_permissions": ("view", "delete"),
            },
        ),
    ]
