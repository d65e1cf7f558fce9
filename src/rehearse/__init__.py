"""A local SageMaker that runs what is created, behind `AWS_ENDPOINT_URL`. For the laptop; never in the image."""
