"""What data looks like, summed up: made of training data by `train` and `monitor`, of traffic by `monitor`.

columns     fields of any shape as columns of single numbers and texts
summary     one pass over columns, constant memory: counts, moments, quantiles, categories; merged in any grouping
quantiles   KLL sketches of Apache DataSketches, and the distributions that are read from them
statistics  a summary as statistics.json and constraints.json; schema  these files as the platform has them
"""
