"""Measures the managed queue beside plain Celery on the same server: `python -m bench`. See docs/benchmarks.md."""
