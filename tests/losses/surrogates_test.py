"""Losses of logits: formulas, limits, gradients, what is masked."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special

from mlc import losses
from mlc.base import Batch
from mlc.heads.product import product

ROWS, LABELS = 8, 5
quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)

LOSSES = {
  'sigmoid_cross_entropy': losses.sigmoid_cross_entropy(),
  'smoothed': losses.sigmoid_cross_entropy(label_smoothing=0.1),
  'focal': losses.focal(),
  'focal_half': losses.focal(gamma=0.5),
  'asymmetric': losses.asymmetric(),
  'asymmetric_of_the_code': losses.asymmetric(gamma_positive=1.0),
  'asymmetric_half': losses.asymmetric(gamma_negative=0.5),
  'pairwise_logistic': losses.pairwise_logistic(),
  'lsep': losses.lsep(),
  'zlpr': losses.zlpr(),
  'soft_f1': losses.soft_f1(),
  'soft_jaccard': losses.soft_jaccard(),
}


def given(num_labels):
  """A head whose logits are h itself."""
  return product(
    'given', num_labels, lambda *_, **__: {}, lambda params, h, key=None: h
  )


def apply(loss, logits, y, where=None):
  head = given(logits.shape[-1])
  return loss.apply(head, {}, logits, Batch(logits, y, where))


@pytest.fixture(scope='module')
def rows():
  rng = np.random.default_rng(0)
  logits = 3.0 * rng.normal(size=(ROWS, LABELS))
  y = rng.random((ROWS, LABELS)) < 0.4
  y[0], y[1] = False, True
  return jnp.asarray(logits, jnp.float32), jnp.asarray(y, jnp.float32)


def numpy_of(rows):
  logits, y = (np.asarray(part, np.float64) for part in rows)
  return logits, y, scipy.special.expit(logits)


@pytest.mark.slow
def test_focal_is_the_formula_and_that_of_optax(rows):
  _, y, p = numpy_of(rows)
  right = np.where(y > 0, p, 1 - p)
  for gamma in (0.0, 0.5, 2.0, 5.0):
    found = apply(losses.focal(gamma=gamma), *rows)
    expected = -((1 - right) ** gamma) * np.log(right)
    np.testing.assert_allclose(found, expected.sum(-1), rtol=1e-5)
    optaxs = optax.sigmoid_focal_loss(*rows, gamma=gamma).sum(-1)
    np.testing.assert_allclose(found, optaxs, rtol=1e-5)


def test_asymmetric_is_the_formula(rows):
  _, y, p = numpy_of(rows)
  for positive, negative, margin in (
    (0.0, 4.0, 0.05),
    (1.0, 4.0, 0.05),
    (0.5, 2.0, 0.0),
  ):
    loss = losses.asymmetric(
      gamma_positive=positive, gamma_negative=negative, margin=margin
    )
    m = np.maximum(p - margin, 0)
    on = (1 - p) ** positive * np.log(p)
    off = m**negative * np.log(1 - m)
    expected = -np.where(y > 0, on, off).sum(-1)
    np.testing.assert_allclose(apply(loss, *rows), expected, rtol=1e-5)


def test_without_focus_it_is_the_cross_entropy(rows):
  expected = optax.sigmoid_binary_cross_entropy(*rows).sum(-1)
  for loss in (
    losses.sigmoid_cross_entropy(),
    losses.focal(gamma=0.0),
    losses.asymmetric(gamma_positive=0.0, gamma_negative=0.0, margin=0.0),
  ):
    np.testing.assert_allclose(apply(loss, *rows), expected, rtol=1e-5)


def test_equal_gammas_and_no_margin_are_the_focal_loss(rows):
  asymmetric = losses.asymmetric(
    gamma_positive=2.0, gamma_negative=2.0, margin=0.0
  )
  np.testing.assert_allclose(
    apply(asymmetric, *rows), apply(losses.focal(), *rows), rtol=1e-5
  )


def test_a_negative_below_the_margin_is_forgotten():
  logits = jnp.asarray([[-3.5, -2.5]])  # probabilities 0.029 and 0.076
  gradient = jax.grad(
    lambda z: apply(losses.asymmetric(), z, jnp.zeros((1, 2))).sum()
  )(logits)
  assert gradient[0, 0] == 0
  assert gradient[0, 1] > 0


def test_smoothing_is_the_mean_over_labels_that_may_be_wrong(rows):
  logits, y = rows
  smoothed = optax.smooth_labels(jnp.stack([1 - y, y], -1), 0.2)[..., 1]
  expected = optax.sigmoid_binary_cross_entropy(logits, smoothed).sum(-1)
  found = apply(losses.sigmoid_cross_entropy(label_smoothing=0.2), *rows)
  np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.slow
def test_pairs_one_by_one(rows):
  logits, y, _ = numpy_of(rows)
  mean, product_of_sums, zero = [], [], []
  for f, truth in zip(logits, y, strict=True):
    on, off = f[truth > 0], f[truth == 0]
    gaps = [v - u for u in on for v in off]
    mean.append(np.mean(np.logaddexp(0, gaps)) if gaps else 0.0)
    product_of_sums.append(np.log(1 + sum(map(np.exp, gaps))))
    zero.append(np.log(1 + np.exp(-on).sum()) + np.log(1 + np.exp(off).sum()))
  for loss, expected in (
    (losses.pairwise_logistic(), mean),
    (losses.lsep(), product_of_sums),
    (losses.zlpr(), zero),
  ):
    np.testing.assert_allclose(apply(loss, *rows), expected, rtol=1e-5)


def test_only_differences_count_between_pairs(rows):
  logits, y = rows
  for loss in (losses.pairwise_logistic(), losses.lsep()):
    np.testing.assert_allclose(
      apply(loss, logits + 2.0, y), apply(loss, logits, y), rtol=1e-4
    )


def test_overlap_at_certainty_is_the_metric(rows):
  """With probabilities 0 and 1 and next to no smoothing."""
  _, y = rows
  decisions = jnp.asarray(np.random.default_rng(1).random(y.shape) < 0.5)
  logits = jnp.where(decisions, 50.0, -50.0)
  d, t = np.asarray(decisions, float), np.asarray(y)
  both, either = (d * t).sum(-1), np.maximum(d, t).sum(-1)
  rest = (d.sum(-1) + t.sum(-1)) > 0
  f1 = 2 * both / np.maximum(d.sum(-1) + t.sum(-1), 1)
  jaccard = both / np.maximum(either, 1)
  for loss, expected in (
    (losses.soft_f1(smoothing=1e-6), f1),
    (losses.soft_jaccard(smoothing=1e-6), jaccard),
  ):
    found = apply(loss, logits, y)
    np.testing.assert_allclose(found[rest], 1 - expected[rest], atol=1e-5)


def test_overlap_is_the_formula(rows):
  _, y, p = numpy_of(rows)
  t, f, m = ((a).sum(-1) for a in (p * y, p * (1 - y), (1 - p) * y))
  s = 0.7
  f1 = 1 - (2 * t + s) / (2 * t + f + m + s)
  jaccard = 1 - (t + s) / (t + f + m + s)
  for loss, expected in (
    (losses.soft_f1(smoothing=s), f1),
    (losses.soft_jaccard(smoothing=s), jaccard),
  ):
    np.testing.assert_allclose(apply(loss, *rows), expected, rtol=1e-5)


@pytest.mark.parametrize('name', LOSSES)
def test_masked_is_absent(rows, name):
  """The value, and the gradient, are those of the known labels alone."""
  logits, y = rows
  known = np.asarray([True, False, True, True, False])

  def total(logits, y, where):
    return apply(LOSSES[name], logits, y, where).sum()

  where = jnp.broadcast_to(jnp.asarray(known), y.shape)
  value, gradient = quick_jit(jax.value_and_grad(total))(logits, y, where)
  left = logits[:, known], y[:, known]
  alone, alone_gradient = quick_jit(
    jax.value_and_grad(lambda z, y: total(z, y, None))
  )(*left)
  np.testing.assert_allclose(value, alone, rtol=1e-5)
  np.testing.assert_allclose(
    gradient[:, known], alone_gradient, rtol=1e-4, atol=1e-6
  )
  assert (np.asarray(gradient)[:, ~known] == 0).all()


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize('name', LOSSES)
def test_no_gradient_is_nan(name, dtype):
  """Huge logits, rows with no and with all labels, and nothing known."""
  size = jnp.asarray([0.0, 1.0, -1.0, 1e4, -1e4], dtype)
  logits = jnp.tile(size[None], (4, 1))
  y = jnp.asarray([[0] * 5, [1] * 5, [0, 1, 0, 0, 1], [1, 0, 1, 1, 0]], dtype)

  def total(logits, where):
    return apply(LOSSES[name], logits, y, where).astype(jnp.float32).sum()

  run = quick_jit(jax.value_and_grad(total))
  for where in (None, jnp.ones(y.shape, bool), jnp.zeros(y.shape, bool)):
    value, gradient = run(logits, where)
    assert np.isfinite(value)
    assert np.isfinite(gradient.astype(jnp.float32)).all()
    if where is not None and not where.any():
      assert value == 0
      assert not np.asarray(gradient, np.float32).any()


@pytest.mark.parametrize(
  ('make', 'options', 'match'),
  [
    (losses.focal, {'gamma': -1.0}, 'gamma=-1'),
    (losses.asymmetric, {'gamma_negative': -1.0}, 'gamma_negative=-1'),
    (losses.asymmetric, {'margin': 1.0}, 'margin=1'),
    (losses.sigmoid_cross_entropy, {'label_smoothing': 1.0}, 'smoothing=1'),
    (losses.soft_f1, {'smoothing': 0.0}, 'smoothing=0'),
  ],
)
def test_options_out_of_range_are_named(make, options, match):
  with pytest.raises(ValueError, match=match):
    make(**options)
