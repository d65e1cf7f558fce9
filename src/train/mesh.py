"""The ranks of a job as a grid: rows see the same samples, columns hold the same part of each layer."""

import logging
from dataclasses import dataclass

from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from .degrees import Degrees
from .ranks import Ranks

DATA, TENSOR = "data", "tensor"
"""Names of the two dimensions."""


@dataclass(frozen=True, slots=True)
class Mesh:
    """This rank's place in the grid."""

    degrees: Degrees
    data_rank: int
    """Which samples this rank sees."""
    tensor_rank: int
    """Which part of each layer this rank holds."""
    grid: DeviceMesh | None = None
    """Process groups of both dimensions; None where weights are not sharded."""

    @property
    def counts(self) -> bool:
        """Whether this rank's losses and samples count: those of its neighbours along the layers are the same."""
        return self.tensor_rank == 0


def open_mesh(degrees: Degrees, ranks: Ranks) -> Mesh:
    """Make the process groups; call it on every rank."""
    data_rank, tensor_rank = divmod(ranks.rank, degrees.tensor)
    if not degrees.sharded:
        return Mesh(degrees, data_rank, tensor_rank)
    grid = init_device_mesh(ranks.device.type, (degrees.data, degrees.tensor), mesh_dim_names=(DATA, TENSOR))
    # A norm over both dimensions is then one all-reduce, not two.
    grid._flatten()  # noqa: SLF001 - there is no public name for it yet
    # Weights that are cut twice are gathered in two steps, once at the end of a run: no advice is needed on that.
    logging.getLogger("torch.distributed.tensor._redistribute").setLevel(logging.ERROR)
    return Mesh(degrees, data_rank, tensor_rank, grid)
