"""The transfer set: which labelled inputs stay, and their rows for training."""
