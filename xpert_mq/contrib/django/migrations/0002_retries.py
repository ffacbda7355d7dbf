from typing import Any, ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("xpert_mq", "0001_initial")]

    operations: ClassVar[list[Any]] = [
        migrations.AlterModelOptions(
            name="job",
            options={
                "base_manager_name": "objects",
                "default_permissions": ("view",),
                "managed": False,
                "permissions": (("cancel_job", "Can cancel jobs"), ("retry_job", "Can run failed jobs again")),
                "verbose_name": "job",
            },
        ),
        migrations.AddField(
            model_name="outboxjob",
            name="retry_at",
            field=models.DateTimeField(help_text="When it is tried again, after an error.", null=True),
        ),
        migrations.AlterField(
            model_name="outboxjob",
            name="error",
            field=models.TextField(blank=True, help_text="Why the latest worker that tried could not send it."),
        ),
    ]
