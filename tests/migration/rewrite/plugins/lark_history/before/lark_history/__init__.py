"""Keeps files of messages, and throws old ones away, some at a time."""
