"""The options of all verbs, and how they are read from YAML files and flags. Imports neither torch nor transformers."""
