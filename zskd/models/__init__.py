"""Models and tokenizers: loading, label alignment, adapters, backbones, entry points and bulk inference."""
