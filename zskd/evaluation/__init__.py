"""Scores after training, and the gate that a teacher passes before it."""
