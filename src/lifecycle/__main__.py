"""Entry point of the verbs of `twofold` that ask AWS, or a rehearsal: results on stdout, all else on stderr."""

import os
import sys

import click

try:
    from .command import Guarded
    from .verbs import jobs, registry, serving, starting, watching
except ImportError as missing:
    # boto3 and YAML are for the laptop and for CI, not for the image.
    sys.exit(f"twofold: {missing}. Expected the extra: pip install 'twofold[lifecycle]'.")


@click.group(cls=Guarded, name="twofold", context_settings={"max_content_width": 120})
@click.pass_context
def main(context: click.Context) -> None:
    """Walk a model through its life on SageMaker, or on `twofold rehearse`, as twofold.yaml describes it."""
    context.obj = os.environ


for verb in (
    starting.init,
    starting.notebook,
    jobs.train,
    jobs.tune,
    serving.deploy,
    serving.invoke,
    serving.shift,
    serving.promote,
    serving.rollback,
    jobs.transform,
    registry.evaluate,
    registry.register,
    registry.approve,
    watching.monitor,
    watching.status,
    watching.logs,
    watching.down,
):
    main.add_command(verb)

if __name__ == "__main__":
    main(prog_name="twofold")
