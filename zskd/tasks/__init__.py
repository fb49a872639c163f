"""Tasks as data, the six GLUE presets, and labelled files."""
