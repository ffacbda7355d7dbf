"""Orders videos from a provider, and asks it until they are done."""
