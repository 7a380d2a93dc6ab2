"""Losses of logits: formulas, limits, gradients, what is masked."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import rax
import scipy.special
from sklearn.metrics import f1_score

from mlc import losses


def numpy_of(rows):
  logits, y = (np.asarray(part, np.float64) for part in rows)
  return logits, y, scipy.special.expit(logits)


@pytest.mark.slow
def test_focal_is_the_formula_and_that_of_optax(apply, rows):
  _, y, p = numpy_of(rows)
  right = np.where(y > 0, p, 1 - p)
  for gamma in (0.0, 0.5, 2.0, 5.0):
    found = apply(losses.focal(gamma=gamma), *rows)
    expected = -((1 - right) ** gamma) * np.log(right)
    np.testing.assert_allclose(found, expected.sum(-1), rtol=1e-5)
    optaxs = optax.sigmoid_focal_loss(*rows, gamma=gamma).sum(-1)
    np.testing.assert_allclose(found, optaxs, rtol=1e-5)


def test_asymmetric_is_the_formula(apply, rows):
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


def test_without_focus_it_is_the_cross_entropy(apply, rows):
  expected = optax.sigmoid_binary_cross_entropy(*rows).sum(-1)
  for loss in (
    losses.sigmoid_cross_entropy(),
    losses.focal(gamma=0.0),
    losses.asymmetric(gamma_positive=0.0, gamma_negative=0.0, margin=0.0),
  ):
    np.testing.assert_allclose(apply(loss, *rows), expected, rtol=1e-5)


def test_equal_gammas_and_no_margin_are_the_focal_loss(apply, rows):
  asymmetric = losses.asymmetric(
    gamma_positive=2.0, gamma_negative=2.0, margin=0.0
  )
  np.testing.assert_allclose(
    apply(asymmetric, *rows), apply(losses.focal(), *rows), rtol=1e-5
  )


@pytest.mark.slow
def test_a_negative_below_the_margin_is_forgotten(apply):
  logits = jnp.asarray([[-3.5, -2.5]])  # probabilities 0.029 and 0.076
  gradient = jax.grad(
    lambda z: apply(losses.asymmetric(), z, jnp.zeros((1, 2))).sum()
  )(logits)
  assert gradient[0, 0] == 0
  assert gradient[0, 1] > 0


def test_smoothing_is_the_mean_over_labels_that_may_be_wrong(apply, rows):
  logits, y = rows
  smoothed = optax.smooth_labels(jnp.stack([1 - y, y], -1), 0.2)[..., 1]
  expected = optax.sigmoid_binary_cross_entropy(logits, smoothed).sum(-1)
  found = apply(losses.sigmoid_cross_entropy(label_smoothing=0.2), *rows)
  np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.slow
def test_pairs_one_by_one(apply, rows):
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


def test_pairs_are_those_of_rax(apply, rows):
  """Which adds up what is averaged here."""
  logits, y = rows
  pairs = rax.pairwise_logistic_loss(logits, y, reduce_fn=None)
  count = jnp.sum(y, axis=-1) * jnp.sum(1.0 - y, axis=-1)
  expected = jnp.sum(pairs, axis=-1) / jnp.maximum(count, 1.0)
  found = apply(losses.pairwise_logistic(), logits, y)
  np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_only_differences_count_between_pairs(apply, rows):
  logits, y = rows
  for loss in (losses.pairwise_logistic(), losses.lsep()):
    np.testing.assert_allclose(
      apply(loss, logits + 2.0, y), apply(loss, logits, y), rtol=1e-4
    )


def test_overlap_at_certainty_is_the_metric(apply, rows):
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


def test_overlap_is_the_formula(apply, rows):
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


def test_macro_f1_at_certainty_is_the_metric(apply, rows):
  """Of the batch, which every example of it is told."""
  _, y = rows
  decisions = np.random.default_rng(1).random(y.shape) < 0.5
  logits = jnp.where(jnp.asarray(decisions), 50.0, -50.0)
  found = apply(losses.soft_f1_macro(smoothing=1e-6), logits, y)
  expected = 1 - f1_score(np.asarray(y), decisions, average='macro')
  np.testing.assert_allclose(found, np.full(len(y), expected), atol=1e-5)


def test_macro_f1_is_the_formula_and_a_weight_repeats_a_row(apply, rows):
  logits, y, _ = numpy_of(rows)
  repeats = np.asarray([0, 1, 2, 1, 0, 3, 1, 1])
  loss = losses.soft_f1_macro(smoothing=0.7, slope=2.0, offset=0.3)
  p = np.repeat(scipy.special.expit(2.0 * (logits + 0.3)), repeats, axis=0)
  t = np.repeat(y, repeats, axis=0)
  f1 = (2 * (p * t).sum(0) + 0.7) / (p.sum(0) + t.sum(0) + 0.7)
  found = apply(loss, *rows, None, jnp.asarray(repeats, jnp.float32))
  np.testing.assert_allclose(found, np.full(8, 1 - f1.mean()), rtol=1e-5)


@pytest.mark.slow
def test_what_is_unknown_may_count_as_off(apply, rows):
  logits, y = rows
  where = jnp.asarray(np.random.default_rng(1).random(y.shape) < 0.5)
  hidden = jnp.where(where, y, 0.0)
  for make in (losses.sigmoid_cross_entropy, losses.focal, losses.asymmetric):
    each = jnp.stack(
      [
        apply(make(), logits[:, j : j + 1], hidden[:, j : j + 1])
        for j in range(y.shape[1])
      ],
      axis=1,
    )
    for unknown, share in (
      ('masked', 0.0),
      ('negative', 1.0),
      ('weak_negative', 0.25),
    ):
      found = apply(make(unknown=unknown), logits, y, where)
      expected = (np.where(where, 1.0, share) * each).sum(-1)
      np.testing.assert_allclose(found, expected, rtol=1e-5)
      complete = apply(make(unknown=unknown), logits, y)
      np.testing.assert_allclose(complete, apply(make(), logits, y), rtol=1e-6)


def test_weak_negatives_together_weigh_as_one_positive(apply):
  """Of a row of which one positive is all that is known, at even odds."""
  y, where = jnp.eye(6)[:1], jnp.eye(6, dtype=bool)[:1]
  loss = losses.sigmoid_cross_entropy(unknown='weak_negative')
  found = apply(loss, jnp.zeros((1, 6)), y, where)
  np.testing.assert_allclose(found, 2 * np.log(2), rtol=1e-6)


def test_the_docstring_of_asymmetric_has_its_numbers_right(apply):
  y = jnp.zeros((128, 80)).at[:, :3].set(1.0)
  summed, averaged = (
    apply(losses.asymmetric(reduction=how), jnp.zeros(y.shape), y)
    for how in ('sum', 'mean')
  )
  text = losses.asymmetric.__doc__
  for number in (f'{summed.sum():.0f}', f'{summed[0]:.2f}'):
    assert f' {number} ' in text
  assert f'{averaged.mean():.4f}' in text


@pytest.mark.parametrize(
  ('make', 'options', 'match'),
  [
    (losses.focal, {'gamma': -1.0}, 'gamma=-1'),
    (losses.asymmetric, {'gamma_negative': -1.0}, 'gamma_negative=-1'),
    (losses.asymmetric, {'margin': 1.0}, 'margin=1'),
    (losses.sigmoid_cross_entropy, {'label_smoothing': 1.0}, 'smoothing=1'),
    (losses.soft_f1, {'smoothing': 0.0}, 'smoothing=0'),
    (losses.soft_f1_macro, {'slope': 0.0}, 'slope=0'),
  ],
)
def test_options_out_of_range_are_named(make, options, match):
  with pytest.raises(ValueError, match=match):
    make(**options)
