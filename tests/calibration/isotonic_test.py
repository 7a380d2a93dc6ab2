"""Pooling adjacent violators, against scikit-learn."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.isotonic import IsotonicRegression

from mlc import calibration
from mlc.calibration.isotonic import staircase
from mlc.heads.product import product

quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)
ROWS, LABELS = 120, 5


def drawn():
  """Ties, weights, rows that do not count, and labels that hardly occur."""
  rng = np.random.default_rng(0)
  # On a grid: between neighbours that nearly touch a step is a cliff.
  x = (rng.integers(1, 256, (ROWS, LABELS)) / 256).astype(np.float32)
  x[:, 1] = np.round(x[:, 1] * 8) / 8
  y = (rng.random(x.shape) < x**2).astype(np.float32)
  y[:, 2] = 1.0 - y[:, 2]  # falls: one step
  y[:, 3] = np.arange(ROWS) < 2
  weight = rng.integers(0, 4, x.shape).astype(np.float32)
  weight[:2, 3] = 1.0
  weight[:, 4] = 1.0
  return x, y, weight


def reference(x, y, weight):
  counts = weight > 0
  return IsotonicRegression(out_of_bounds='clip').fit(
    x[counts].astype(float), y[counts].astype(float), weight[counts]
  )


def test_the_steps_are_those_of_scikit_learn():
  x, y, weight = drawn()
  score, value = quick_jit(jax.vmap(staircase, in_axes=1))(x, y, weight)
  for j in range(LABELS):
    counted = int((weight[:, j] > 0).sum())
    np.testing.assert_array_equal(
      score[j, :counted], np.sort(x[weight[:, j] > 0, j])
    )
    expected = reference(x[:, j], y[:, j], weight[:, j]).predict(
      np.asarray(score[j], float)
    )
    np.testing.assert_allclose(value[j], expected, atol=1e-6)
  assert len(np.unique(value[2])) < 5 < len(np.unique(value[4]))


def test_between_the_rows_it_is_linear_as_in_scikit_learn():
  x, y, weight = drawn()
  counted = jnp.asarray(weight > 0)
  logits = lambda p: jnp.log(p) - jnp.log1p(-p)
  init = lambda key, h, y, **_: ()
  head = product('p', LABELS, init, lambda params, h, key=None: logits(h))
  calibrator = calibration.isotonic()
  # Every weight is 1 or 0 here: `where` says which.
  fit = quick_jit(functools.partial(calibrator.fit, head))
  state = fit((), jnp.asarray(x), jnp.asarray(y), where=counted)
  between = np.linspace(0.001, 0.999, 200, dtype=np.float32)
  between = np.tile(between[:, None], (1, LABELS))
  params = {'head': (), 'calibration': state}
  found = quick_jit(calibrator.apply(head).marginals)(params, between)
  for j in range(LABELS):
    ones = (weight[:, j] > 0).astype(float)
    theirs = reference(x[:, j], y[:, j], ones)
    least = 1.0 / (ones.sum() + 2.0)
    steps = np.clip(theirs.y_thresholds_, least, 1.0 - least)
    expected = np.interp(between[:, j], theirs.X_thresholds_, steps)
    # x goes through its log-odds here, in float32.
    np.testing.assert_allclose(found[:, j], expected, atol=2e-5)


def test_a_long_chain_of_violators_is_one_step():
  x = jnp.arange(8.0)
  y = jnp.array([1.0, 1, 1, 0, 0, 0, 0, 1])
  _, value = quick_jit(staircase)(x, y, jnp.ones(8))
  np.testing.assert_allclose(value, [3 / 7] * 7 + [1.0], rtol=1e-6)
