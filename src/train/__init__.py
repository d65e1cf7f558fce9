"""The verb `train`.

__main__   PID 1: reads the job, starts the ranks, relays their output, judges how they ended     (no torch)
launch     the command and environment of the ranks; supervise  runs them                         (no torch)
starter    starts ranks without torch; agent  torchrun, without its noise, for scripts of the user's own
program    one rank, from configuration to artifact: read this first
"""
