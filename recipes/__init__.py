"""Readable scripts that reproduce every figure stated in the documentation."""
