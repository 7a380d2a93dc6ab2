"""Small models and rows, with nothing of mlc's heads in them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc.base import Batch
from mlc.training import runs as training_runs


class Rows(NamedTuple):
  train: np.ndarray
  validation: np.ndarray
  seed: int = 0
  fold: int = 0


class Linear(NamedTuple):
  """Independent logistic regressions; the noise is multiplicative."""

  noise: float = 0.0

  def init(self, key: Any, rows: Batch) -> Any:
    shape = (rows.x.shape[-1], rows.y.shape[-1])
    mean = jnp.average(rows.x, axis=0, weights=rows.weight)
    return {
      'encoder': {'frozen': {'mean': mean}},
      'head': {
        'kernel': 0.1 * jax.random.normal(key, shape, rows.x.dtype),
        'bias': jnp.zeros(shape[1], rows.x.dtype),
      },
    }

  def loss(self, params: Any, batch: Batch, *, key: Any = None) -> Any:
    x = batch.x - params['encoder']['frozen']['mean'][None, :]
    if key is not None and self.noise:
      x = x * (1.0 + self.noise * jax.random.normal(key, x.shape, x.dtype))
    head = params['head']
    f = x @ head['kernel'] + head['bias'][None, :]
    return jnp.sum(jax.nn.softplus(f) - batch.y * f, axis=-1)


class Setting(NamedTuple):
  """What the tests of this folder need, in one place."""

  def data(
    self, n: int = 200, d: int = 7, labels: int = 3, dtype: str = 'float32'
  ) -> Batch:
    random = np.random.default_rng(0)
    x = random.normal(size=(n, d))
    f = x @ random.normal(size=(d, labels))
    y = random.uniform(size=f.shape) < 1.0 / (1.0 + np.exp(-f))
    return Batch(jnp.asarray(x.astype(dtype)), jnp.asarray(y.astype(dtype)))

  def splits(
    self, count: int, n: int = 200, train: int = 130, validation: int = 41
  ) -> list[Rows]:
    """Splits of slightly different sizes, each with its own seed."""
    made = []
    for seed in range(count):
      order = np.random.default_rng(seed).permutation(n).astype(np.int32)
      end = train + seed % 3
      made.append(Rows(order[:end], order[end : end + validation], seed, 0))
    return made

  def runs(self, count: int, learning_rate: float = 0.05, l2: float = 1e-3):
    made, _ = training_runs.from_splits(
      self.splits(count), [learning_rate], [l2]
    )
    return made

  model = Linear


@pytest.fixture(scope='session')
def setting() -> Setting:
  return Setting()


@pytest.fixture(scope='session')
def compiled_once(tmp_path_factory):
  """Programs that several tests fit are compiled for the first only."""
  after = {
    'jax_compilation_cache_dir': str(tmp_path_factory.mktemp('compiled')),
    'jax_persistent_cache_min_compile_time_secs': 0.0,
  }
  before = {name: getattr(jax.config, name) for name in after}
  for name, value in after.items():
    jax.config.update(name, value)
  yield
  for name, value in before.items():
    jax.config.update(name, value)


def pick(runs: Any, index: Any) -> Any:
  """Some of the runs; on the host where there is no key to prevent it."""

  def take(leaf):
    is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return leaf[np.asarray(index)] if is_key else np.asarray(leaf)[index]

  return jax.tree.map(take, runs)


def same_bits(a: Any, b: Any) -> bool:
  """Whether two trees hold the same bits; NaN equals itself."""

  def bits(leaf):
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      leaf = jax.random.key_data(leaf)
    return np.asarray(leaf).tobytes()

  flat_a, tree_a = jax.tree.flatten(a)
  flat_b, tree_b = jax.tree.flatten(b)
  return tree_a == tree_b and all(
    bits(x) == bits(y) for x, y in zip(flat_a, flat_b, strict=True)
  )


@pytest.fixture(name='pick')
def pick_fixture():
  return pick


@pytest.fixture(name='same_bits')
def same_bits_fixture():
  return same_bits
