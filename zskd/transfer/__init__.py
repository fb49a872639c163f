"""The transfer set: selecting labelled inputs and encoding them as rows for training."""
