"""The verb `monitor`: what a model was trained on against what it is asked, hour by hour.

training data ── tables ──┐
captured traffic          ├─ baseline/summary, statistics ── statistics.json, constraints.json
└─ capture ── payloads ─┘     │
align, answers           └─ profiles ── drift ── checks ── publish, report
observations ── quality         answers held against what was true
job, run, hosts, traffic        who asks, and what is done in which order by whom
"""
