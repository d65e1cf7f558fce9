"""A folder for PYTHONPATH of scripts, where Python looks for `sitecustomize` at its start. Nothing here is imported."""
