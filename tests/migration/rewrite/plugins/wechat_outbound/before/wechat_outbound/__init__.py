"""Sends messages within limits: one at a time for each account, and later where it is too soon."""
