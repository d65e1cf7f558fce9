"""From a channel to batches: any format, constant memory, the same samples in the same order on any number of ranks.

plan       which sample is where in which global batch: pure arithmetic
files      the files of a channel, mapped late and a bounded number at a time
shards     one file of records: of one stride, of any size, or a folder of images
tables     text and columns turned into records of one stride, once a host
catalog    what a channel holds: recognised, indexed, opened
lanes      samples far away: long ranges, asked for ahead
dataset    samples by number; loader  this rank's part of each global batch, read ahead by threads
"""
