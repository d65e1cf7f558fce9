"""The verbs as the command line has them: options, and the steps of each in order."""
