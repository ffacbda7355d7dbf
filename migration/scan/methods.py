"""Methods and options of the queue libraries, and what becomes of them."""

from __future__ import annotations

#: Job options that `enqueue` has.
JOB_OPTIONS = frozenset(
    {"jobId", "delay", "attempts", "backoff", "removeOnComplete", "removeOnFail", "timestamp", "concurrency"}
)
#: Those that it has not, and what to do instead.
OTHER_JOB_OPTIONS = {
    "priority": "there are no priorities",
    "repeat": "there are no repeatable jobs: let each run enqueue the next one with `delay_ms`",
    "lifo": "the order is first in, first out",
    "parent": "there are no flows",
    "deduplication": "give a stable `job_id`",
    "debounce": "give a new `job_id` and compare a version in the handler",
    "timeout": "workers have time limits, jobs have none",
    "limiter": "keep limits in Redis, and `raise Defer(ms)`",
    "rateLimiterKey": "keep limits in Redis, and `raise Defer(ms)`",
    "group": "there are no groups: take a lock for the key, and `raise Defer(ms)`",
    "preventParsingData": "payloads are parsed",
}
WORKER_HINTS = {
    "limiter": "keep limits in Redis, and `raise Defer(ms)`",
    "group": "there are no groups: take a lock for the key, and `raise Defer(ms)`",
    "settings": "custom backoff is not there: `raise Defer(ms)`",
    "useWorkerThreads": "the worker's pool decides",
}

REMOVES_JOB = frozenset({("job", "remove"), ("queue", "remove")})
REMOVES_MANY = frozenset(
    {
        "removeJobs",
        "clean",
        "drain",
        "obliterate",
        "empty",
        "removeRepeatable",
        "removeRepeatableByKey",
        "removeJobScheduler",
        "removeDeduplicationKey",
    }
)
CLOSES = frozenset({"close", "disconnect", "waitUntilReady", "isReady", "whenCurrentJobsFinished"})
LISTENS = frozenset({"on", "once", "addListener", "prependListener"})

_LISTING = "Plugins do not list jobs: keep rows of your own, or use `xpert-mq jobs list`."
_COUNTING = "Plugins do not count jobs: see `xpert-mq queues`."
_SCHEDULER = "No repeatable jobs: let each run enqueue the next one with `delay_ms`."
_PAUSING = "No pausing: check a flag in the handler, and `raise Defer(ms)`."
_LIMITING = "No such limit: keep limits in Redis, and `raise Defer(ms)`; a handler has `concurrency`."
QUEUE_METHODS = {
    **dict.fromkeys(
        ("getJobs", "getWaiting", "getDelayed", "getActive", "getFailed", "getCompleted", "getPrioritized"), _LISTING
    ),
    **dict.fromkeys(
        ("getJobCounts", "getJobCountByTypes", "getWaitingCount", "getDelayedCount", "getActiveCount", "count"),
        _COUNTING,
    ),
    **dict.fromkeys(("getFailedCount", "getCompletedCount", "getMetrics"), _COUNTING),
    **dict.fromkeys(
        ("upsertJobScheduler", "getJobSchedulers", "getJobScheduler", "getRepeatableJobs", "addRepeatable"), _SCHEDULER
    ),
    **dict.fromkeys(("pause", "resume", "isPaused"), _PAUSING),
    **dict.fromkeys(("setGlobalConcurrency", "setGlobalRateLimit", "rateLimit"), _LIMITING),
    "getJob": "Use `get_job(job_id)`; its snapshot has no methods.",
    "getJobState": "Use `get_job(job_id).state`.",
    "getJobLogs": "No logs per job: the worker's log lines name the job.",
    "retryJobs": "Use `retry(job_id)` for each, or `xpert-mq jobs retry`.",
    "promoteJobs": "No equivalent: cancel, and enqueue without a delay.",
    **dict.fromkeys(
        ("getWorkers", "getWorkersCount", "get_workers", "get_workers_count"), "Use `get_execution_pool_health(pool)`."
    ),
    "trimEvents": "No events: remove it.",
}
#: Methods of queues that say nothing by themselves.
QUIET_METHODS = frozenset({"toKey", "off", "removeListener", "removeAllListeners", "emit", "setMaxListeners", "run"})

_STATE = "Read the state with `get_job(job_id)`."
_FLOW = "No flows: keep what the children return in your own rows."
_MOVES = "No equivalent: return, raise, `raise UnrecoverableError` or `raise Defer(ms)`."
JOB_METHODS = {
    **dict.fromkeys(("updateData", "update"), "Use `job.aupdate_data(data)` or `job.update_data(data)`."),
    **dict.fromkeys(
        ("updateProgress", "progress"), "No progress: keep it in the payload (`update_data`) or your rows."
    ),
    **dict.fromkeys(("log", "addLog", "clearLogs"), "No logs per job: log as usual, the worker's lines name the job."),
    **dict.fromkeys(
        ("getState", "isCompleted", "isFailed", "isDelayed", "isActive", "isWaiting", "isPaused", "isStuck"), _STATE
    ),
    **dict.fromkeys(
        ("finished", "waitUntilFinished"), "Nothing waits for a job: ask `get_job(job_id)` until it ended."
    ),
    **dict.fromkeys(("moveToFailed", "moveToCompleted"), _MOVES),
    **dict.fromkeys(
        ("moveToDelayed", "moveToWait", "changeDelay"), "In the handler `raise Defer(ms)`; else cancel and enqueue."
    ),
    **dict.fromkeys(("moveToWaitingChildren", "getChildrenValues", "getDependencies"), _FLOW),
    "discard": "`raise UnrecoverableError`: the job fails at once.",
    "retry": "Use `managed_queue.retry(job_id)`, which gives the full number of attempts.",
    "promote": "No equivalent: cancel, and enqueue without a delay.",
    "changePriority": "There are no priorities.",
    **dict.fromkeys(("extendLock", "takeLock", "releaseLock"), "Remove it: a try owns its job however long it runs."),
}
#: What `migrate rewrite` also does with a job of Python's bullmq.
REWRITTEN_JOB_METHODS = frozenset({"updateData"})
REWRITTEN_QUEUE_METHODS = frozenset[str]()
