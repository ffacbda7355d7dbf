"""The job records in Redis: the truth about every job. Nothing else in the package writes them."""

#: The one generic Celery task of the platform, which every message names.
TASK_NAME = "xpert_mq.dispatch"

#: The header of a fetched message that says which node has fetched it.
NODE_HEADER = "xpert_mq_node"
