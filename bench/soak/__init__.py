"""A long run with real faults that accounts for every job: `python -m bench.soak`. See docs/benchmarks.md."""
