"""The command `twofold`: from a folder of data to an endpoint and back, on AWS or against a rehearsal, by boto3."""
