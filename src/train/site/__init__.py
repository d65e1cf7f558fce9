"""A folder for PYTHONPATH of scripts, where any Python looks for `sitecustomize` at its start. It needs no Twofold."""
