"""The example plugins, run for real: worker processes, an embedded Redis, a chat service over HTTP."""
