"""Losses that weigh labels by how rare they are: formulas and limits."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_class_weight

from mlc import losses
from mlc.base import Batch
from mlc.heads.binary_relevance import binary_relevance
from mlc.losses.label_counts import balanced, effective, label_counts, margins


@pytest.fixture(scope='module')
def skewed():
  """Labels of all frequencies; the fourth is never on, the fifth always."""
  rng = np.random.default_rng(3)
  y = rng.random((40, 5)) < [0.5, 0.2, 0.05, 0.0, 1.0]
  logits = 2.0 * rng.normal(size=y.shape)
  return jnp.asarray(logits, jnp.float32), jnp.asarray(y, jnp.float32)


def numpy_of(skewed):
  """Logits, labels, rows in which each is on, and rows."""
  logits, y = (np.asarray(part, np.float64) for part in skewed)
  return logits, y, y.sum(0), len(y)


def cross_entropy(logits, y):
  """Of each label, in float64."""
  return np.logaddexp(0.0, -(2.0 * y - 1.0) * logits)


def test_counts_are_of_known_labels_in_rows_that_count():
  y = jnp.asarray([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
  where = jnp.asarray([[True, False, True], [True] * 3, [False, True, True]])
  weight = jnp.asarray([1.0, 2.0, 0.0])
  counts = label_counts(y, where=where, weight=weight)
  np.testing.assert_array_equal(counts.on, [3, 2, 1])
  np.testing.assert_array_equal(counts.off, [0, 0, 2])
  counts = label_counts(y, where=where, weight=weight, unknown='negative')
  np.testing.assert_array_equal(counts.off, [0, 1, 2])
  counts = label_counts(y, where=where, weight=weight, unknown='weak_negative')
  np.testing.assert_array_equal(counts.off, [0, 0.5, 2])


def test_balanced_is_that_of_scikit_learn(skewed):
  _, y = skewed
  weights = np.asarray(balanced(label_counts(y).both))
  repeats = np.arange(len(y)) % 3
  repeated = label_counts(y, weight=jnp.asarray(repeats, jnp.float32))
  weights_of_repeated = np.asarray(balanced(repeated.both))
  for j, column in enumerate(np.asarray(y).T):
    there = np.unique(column)
    expected = compute_class_weight('balanced', classes=there, y=column)
    # scikit-learn sorts off before on; a value that is not there weighs 1.
    found = weights[j, ::-1][there.astype(int)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    again = np.repeat(column, repeats)
    expected = compute_class_weight('balanced', classes=there, y=again)
    found = weights_of_repeated[j, ::-1][there.astype(int)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
  assert weights[3, 0] == weights[4, 1] == 1.0


def test_balanced_training_ends_where_that_of_scikit_learn_does(
  skewed, quick_jit
):
  """The gradient vanishes at scikit-learn's optimum."""
  x, y = skewed
  y = y[:, :2]
  fits = [
    LogisticRegression(
      class_weight='balanced', solver='newton-cholesky', tol=1e-5
    ).fit(np.asarray(x), column)
    for column in np.asarray(y).T
  ]
  params = {
    'kernel': jnp.asarray(np.stack([f.coef_[0] for f in fits], 1), jnp.float32),
    'bias': jnp.asarray([f.intercept_[0] for f in fits], jnp.float32),
  }
  loss = losses.sigmoid_cross_entropy(class_weight='balanced')
  state, head = loss.fit(y), binary_relevance(2)

  def objective(params):
    values = loss.apply(head, params, x, Batch(x, y), state=state)
    return jnp.sum(values) + 0.5 * jnp.sum(params['kernel'] ** 2)

  for leaf in jax.tree.leaves(quick_jit(jax.grad(objective))(params)):
    np.testing.assert_allclose(leaf, 0.0, atol=1e-3)


def test_weights_multiply_the_two_parts_of_each_label(apply, skewed):
  logits, y, on, n = numpy_of(skewed)
  smooth = 0.9 * y + 0.05
  both = (on > 0) & (on < n)
  share = np.where(both, on / n, 0.5)
  for name, w1, w0 in (
    ('none', np.ones(5), np.ones(5)),
    ('balanced', 0.5 / share, 0.5 / (1 - share)),
    ('positive', (1 - share) / share, np.ones(5)),
  ):
    loss = losses.sigmoid_cross_entropy(
      label_smoothing=0.1, class_weight=name, positive_weight=3.0
    )
    expected = 3.0 * w1 * smooth * cross_entropy(logits, np.ones_like(y))
    expected += w0 * (1 - smooth) * cross_entropy(logits, np.zeros_like(y))
    np.testing.assert_allclose(
      apply(loss, *skewed), expected.sum(-1), rtol=1e-5, err_msg=name
    )


def test_effective_numbers_are_the_formula_and_its_limits():
  n = np.asarray([[1.0, 10.0, 500.0], [3.0, 0.0, 4000.0]])
  for beta in (0.9, 0.999, 0.99999):
    raw = (1 - beta) / (1 - beta ** n[0])
    found = effective(jnp.asarray(n, jnp.float32), beta)
    np.testing.assert_allclose(found[0], 3 * raw / raw.sum(), rtol=1e-4)
    assert found[1, 1] == 1.0
    np.testing.assert_allclose(found[1].sum(), 3.0, rtol=1e-5)
  np.testing.assert_array_equal(effective(jnp.asarray(n), 0.0), 1.0)
  nearly = effective(jnp.asarray(n, jnp.float32), 1.0 - 1e-9)[0]
  np.testing.assert_allclose(nearly, 3 / n[0] / (1 / n[0]).sum(), rtol=1e-4)


