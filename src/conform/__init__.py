"""The verb `twofold conform`: what SageMaker asks of an image, checked on any image with containers of its own."""
