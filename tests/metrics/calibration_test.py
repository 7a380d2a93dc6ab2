"""NLL and calibration error, against scikit-learn and by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from mlc import metrics
from mlc.metrics import calibration


def value(metric, *args, **kwargs):
  predictions = metrics.Predictions(*args, **kwargs)
  table = {'it': metric}
  evaluate = jax.jit(functools.partial(metrics.evaluate, table))
  return float(evaluate(predictions)['it'])


def curve_error(y, p, bins):
  """The error from scikit-learn's reliability curve and its bin sizes."""
  share, mean = calibration_curve(y, p, n_bins=bins)
  inner = np.linspace(0, 1, bins + 1)[1:-1]
  sizes = np.bincount(np.searchsorted(inner, p), minlength=bins)
  sizes = sizes[sizes > 0]
  return sizes @ np.abs(share - mean) / sizes.sum()


@pytest.mark.slow
@pytest.mark.parametrize('bins', [1, 7, 15])
@pytest.mark.parametrize('seed', range(3))
def test_ece_by_label_is_that_of_the_reliability_curve(seed, bins):
  rng = np.random.default_rng(seed)
  # Multiples of 1/64 are on no edge of 7 or 15 bins but 0 and 1.
  p = np.round(rng.beta(0.5, 1, (80, 5)) * 64) / 64
  y = rng.integers(0, 2, (80, 5))
  expected = [curve_error(y[:, j], p[:, j], bins) for j in range(5)]
  real = lambda a: jnp.asarray(a, jnp.float32)
  metric = calibration.ece_label(bins=bins)
  assert value(metric, real(y), scores=real(p)) == pytest.approx(
    np.mean(expected), abs=1e-6
  )
  table = {'ece_label': metric}
  sums = metrics.init(table, 80, 5)
  sums = metrics.update(
    table, sums, metrics.Predictions(real(y), scores=real(p))
  )
  np.testing.assert_allclose(
    metrics.per_label(table, sums)['ece_label'], expected, atol=1e-6
  )


def test_a_weight_is_a_repetition_and_an_unknown_label_is_not_there():
  rng = np.random.default_rng(0)
  p = rng.random((40, 3)).astype(np.float32)
  y = rng.integers(0, 2, (40, 3)).astype(np.float32)
  weight = rng.integers(0, 4, 40)
  repeated = np.repeat(np.arange(40), weight)
  metric = calibration.ece_label()
  ours = value(
    metric,
    jnp.asarray(y),
    scores=jnp.asarray(p),
    weight=jnp.asarray(weight, jnp.float32),
  )
  again = value(
    metric, jnp.asarray(y[repeated]), scores=jnp.asarray(p[repeated])
  )
  assert ours == pytest.approx(again, abs=1e-6)
  where = np.ones((40, 3), bool)
  where[10:, 1] = False
  where[:, 2] = False
  ours = value(
    metric, jnp.asarray(y), scores=jnp.asarray(p), where=jnp.asarray(where)
  )
  parts = [
    curve_error(y[:, 0], p[:, 0], 15),
    curve_error(y[:10, 1], p[:10, 1], 15),
  ]
  assert ours == pytest.approx(np.mean(parts), abs=1e-6)


@pytest.mark.parametrize('bins', [1, 7, 15])
def test_ece_of_the_most_probable_class(bins):
  rng = np.random.default_rng(0)
  counts = rng.multinomial(64, [0.5, 0.3, 0.15, 0.05], size=200)
  counts[:, 0] += np.arange(4).repeat(50)  # no ties for the first place
  counts = counts[np.sort(counts)[:, -1] > np.sort(counts)[:, -2]]
  p = counts / 128
  truth = rng.integers(0, 4, len(p))
  confidence, right = p.max(1), p.argmax(1) == truth
  ours = value(
    calibration.ece(bins=bins),
    jnp.asarray(np.eye(4)[truth], jnp.float32),
    scores=jnp.asarray(p, jnp.float32),
  )
  assert ours == pytest.approx(curve_error(right, confidence, bins), abs=1e-6)


