"""Rewrites of Python plugins that use bullmq, one a file; `rewriting` has their order, `analysis` what they know."""
