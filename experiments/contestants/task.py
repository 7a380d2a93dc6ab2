"""What the contestants are given, and what they give back."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mlc.base import Batch, Params
from mlc.data import splits
from mlc.data.dataset import Dataset
from mlc.heads.classifier_chain import classifier_chain


@dataclasses.dataclass(frozen=True)
class Sizes:
  """How much there is to do; the defaults are the size of yeast.

  Attributes:
    rows: examples, of which every seed trains on 80 %.
    features: D.
    labels: L.
    width: units of the hidden layer of suite `training`.
    epochs: of suite `training`.
    batch_size: of suite `training`.
    seeds: models to train, each with its own split.
    many_labels: L of suite `many_labels`.
    threshold_rows: validation rows of suite `thresholds`; as many rows and
      labels as the training part of delicious has.
    threshold_labels: L of suite `thresholds`.
  """

  rows: int = 2417
  features: int = 103
  labels: int = 14
  width: int = 128
  epochs: int = 50
  batch_size: int = 64
  seeds: int = 10
  many_labels: int = 1000
  threshold_rows: int = 12920
  threshold_labels: int = 983

  def __post_init__(self) -> None:
    for name, value in dataclasses.asdict(self).items():
      if value < 1:
        raise ValueError(f'{name} is {value}; give at least 1.')


class Task(NamedTuple):
  """What all contestants of a run are given.

  Attributes:
    sizes: of it.
    world: parameters of the linear chain that the labels are drawn from.
    data: all rows.
    splits: one a seed; `validation` are the rows held out.
  """

  sizes: Sizes
  world: Params
  data: Batch
  splits: Sequence[splits.Split]


class Outcome(NamedTuple):
  """Doing the work once.

  Attributes:
    seconds: it took, compiling apart.
    reached: how good the result is, by name; means over seeds or rows, nats.
    compile_seconds: tracing and compiling, and the first parameters.
    recompiled: programs compiled after the first epoch, which should be 0.
  """

  seconds: float
  reached: Mapping[str, float]
  compile_seconds: float = 0.0
  recompiled: int = 0


Work = Callable[[], Outcome]


def draw(sizes: Sizes) -> Task:
  """A task of the given sizes, always the same."""
  world = draw_chain(sizes.features, sizes.labels)
  random = np.random.default_rng(0)
  # Correlated features, as real ones are: L-BFGS is not to have it easy.
  x = random.normal(size=(sizes.rows, sizes.features))
  x = x @ random.normal(size=(sizes.features, sizes.features))
  x = np.asarray((x - x.mean(axis=0)) / x.std(axis=0), np.float32)
  head = classifier_chain(sizes.labels)
  y = np.asarray(head.sample(world, jax.random.key(0), jnp.asarray(x), 1)[0])
  dataset = Dataset(
    name='drawn',
    x=x,
    y=y.astype(np.uint8),
    label_names=tuple(f'y{j}' for j in range(sizes.labels)),
  )
  made = [
    splits.make(
      dataset, 'holdout', seed=seed, validation_fraction=0.0, stratify=False
    )[0]
    for seed in range(sizes.seeds)
  ]
  made = [split._replace(validation=split.test) for split in made]
  return Task(sizes, world, Batch(jnp.asarray(x), jnp.asarray(y)), made)


def draw_chain(num_features: int, num_labels: int) -> Params:
  """Parameters of a linear chain, always the same."""
  random = np.random.default_rng(1)
  kernel = random.normal(size=(num_features, num_labels)) / num_features**0.5
  links = np.triu(random.normal(size=(num_labels, num_labels)), k=1)
  return chain_params(
    kernel, np.full(num_labels, -1.0), links / num_labels**0.5
  )


def chain_params(
  kernel: np.ndarray, bias: np.ndarray, links: np.ndarray
) -> Params:
  """Parameters of `classifier_chain` in natural order."""
  return {
    'kernel': jnp.asarray(kernel, jnp.float32),
    'bias': jnp.asarray(bias, jnp.float32),
    'links': jnp.asarray(links, jnp.float32),
    'frozen': {'rank': jnp.arange(len(bias))},
  }
