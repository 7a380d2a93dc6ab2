"""Thresholds that validation data choose, against a search of every cut."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import f1_score, fbeta_score, roc_curve

from mlc import decoding
from mlc.heads.product import product

quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)
# The parameters of this head are its marginals, as logits.
HEAD = product(
  'fixed', 6, lambda *_, **__: None, lambda params, h, *, key=None: params
)


def best_f1(p, y, weight):
  cuts = [-1.0, *np.unique(p)]
  return max(
    f1_score(y, p > cut, sample_weight=weight, zero_division=0) for cut in cuts
  )


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(5))
def test_no_threshold_has_a_larger_f1(seed):
  rng = np.random.default_rng(seed)
  n = 40
  logits = rng.integers(-4, 5, (n, 6)) / 2  # many ties
  y = (rng.random((n, 6)) < 0.3).astype(float)
  weight = rng.integers(0, 3, n).astype(float)
  where = rng.random((n, 6)) < 0.8
  y[:, 5] = 0
  y = y * where
  params = jnp.asarray(logits, jnp.float32)
  h = jnp.zeros((n, 1))
  decoder = decoding.tuned_f()
  state = decoder.fit(
    HEAD,
    params,
    h,
    jnp.asarray(y, jnp.float32),
    where=jnp.asarray(where),
    weight=jnp.asarray(weight, jnp.float32),
  )
  decisions = np.asarray(decoder.decide(HEAD, params, h, state))
  p = np.asarray(HEAD.marginals(params, h))
  for j in range(5):
    w = weight * where[:, j]
    ours = f1_score(y[:, j], decisions[:, j], sample_weight=w, zero_division=0)
    assert ours == pytest.approx(best_f1(p[:, j], y[:, j], w), abs=1e-9)
  # Label 5 has no positive to fit.
  np.testing.assert_array_equal(state['pooled'], np.arange(6) == 5)


@pytest.mark.slow
def test_a_row_that_does_not_count_changes_nothing():
  params = jnp.asarray([[2.0], [1.0], [-1.0]]).repeat(6, axis=1)
  y = jnp.asarray([[1.0], [0.0], [0.0]]).repeat(6, axis=1)
  h = jnp.zeros((3, 1))
  decoder = decoding.tuned_f()
  state = decoder.fit(HEAD, params, h, y)
  padded = decoder.fit(
    HEAD,
    jnp.concatenate([params, jnp.full((1, 6), 1.5)]),
    jnp.zeros((4, 1)),
    jnp.concatenate([y, jnp.ones((1, 6))]),
    weight=jnp.asarray([1.0, 1.0, 1.0, 0.0]),
  )
  np.testing.assert_array_equal(state['threshold'], padded['threshold'])
  p = np.asarray(HEAD.marginals(params, h))
  np.testing.assert_allclose(state['threshold'], (p[0] + p[1]) / 2, rtol=1e-6)


ROWS = 30


@pytest.fixture
def sample():
  """Logits with many ties, labels, what is known, weights with padding."""
  rng = np.random.default_rng(7)
  logits = rng.integers(-4, 5, (ROWS, 6)) / 2
  y = (rng.random((ROWS, 6)) < [0.1, 0.3, 0.5, 0.7, 0.9, 0.03]).astype(float)
  y[:, 5] = 0
  y[3, 5] = 1
  where = rng.random((ROWS, 6)) < 0.8
  where[3, 5] = True
  weight = rng.integers(0, 3, ROWS).astype(float)
  weight[3] = 1.0
  return logits, y * where, where, weight


def fitted(decoder, sample):
  """Thresholds, decisions and probabilities."""
  logits, y, where, weight = sample
  params = jnp.asarray(logits, jnp.float32)
  h = jnp.zeros((len(logits), 1))

  @quick_jit
  def run(params, y, where, weight):
    state = decoder.fit(HEAD, params, h, y, where=where, weight=weight)
    return state, decoder.decide(HEAD, params, h, state)

  y, weight = (jnp.asarray(part, jnp.float32) for part in (y, weight))
  state, decisions = run(params, y, where, weight)
  p = np.asarray(HEAD.marginals(params, h), np.float64)
  return state, np.asarray(decisions), p


def cuts_of(p):
  """One threshold between any two neighbours, and beyond both ends."""
  found = np.unique(p)
  return np.concatenate([[-1.0], (found[1:] + found[:-1]) / 2, [2.0]])


def test_f_beta_of_each_label(sample):
  _, y, where, weight = sample
  _, decisions, p = fitted(decoding.tuned_f(2.0), sample)

  def value(y, decided, w):
    return fbeta_score(y, decided, beta=2, sample_weight=w, zero_division=0)

  for j in range(6):
    w = weight * where[:, j]
    best = max(value(y[:, j], p[:, j] > t, w) for t in cuts_of(p[:, j]))
    assert value(y[:, j], decisions[:, j], w) == pytest.approx(best, abs=1e-9)


def test_youden_is_the_corner_of_the_roc_curve(sample):
  _, y, where, weight = sample
  _, decisions, p = fitted(decoding.youden(), sample)
  for j in range(6):
    w = weight * where[:, j]
    fpr, tpr, _ = roc_curve(y[:, j], p[:, j], sample_weight=w)
    on, off = w * y[:, j], w * (1 - y[:, j])
    found = on @ decisions[:, j] / on.sum() - off @ decisions[:, j] / off.sum()
    assert found == pytest.approx((tpr - fpr).max(), abs=1e-6)


def test_pcut_predicts_as_many_as_there_are(sample):
  _, y, where, weight = sample
  _, decisions, p = fitted(decoding.pcut(), sample)
  for j in range(6):
    w = weight * where[:, j]
    off_by = lambda decided, w=w, j=j: abs(w @ decided - w @ y[:, j])
    best = min(off_by(p[:, j] > t) for t in cuts_of(p[:, j]))
    assert off_by(decisions[:, j]) == best


def test_otsu_parts_the_probabilities_without_their_truth(sample):
  logits, y, where, weight = sample
  state, decisions, p = fitted(decoding.otsu(), sample)

  def between(decided, p):
    if not (weight @ decided) * (weight @ ~decided):
      return 0.0
    upper, lower = (
      np.average(p, weights=weight * part) for part in (decided, ~decided)
    )
    return (weight @ decided) * (weight @ ~decided) * (upper - lower) ** 2

  for j in range(6):
    best = max(between(p[:, j] > t, p[:, j]) for t in cuts_of(p[:, j]))
    found = between(decisions[:, j] > 0, p[:, j])
    assert found == pytest.approx(best, rel=1e-5)
  other = fitted(decoding.otsu(), (logits, 1 - y, ~where, weight))[0]
  np.testing.assert_array_equal(state['threshold'], other['threshold'])


@pytest.mark.slow
@pytest.mark.parametrize('beta', [0.5, 1.0, 2.0])
def test_no_combination_of_thresholds_has_a_larger_micro_f(beta, sample):
  logits, y, where, weight = (
    part[..., :3] if np.ndim(part) == 2 else part for part in sample
  )
  head = product(
    'fixed', 3, lambda *_, **__: None, lambda params, h, *, key=None: params
  )
  params = jnp.asarray(logits, jnp.float32)
  h, decoder = jnp.zeros((ROWS, 1)), decoding.micro_f(beta)
  given = {
    'where': jnp.asarray(where),
    'weight': jnp.asarray(weight, jnp.float32),
  }
  state = decoder.fit(head, params, h, jnp.asarray(y, jnp.float32), **given)
  found = np.asarray(decoder.decide(head, params, h, state))
  p = np.asarray(head.marginals(params, h))
  w = weight[:, None] * where

  def parts(decided, j):
    return (
      w[:, j] @ (decided * y[:, j]),
      w[:, j] @ decided,
      w[:, j] @ y[:, j],
    )

  def micro(counts):
    tp, predicted, positives = np.sum(counts, axis=0)
    return (1 + beta**2) * tp / (beta**2 * positives + predicted)

  each = [[parts(p[:, j] > t, j) for t in cuts_of(p[:, j])] for j in range(3)]
  best = max(micro(counts) for counts in itertools.product(*each))
  ours = micro([parts(found[:, j], j) for j in range(3)])
  assert ours == pytest.approx(best, abs=1e-6)


def test_pooled_is_one_threshold_of_largest_micro_f(sample):
  _, y, where, weight = sample
  state, decisions, p = fitted(decoding.pooled_f(), sample)
  assert len(np.unique(state['threshold'])) == 1
  w = (weight[:, None] * where).ravel()

  def value(decided):
    return f1_score(y.ravel(), decided.ravel(), sample_weight=w)

  best = max(value(p > t) for t in cuts_of(p)[:-1])
  assert value(decisions) == pytest.approx(best, abs=1e-9)


def test_a_rare_label_takes_the_threshold_of_all_and_says_so(sample):
  own = fitted(decoding.tuned_f(), sample)[0]
  state = fitted(decoding.tuned_f(min_positives=4), sample)[0]
  pooled = fitted(decoding.pooled_f(), sample)[0]
  _, y, where, weight = sample
  rare = (y * where * weight[:, None] > 0).sum(axis=0) < 4
  assert 0 < rare.sum() < 6
  np.testing.assert_array_equal(state['pooled'], rare)
  np.testing.assert_array_equal(
    state['threshold'],
    jnp.where(rare, pooled['threshold'], own['threshold']),
  )
  assert not own['pooled'].any()


def test_rcut_takes_the_usual_number_of_labels(sample):
  _, y, where, weight = sample
  state, decisions, p = fitted(decoding.rcut(), sample)
  known = weight[:, None] * where
  assert state['k'] == round((known * y).sum() / known.sum() * 6)
  assert (decisions.sum(axis=1) == state['k']).all()
  for row, decided in zip(p, decisions, strict=True):
    assert row[decided > 0].min() >= row[decided == 0].max()


def test_mcut_cuts_at_the_widest_gap(sample):
  _, decisions, p = fitted(decoding.mcut(), sample)
  for row, decided in zip(p, decisions, strict=True):
    found = row[decided > 0].min() - row[decided == 0].max()
    assert found == pytest.approx(np.max(np.diff(np.sort(row))), abs=1e-6)
