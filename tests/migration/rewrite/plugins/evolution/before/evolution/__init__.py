"""Releases of agents in five steps, each a job of its own."""
