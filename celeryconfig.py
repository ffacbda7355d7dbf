"""The Celery settings of a deployment, and why one would change them.

A worker reads this file when it is started in this folder (or when XPERT_MQ_CELERY_CONFIG names it as a module). What
stands here overrides the package's defaults; a line that is commented out shows another value than the one in force.
Celery's own documentation has every setting: https://docs.celeryq.dev/en/stable/userguide/configuration.html

What is not for this file: Redis, prefix, concurrency and pools are the platform's, and set in the environment
(XPERT_MQ_REDIS_URL, MANAGED_QUEUE_PREFIX, MANAGED_QUEUE_CONCURRENCY, XPERT_MQ_POOLS), so that producers and workers
read them from one place. Attempts, backoff, delays and retention are each job's own.
"""

# Says that this file is meant for xpert_mq. A `celeryconfig` without this line is another application's, and isn't run.
xpert_mq_deployment = True

# --- How much at a time -----------------------------------------------------------------------------------------------

# Jobs that a node runs at a time. The default is MANAGED_QUEUE_CONCURRENCY (10), which the platform's tools read, too;
# change it there, or for one node with `celery -A xpert_mq worker -c …`. Handlers that wait for other servers stand a
# multiple of the cores, handlers that compute about as many as there are cores.
# worker_concurrency = 20

# Messages that a node holds per slot. One: a job that is fetched is a job that runs. With more, jobs would wait in a
# busy node while another one is idle; and few round trips would be saved, since a fetch takes for all free slots.
worker_prefetch_multiplier = 1

# The pool, where `celery worker -P …` says nothing: `prefork` (child processes: a crash or a leak takes one child with
# it, and only here there are time limits), `threads` (handlers that wait, little memory), `gevent`, `solo`;
# or "xpert_mq.worker.asyncio_pool:TaskPool", for async handlers by the thousand.
# worker_pool = "threads"

# --- Handlers that hang, leak or crash --------------------------------------------------------------------------------

# Seconds (prefork only). After the soft limit the handler sees SoftTimeLimitExceeded: a failed try, as by any error.
# After the hard limit its process is killed; the README's "Status" says what then becomes of the job. Both hold for
# every job of the node, so take the longest handler's time; a single handler better bounds itself.
# task_soft_time_limit = 3600
# task_time_limit = 3900

# Jobs after which a child process is replaced, and the memory (KiB) above which it is (prefork only): for handlers that
# use libraries which leak. The new child takes a moment, up to some seconds, in which its slot is empty.
# worker_max_tasks_per_child = 1000
# worker_max_memory_per_child = 500_000

# Seconds a new child has to come up (prefork only): more where plugins take long to import or machines are slow.
# worker_proc_alive_timeout = 10.0

# --- Deploying and stopping -------------------------------------------------------------------------------------------

# On SIGTERM a node takes no more jobs, hands back those that it has not started, and ends when the running ones have.
# On SIGQUIT it ends at once: running jobs are handed back, and run again elsewhere. So make the orchestrator's grace
# period as long as your longest job; or set this to a little less than it: those that still run after so many seconds
# are handed back then. (Beyond Celery's own rule it holds for SIGTERM, too; a second SIGQUIT does not wait.)
# worker_soft_shutdown_timeout = 25.0

# When the connection to Redis is lost, running jobs go on, and record their outcome when it is back. With True, Celery
# would cancel them, and their tries were lost.
worker_cancel_long_running_tasks_on_connection_loss = False

# A node that loses Redis takes, for the first moments after, only as many new jobs as it has slots without a job.
worker_enable_prefetch_count_reduction = True

# Start also while Redis is away, and never give up: the orchestrator needs no start order, and no restarts.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None

# --- Logs -------------------------------------------------------------------------------------------------------------

# The package's formats show behind the message whose job a line belongs to; XPERT_MQ_LOG_FORMAT=json writes JSON.
# Formats of your own may use the same fields: job_id, tenant_id, plugin_name, queue_name, job_name, job_try. Where the
# platform configures logging itself, turn Celery's off, and add xpert_mq.logs.JobFilter to its handlers.
# worker_log_format = "%(asctime)s %(levelname)s %(name)s %(message)s"
# worker_task_log_format = "%(asctime)s %(levelname)s %(tenant_id)s %(job_id)s %(name)s %(message)s"
# worker_hijack_root_logger = False

# What handlers print goes to the log as this level; with False, to the terminal.
# worker_redirect_stdouts = False
# worker_redirect_stdouts_level = "INFO"

# --- Monitoring and remote control ------------------------------------------------------------------------------------

# Events about every job, for Flower and `celery events`: some more work per job, so off. `celery worker -E` and
# `celery control enable_events` turn them on as well.
# worker_send_task_events = True

# `celery inspect …`, `celery control …` and Flower's buttons need it. Who can write to Redis can use it, so a
# deployment that never does may turn it off.
# worker_enable_remote_control = False

# Seconds that events, and answers to remote control, wait for a monitor that is slow or gone.
# event_queue_ttl = 5.0
# event_queue_expires = 60.0
# control_queue_ttl = 300.0
