"""The verb `prepare`: any table, folder of images or readable dataset becomes even shards with an index.

options ── what was asked for, by the command line or a processing job
source ─┬─ text      ranges of lines of CSV and LibSVM
        ├─ pictures  image files and members of archives as they are
        └─ records   rows of Parquet, and samples of whatever `stream` opens
units      the input cut into ranges, one of them a shard: the cut depends on input and arguments alone
pool       worker processes, which take units and answer with facts
└─ worker ── convert ── shaping, split, statistics, writers
journal    units that are whole, so that a run that was killed goes on
finish     the index over all of them
"""