def test_class_balanced_is_the_formula(apply, skewed):
  logits, y, on, n = numpy_of(skewed)
  beta, gamma = 0.9, 2.0
  with np.errstate(divide='ignore'):
    w1, w0 = ((1 - beta) / (1 - beta**k) for k in (on, n - on))
  constant = (on == 0) | (on == n)
  each = np.where(y > 0, w1, w0) * 2 / (w1 + w0)
  each = np.where(constant, 1.0, each)
  right = scipy.special.expit((2 * y - 1) * logits)
  expected = each * (1 - right) ** gamma * -np.log(right)
  found = apply(losses.class_balanced(beta=beta, gamma=gamma), *skewed)
  np.testing.assert_allclose(found, expected.sum(-1), rtol=1e-4)


def test_distribution_balanced_is_the_formula(apply, skewed):
  """Row by row and label by label."""
  logits, y, on, n = numpy_of(skewed)
  on, off = np.maximum(on, 1), np.maximum(n - on, 1)
  alpha, beta, mu, scale, kappa = 0.2, 7.0, 0.25, 3.0, 0.1
  expected = np.zeros(n)
  for b in range(n):
    drawn = sum(1 / on[i] for i in range(5) if y[b, i])
    for j in range(5):
      share = (1 / on[j]) / drawn if drawn else np.inf
      weight = alpha + scipy.special.expit(beta * (share - mu))
      z = logits[b, j] - kappa * np.log(off[j] / on[j])
      if y[b, j]:
        expected[b] += weight * np.log1p(np.exp(-z))
      else:
        expected[b] += weight * np.log1p(np.exp(scale * z)) / scale
  loss = losses.distribution_balanced(
    alpha=alpha, beta=beta, mu=mu, negative_scale=scale, kappa=kappa
  )
  np.testing.assert_allclose(apply(loss, *skewed), expected, rtol=1e-4)


def test_ldam_is_a_softmax_of_two_classes_with_a_margin(apply, skewed):
  logits, y, on, n = numpy_of(skewed)
  counts = np.stack([on, n - on], -1)
  m = 0.5 * (counts[counts > 0].min() / np.maximum(counts, 1e-9)) ** 0.25
  m = np.where(counts > 0, m, 0.5)
  np.testing.assert_allclose(
    margins(jnp.asarray(counts, jnp.float32), 0.5), m, rtol=1e-5
  )
  scores = np.stack([logits, np.zeros_like(logits)], -1)
  truth = np.stack([y, 1 - y], -1)
  log_p = scipy.special.log_softmax(4.0 * (scores - m * truth), axis=-1)
  found = apply(losses.ldam(scale=4.0), *skewed)
  np.testing.assert_allclose(found, -(truth * log_p).sum((-1, -2)), rtol=1e-4)


def test_logit_adjusted_adds_the_prior_log_odds(apply, skewed):
  logits, y, on, n = numpy_of(skewed)
  prior = np.log(np.maximum(on, 1) / np.maximum(n - on, 1))
  found = apply(losses.logit_adjusted(tau=0.7), *skewed)
  expected = cross_entropy(logits + 0.7 * prior, y).sum(-1)
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_without_features_adjusted_logits_are_those_of_a_fair_coin(
  apply, skewed, quick_jit
):
  """Whatever the frequency of a label."""
  y = skewed[1][:, :2]

  def objective(bias):
    logits = jnp.broadcast_to(bias[None], y.shape)
    return apply(losses.logit_adjusted(), logits, y).mean()

  gradient = quick_jit(jax.grad(objective))(jnp.zeros(2))
  np.testing.assert_allclose(gradient, 0.0, atol=1e-6)


def test_without_their_weights_they_are_the_cross_entropy(apply, skewed):
  expected = optax.sigmoid_binary_cross_entropy(*skewed).sum(-1)
  for factor, loss in (
    (1.0, losses.class_balanced(beta=0.0)),
    (1.0, losses.ldam(max_margin=0.0)),
    (1.0, losses.logit_adjusted(tau=0.0)),
    (
      0.6,
      losses.distribution_balanced(beta=0.0, negative_scale=1.0, kappa=0.0),
    ),
  ):
    found = apply(loss, *skewed)
    np.testing.assert_allclose(found, factor * expected, rtol=1e-5)
  # Labels that are as often on as off.
  logits = skewed[0][:4]
  y = jnp.asarray([[0.0] * 5, [1.0] * 5, [0.0] * 5, [1.0] * 5])
  expected = optax.sigmoid_binary_cross_entropy(logits, y).sum(-1)
  for loss in (
    losses.sigmoid_cross_entropy(class_weight='balanced'),
    losses.sigmoid_cross_entropy(class_weight='positive'),
    losses.class_balanced(beta=0.9),
    losses.logit_adjusted(),
  ):
    np.testing.assert_allclose(apply(loss, logits, y), expected, rtol=1e-5)


@pytest.mark.parametrize(
  ('make', 'options', 'match'),
  [
    (losses.sigmoid_cross_entropy, {'positive_weight': 0.0}, 'weight=0'),
    (losses.class_balanced, {'beta': 1.0}, 'beta=1'),
    (losses.class_balanced, {'gamma': -1.0}, 'gamma=-1'),
    (losses.distribution_balanced, {'alpha': 0.0}, 'alpha=0'),
    (losses.distribution_balanced, {'negative_scale': 0.0}, 'scale=0'),
    (losses.ldam, {'max_margin': -1.0}, 'max_margin=-1'),
    (losses.ldam, {'scale': 0.0}, 'scale=0'),
    (losses.logit_adjusted, {'tau': -1.0}, 'tau=-1'),
  ],
)
def test_options_out_of_range_are_named(make, options, match):
  with pytest.raises(ValueError, match=match):
    make(**options)
