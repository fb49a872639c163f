"""The last stage: a finished run becomes a model repository on the Hugging Face Hub."""
