"""Asking the Hugging Face Hub and writing to it."""
