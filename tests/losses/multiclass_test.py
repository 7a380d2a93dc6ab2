"""Losses of a softmax: formulas, limits, and which heads they are for."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
from sklearn.utils.class_weight import compute_class_weight

from mlc import losses
from mlc.base import Batch, MissingCapabilityError
from mlc.heads.binary_relevance import binary_relevance
from mlc.heads.softmax import softmax


def of_classes(apply):
  return lambda loss, *rows: apply(loss, *rows, classes=True)


def numpy_of(one_hot_rows):
  """Scores, the class of each row, how often each occurs, log p of it."""
  f, y = (np.asarray(part, np.float64) for part in one_hot_rows)
  log_p = scipy.special.log_softmax(f, axis=-1)
  return f, y.argmax(-1), y.sum(0), log_p[y > 0]


@pytest.mark.slow
def test_cross_entropy_is_that_of_optax_for_the_head_of_the_bench():
  """Through its logits, which are log-odds and not scores."""
  rng = np.random.default_rng(0)
  x = jnp.asarray(rng.normal(size=(6, 3)), jnp.float32)
  y = jnp.eye(4)[jnp.asarray([0, 1, 2, 3, 3, 0])]
  params = {
    'kernel': jnp.asarray(3.0 * rng.normal(size=(3, 4)), jnp.float32),
    'bias': jnp.asarray(rng.normal(size=4), jnp.float32),
  }
  head, batch = softmax(4), Batch(x, y)
  f = x @ params['kernel'] + params['bias'][None]
  plain = losses.softmax_cross_entropy().apply(head, params, x, batch)
  np.testing.assert_allclose(
    plain, losses.nll().apply(head, params, x, batch), rtol=1e-5, atol=1e-6
  )
  smoothed = losses.softmax_cross_entropy(label_smoothing=0.2)
  np.testing.assert_allclose(
    smoothed.apply(head, params, x, batch),
    optax.softmax_cross_entropy(f, optax.smooth_labels(y, 0.2)),
    rtol=1e-5,
  )


def test_no_gradient_of_the_head_is_nan(quick_jit):
  """With scores of 1e4, of one sign and of both."""
  h = jnp.asarray([[1e4, -1e4, 0.0], [1e4, 1e4, 1e4], [-1e4, -1e4, 1.0]])
  head, loss = softmax(3), losses.softmax_focal(gamma=0.5)
  # Every class for every row.
  batch = Batch(jnp.tile(h, (3, 1)), jnp.repeat(jnp.eye(3), 3, axis=0))

  def total(params):
    return loss.apply(head, params, batch.x, batch).sum()

  params = {'kernel': jnp.eye(3), 'bias': jnp.zeros(3)}
  value, gradient = quick_jit(jax.value_and_grad(total))(params)
  assert np.isfinite(value)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.slow
def test_balanced_weighs_as_scikit_learn_does(apply, one_hot_rows):
  _, classes, _, log_p = numpy_of(one_hot_rows)
  there = np.unique(classes)
  weights = np.ones(5)
  weights[there] = compute_class_weight('balanced', classes=there, y=classes)
  loss = losses.softmax_cross_entropy(class_weight='balanced')
  found = of_classes(apply)(loss, *one_hot_rows)
  np.testing.assert_allclose(found, -weights[classes] * log_p, rtol=1e-5)


@pytest.mark.slow
def test_they_are_the_formulas(apply, one_hot_rows):
  f, classes, n, log_p = numpy_of(one_hot_rows)
  of, row = of_classes(apply), np.arange(len(f))
  focus = (1 - np.exp(log_p)) ** 1.5
  found = of(losses.softmax_focal(gamma=1.5), *one_hot_rows)
  np.testing.assert_allclose(found, -focus * log_p, rtol=1e-4)

  there = n > 0
  raw = 0.1 / (1 - 0.9 ** n[there])
  weight = np.zeros(5)
  weight[there] = raw / raw.mean()
  loss = losses.softmax_class_balanced(beta=0.9, gamma=1.5)
  expected = -weight[classes] * focus * log_p
  np.testing.assert_allclose(of(loss, *one_hot_rows), expected, rtol=1e-4)

  margin = 0.7 * (n[there].min() / n[classes]) ** 0.25
  moved = f.copy()
  moved[row, classes] -= margin
  expected = -scipy.special.log_softmax(3.0 * moved, -1)[row, classes]
  loss = losses.softmax_ldam(max_margin=0.7, scale=3.0)
  np.testing.assert_allclose(of(loss, *one_hot_rows), expected, rtol=1e-4)

  prior = np.maximum(n, 1) / len(f)
  expected = [
    np.log(
      sum(
        (prior[i] / prior[c]) ** 0.6 * np.exp(f[b, i] - f[b, c])
        for i in range(5)
      )
    )
    for b, c in enumerate(classes)
  ]
  loss = losses.softmax_logit_adjusted(tau=0.6)
  np.testing.assert_allclose(of(loss, *one_hot_rows), expected, rtol=1e-4)


def test_without_their_weights_they_are_the_cross_entropy(apply, one_hot_rows):
  expected = optax.softmax_cross_entropy(*one_hot_rows)
  for loss in (
    losses.softmax_cross_entropy(),
    losses.softmax_focal(gamma=0.0),
    losses.softmax_class_balanced(beta=0.0),
    losses.softmax_ldam(max_margin=0.0),
    losses.softmax_logit_adjusted(tau=0.0),
  ):
    found = of_classes(apply)(loss, *one_hot_rows)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_without_features_adjusted_scores_are_those_of_a_fair_die(
  apply, quick_jit
):
  y = jnp.eye(3)[jnp.asarray([0, 0, 0, 0, 1, 1, 2])]

  def objective(bias):
    scores = jnp.broadcast_to(bias[None], y.shape)
    loss = losses.softmax_logit_adjusted()
    return of_classes(apply)(loss, scores, y).mean()

  gradient = quick_jit(jax.grad(objective))(jnp.zeros(3))
  np.testing.assert_allclose(gradient, 0.0, atol=1e-6)


def test_several_labels_are_each_a_target_and_none_teaches_nothing(apply, rows):
  logits, y = rows
  found = of_classes(apply)(losses.softmax_cross_entropy(), logits, y)
  expected = -(np.asarray(y) * jax.nn.log_softmax(logits)).sum(-1)
  np.testing.assert_allclose(found, expected, rtol=1e-4)
  assert found[0] == 0


def test_a_head_of_several_labels_is_refused():
  loss, head = losses.softmax_focal(), binary_relevance(3)
  x = jnp.zeros((2, 4))
  with pytest.raises(MissingCapabilityError, match='binary_relevance also has'):
    loss.apply(head, {}, x, Batch(x, jnp.eye(3)[:2]))


@pytest.mark.parametrize(
  ('make', 'options', 'match'),
  [
    (losses.softmax_cross_entropy, {'label_smoothing': 1.0}, 'smoothing=1'),
    (losses.softmax_focal, {'gamma': -1.0}, 'gamma=-1'),
    (losses.softmax_class_balanced, {'beta': 1.0}, 'beta=1'),
    (losses.softmax_ldam, {'max_margin': -1.0}, 'max_margin=-1'),
    (losses.softmax_logit_adjusted, {'tau': -1.0}, 'tau=-1'),
  ],
)
def test_options_out_of_range_are_named(make, options, match):
  with pytest.raises(ValueError, match=match):
    make(**options)
