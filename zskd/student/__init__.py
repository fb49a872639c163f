"""The student before training: its shape and what it starts from."""
