"""Other job queues, each as its users run it, beside the managed queue. See docs/benchmarks.md.

`catalog` lists them, with the commands of their workers. One module for each has its handlers, and how its users
enqueue; it is imported by workers and by producers (`producer`), which both are processes of their own.
"""
