"""`python -m examples.demo`: a server, a worker, a producer and some hundred jobs of three tenants, checked at the end.

`plugin` holds the handlers, `plan` says which jobs there are and how each must end, `producer` enqueues them in a
process of its own, `check` compares what became of them with the plan, and `screen` shows it.
"""
