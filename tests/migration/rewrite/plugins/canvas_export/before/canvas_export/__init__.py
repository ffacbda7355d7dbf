"""Exports of a canvas, ordered by code that is not async."""
