"""The site's handlers, found since the module has this name."""

from __future__ import annotations

from xpert_mq import ManagedQueueJob, current_context, plugin_job_processor

from ..sites import letters
from .models import Letter

PLUGIN = "django-site"


@plugin_job_processor(plugin_name=PLUGIN, queue_name="letters", job_name="hand-over")
def hand_over(job: ManagedQueueJob[dict[str, str]]) -> None:
    """Gives the letter to the plugin."""
    letter = Letter.objects.get(pk=job.data["letter"], tenant_id=current_context().tenant_id)
    letter.row_id = letters.hand_over(letter)
    letter.save(update_fields=["row_id"])
