"""One threshold for all labels: few cuts are looked at, none is missed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc.decoding.cuts import cardinality_value, f_value
from mlc.decoding.pooled import best_pooled, nearest_count, positives_first
from mlc.decoding.sample import Sample

quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


@pytest.mark.slow
def test_all_labels_are_searched_as_if_they_were_sorted():
  """Wherever the best cut lies, and where too many rows are left to sort."""
  rng = np.random.default_rng(1)
  n = 300
  sizes = rng.choice([1e-6, 0.01, 1.0], (16, 1, 3))
  p = jnp.asarray(rng.random((16, n, 3)) * sizes, jnp.float32)
  # Of some samples most probabilities are tied, of some rows count twice.
  kind = jnp.arange(16)[:, None] % 4
  p = jnp.where(kind[:, :, None] % 2 == 1, jnp.round(p, 2), p)
  y = jnp.asarray(rng.random(p.shape) < p, jnp.float32)
  weight = jnp.asarray(rng.integers(0, 3, (16, n)), jnp.float32)
  weight = jnp.where(kind < 2, jnp.minimum(weight, 1.0), weight)
  known = jnp.asarray(rng.random(p.shape) < 0.9)

  @quick_jit
  def found(args):
    def one(args):
      sample = Sample(*args)
      return [
        best_pooled(sample, value, bound, most_rows=most_rows)
        for value, bound in (
          (f_value, positives_first),
          (cardinality_value, nearest_count),
        )
        for most_rows in (10 * n, 64)
      ]

    return jax.lax.map(one, args)

  of_f, searched, of_count, counted = found((p, y, weight, known))
  for one, other in ((of_f, searched), (of_count, counted)):
    for part, same in zip(one, other, strict=True):
      np.testing.assert_array_equal(part, same)
