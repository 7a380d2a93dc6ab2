"""How far thresholds move over resamples of the rows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc import decoding
from mlc.decoding.sample import Sample

quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


def test_rows_are_drawn_as_often_as_each_other():
  weight = jnp.asarray([1.0, 0.0, 1.0, 1.0, 0.0])
  sample = Sample(jnp.zeros((5, 1)), jnp.zeros((5, 1)), weight)
  draw = quick_jit(jax.vmap(lambda key: sample.drawn_again(key).weight))
  times = draw(jax.random.split(jax.random.key(0), 2000))
  np.testing.assert_array_equal(times.sum(axis=1), 3)
  # A row is drawn 3 times with probability 1/3: 4 deviations of the mean.
  np.testing.assert_allclose(
    times.mean(axis=0), weight, atol=4 * np.sqrt(2 / 3 / 2000)
  )


@pytest.mark.slow
def test_intervals_say_where_thresholds_of_resamples_lie():
  """Of the median: half of 401 equally spaced probabilities are positive."""
  n = 401
  p = jnp.linspace(0.0, 1.0, n)[:, None]
  y = (p > 0.5).astype(jnp.float32)
  learn = decoding.pcut(bootstrap=200).learn
  state = quick_jit(lambda: learn(Sample(p, y)))()
  threshold, low, high = (
    float(state[f'threshold{end}'][0]) for end in ('', '_low', '_high')
  )
  # Labels that the probability decides: the cut moves by a gap between rows.
  assert low <= threshold <= high
  assert high - low < 0.03
  flipped = quick_jit(lambda: learn(Sample(p, y[::-1])))()
  # As many above t as positives below 1/2: t = 1/2 - 2 G(1/2) where G is what
  # the resample adds to the distribution there, of variance 1 / 4n.
  width = float(flipped['threshold_high'][0] - flipped['threshold_low'][0])
  assert width == pytest.approx(2 * 1.96 * np.sqrt(1 / n), rel=0.25)


def test_a_bootstrap_of_few_is_refused():
  with pytest.raises(ValueError, match='bootstrap is 5, expected 0'):
    decoding.otsu(bootstrap=5)
