"""The options of all verbs, and how YAML files and flags set them. Imports neither torch nor transformers."""
