"""The teacher gate before training, and scores after it."""
