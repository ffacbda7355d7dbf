"""Writes documents out, once for a burst of changes."""