def test_classes_that_share_the_confidence_are_each_as_good():
  y = jnp.asarray([[1.0, 0.0, 0.0]])
  p = jnp.asarray([[0.5, 0.5, 0.0]])
  assert value(calibration.ece(), y, scores=p) == pytest.approx(0.0)
  assert value(calibration.ece(), y, scores=p[:, ::-1]) == pytest.approx(0.5)


def test_nll_is_log_loss_over_classes():
  rng = np.random.default_rng(0)
  p = rng.dirichlet(np.ones(4), size=50)
  truth = rng.integers(0, 4, 50)
  weight = rng.integers(0, 3, 50)
  log_prob = np.log(p[np.arange(50), truth])
  log_prob[weight == 0] = np.nan
  ours = value(
    calibration.nll(),
    jnp.asarray(np.eye(4)[truth], jnp.float32),
    log_prob=jnp.asarray(log_prob, jnp.float32),
    weight=jnp.asarray(weight, jnp.float32),
  )
  expected = log_loss(truth, p, sample_weight=weight, labels=range(4))
  assert ours == pytest.approx(expected, rel=1e-5)


def test_a_row_without_a_joint_probability_is_left_out_and_counted():
  table = {'nll': calibration.nll()}
  predictions = metrics.Predictions(
    jnp.zeros((3, 2)),
    log_prob=jnp.asarray([-1.0, jnp.nan, -3.0]),
    where=jnp.asarray([[True, True], [True, False], [True, True]]),
  )
  sums = metrics.update(table, metrics.init(table, 3, 2), predictions)
  assert metrics.compute(table, sums)['nll'] == 2.0
  assert metrics.num_undefined(table, sums)['nll'] == 1


def test_an_impossible_row_shows():
  log_prob = jnp.asarray([-1.0, -jnp.inf])
  assert (
    value(calibration.nll(), jnp.zeros((2, 1)), log_prob=log_prob) == np.inf
  )


def test_ece_of_the_set_is_that_of_its_probability():
  rng = np.random.default_rng(0)
  y = rng.integers(0, 2, (200, 3))
  d = np.where(rng.random(y.shape) < 0.2, 1 - y, y)
  confidence = rng.integers(1, 128, 200) / 128
  weight = rng.integers(0, 3, 200)
  where = np.ones(y.shape, bool)
  where[:20, 1] = False
  again = np.repeat(np.arange(20, 200), weight[20:])
  right = (y == d).all(axis=1)
  real = lambda a: jnp.asarray(a, jnp.float32)
  ours = value(
    calibration.ece_set(),
    real(y),
    decisions=real(d),
    confidence=real(confidence),
    where=jnp.asarray(where),
    weight=real(weight),
  )
  expected = curve_error(right[again], confidence[again], 15)
  assert ours == pytest.approx(expected, abs=1e-6)


def test_brier_is_that_of_each_label():
  rng = np.random.default_rng(1)
  p, y = rng.random((50, 3)), rng.integers(0, 2, (50, 3))
  weight = rng.integers(0, 3, 50)
  where = rng.random((50, 3)) < 0.8
  where[:, 2] = False
  expected = [
    brier_score_loss(
      y[where[:, j], j], p[where[:, j], j], sample_weight=weight[where[:, j]]
    )
    for j in range(2)
  ]
  real = lambda a: jnp.asarray(a, jnp.float32)
  ours = value(
    calibration.brier_label(),
    real(y),
    scores=real(np.where(where, p, np.nan)),
    where=jnp.asarray(where),
    weight=real(weight),
  )
  assert ours == pytest.approx(np.mean(expected), abs=1e-6)


@pytest.mark.parametrize(
  'make', [calibration.ece, calibration.ece_label, calibration.ece_set]
)
def test_no_bin_is_refused(make):
  with pytest.raises(ValueError, match='bins is 0'):
    make(bins=0)
