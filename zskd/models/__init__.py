"""Loading, aligning and building the two models."""
