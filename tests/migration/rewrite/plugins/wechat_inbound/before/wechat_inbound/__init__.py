"""Gathers messages of a chat, and answers them together when it has been quiet for a while."""
