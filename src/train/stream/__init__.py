"""From a channel to batches.

plan     which sample is where in which global batch: pure arithmetic
shards   the files of a channel as arrays that samples are gathered from
loader   this rank's part of each global batch
"""
