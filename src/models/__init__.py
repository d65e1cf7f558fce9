"""Built-in models: what the manifest of an artifact can name. `train` and `serve` both build them from here."""
