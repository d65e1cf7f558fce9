"""The verb `monitor`: what a model was trained on against what it is asked, hour by hour.

    training data ── tables ──┐
    captured traffic          ├─ summary ── statistics ── statistics.json, constraints.json
      └─ capture ── payloads ─┘     │
           align, answers           └─ profiles ── drift ── checks ── publish
    job, run, hosts, traffic   who asks, and what is done in which order by whom

summary    one pass over columns, constant memory: counts, moments, quantiles, categories; merged in any grouping
quantiles  KLL sketches of Apache DataSketches, and the distributions that are read from them
schema     the platform's files: statistics, constraints, violations
"""
