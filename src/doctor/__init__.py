"""The verb `twofold doctor`: what this machine offers, what the job asks, and whether it can work."""
