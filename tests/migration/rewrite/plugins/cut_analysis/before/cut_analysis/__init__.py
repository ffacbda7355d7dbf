"""Transcribes media, with rows that say how it goes."""
