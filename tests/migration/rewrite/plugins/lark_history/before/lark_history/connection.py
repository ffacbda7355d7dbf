import os


def redis_options() -> str:
    return os.environ["REDIS_URL"]
