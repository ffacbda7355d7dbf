"""Moves plugins off queues of their own: finds them, rewrites them, and drains what is left in the old queues.

    scan      what of BullMQ and Bull a tree of Python, TypeScript or JavaScript has
    rewrite   Python on bullmq, for the managed queue; one rewrite a file in `codemods`
    drain     an old queue in Redis: its state, its end, and its jobs' way into the managed queue

`README.md` is the guide. It uses the public parts of `xpert_mq` alone.
"""
