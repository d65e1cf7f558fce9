"""The verb `monitor`: what a model was trained on against what it is asked, hour by hour.

    training data ── tables ── summary ── baseline ── statistics.json, constraints.json

summary    one pass over columns, constant memory: counts, moments, quantiles, categories; merged in any grouping
quantiles  KLL sketches of Apache DataSketches, and the distributions that are read from them
schema     the platform's files: statistics, constraints, violations
"""
