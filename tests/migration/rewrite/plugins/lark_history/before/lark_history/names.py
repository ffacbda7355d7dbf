from enum import Enum


class HistoryJob(str, Enum):
    MATERIALIZE = "materialize-files"
    CLEANUP = "cleanup-expired"


HISTORY_QUEUE = "lark-message-history"
