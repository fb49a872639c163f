"""The teacher: loading it, asking it in bulk, and the cache of its answers."""
