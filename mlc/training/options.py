"""What decides how runs are trained, apart from numbers swept along a run."""

import dataclasses
import math
from typing import Literal

# L-BFGS iterations between two validations: one call of the compiled program.
ROUND = 20


@dataclasses.dataclass(frozen=True)
class TrainOptions:
  """How every run of a program is trained.

  Attributes:
    optimizer: adamw descends on mini-batches; lbfgs minimises the penalised
      mean loss of all training rows and is meant for convex (linear) models.
    epochs: passes over the training rows at most (adamw).
    batch_size: rows of a mini-batch (adamw).
    schedule: of the learning rate after the warm-up: constant, or cosine down
      to 0 at the last epoch (adamw).
    warmup_epochs: epochs in which the learning rate grows linearly (adamw).
    gradient_clip: largest norm of a gradient, 0 for any (adamw).
    patience: epochs without a lower validation loss after which a run stops;
      the parameters of the lowest count. 0 for never, and the last parameters
      count (adamw).
    min_delta: by how much the validation loss must fall to renew patience.
    max_iterations: of lbfgs.
    tolerance: lbfgs has converged when no derivative of its objective by a
      parameter is larger than this (than ten times this when rounding allows
      no further step), each parameter in the unit that its curvature suggests,
      so that the units of features play no part.
    strategy: map trains the runs of a device one after another, vmap side by
      side; auto is map on CPU and with lbfgs, vmap otherwise.
    compilation: of the training step on CPU. quick takes half the time, which
      pays where training takes a minute: the step itself is as fast for most
      methods, and up to half as slow again for some.
    save_interval_secs: seconds between two checkpoints.
  """

  optimizer: Literal['adamw', 'lbfgs'] = 'adamw'
  epochs: int = 50
  batch_size: int = 64
  schedule: Literal['constant', 'cosine'] = 'cosine'
  warmup_epochs: float = 1.0
  gradient_clip: float = 0.0
  patience: int = 10
  min_delta: float = 0.0
  max_iterations: int = 5000
  tolerance: float = 1e-5
  strategy: Literal['auto', 'map', 'vmap'] = 'auto'
  compilation: Literal['full', 'quick'] = 'full'
  save_interval_secs: float = 60.0

  def __post_init__(self) -> None:
    for name, choices in (
      ('optimizer', ('adamw', 'lbfgs')),
      ('schedule', ('constant', 'cosine')),
      ('strategy', ('auto', 'map', 'vmap')),
      ('compilation', ('full', 'quick')),
    ):
      if getattr(self, name) not in choices:
        raise ValueError(
          f'{name} is {getattr(self, name)!r}; choose one of '
          f'{", ".join(choices)}.'
        )
    for name in ('epochs', 'batch_size', 'max_iterations'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name} is {getattr(self, name)}; give at least 1.')
    for name in (
      'warmup_epochs',
      'gradient_clip',
      'patience',
      'min_delta',
      'tolerance',
      'save_interval_secs',
    ):
      if not getattr(self, name) >= 0:
        raise ValueError(f'{name} is {getattr(self, name)}; give 0 or more.')

  @property
  def rounds(self) -> int:
    """Calls of the compiled program at most: epochs, or rounds of L-BFGS."""
    if self.optimizer == 'lbfgs':
      return math.ceil(self.max_iterations / ROUND)
    return self.epochs
