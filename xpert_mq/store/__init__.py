"""The job records in Redis: the truth about every job. Nothing else in the package writes them."""

#: The one generic Celery task of the platform, which every message names.
TASK_NAME = "xpert_mq.dispatch"
