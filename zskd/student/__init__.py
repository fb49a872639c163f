"""The student before training: its shape and its initial weights."""
