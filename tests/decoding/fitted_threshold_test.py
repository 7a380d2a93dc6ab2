"""Thresholds that validation data choose, against a search of every cut."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import (
  f1_score,
  fbeta_score,
  precision_recall_curve,
  roc_curve,
)

from mlc import decoding
from mlc.decoding.sample import Sample
from mlc.heads.product import product

quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)
# The parameters of this head are its marginals, as logits.
HEAD = product(
  'fixed', 6, lambda *_, **__: None, lambda params, h, *, key=None: params
)
ROWS = 30
COSTS = {
  'false_positive': (1.0,),
  'false_negative': tuple(np.arange(1.0, 7.0).tolist()),
}
DECODERS = {
  'tuned_f1': decoding.tuned_f(),
  'tuned_f2': decoding.tuned_f(2.0),
  'tuned_rare': decoding.tuned_f(min_positives=4),
  'youden': decoding.youden(),
  'pcut': decoding.pcut(),
  'otsu': decoding.otsu(),
  'pooled_f1': decoding.pooled_f(),
  'tuned_cost': decoding.tuned_cost(**COSTS),
  'cost_rare': decoding.tuned_cost(**COSTS, min_positives=4),
  'cost': decoding.cost(**COSTS),
  'rcut': decoding.rcut(),
  'mcut': decoding.mcut(),
}


class Drawn:
  """Logits with many ties, labels, what is known, weights with padding."""

  def __init__(self, most_weight):
    rng = np.random.default_rng(7)
    self.logits = rng.integers(-4, 5, (ROWS, 6)) / 2
    often = [0.1, 0.3, 0.5, 0.7, 0.9, 0.03]
    self.y = (rng.random((ROWS, 6)) < often).astype(float)
    self.y[:, 5] = 0
    self.y[3, 5] = 1
    self.where = rng.random((ROWS, 6)) < 0.8
    self.where[3, 5] = True
    self.weight = rng.integers(0, most_weight + 1, ROWS).astype(float)
    # Every label has a positive, and one that is absent.
    self.y[4], self.where[4] = 0, True
    self.weight[3:5] = 1.0
    self.y *= self.where

  @property
  def p(self):
    """As float32 has it."""
    logits = jnp.asarray(self.logits, jnp.float32)
    return np.asarray(jax.nn.sigmoid(logits), np.float64)

  @property
  def counted(self):
    """Weight of each label of each row."""
    return self.weight[:, None] * self.where

  def arrays(self):
    dtypes = jnp.float32, jnp.float32, bool, jnp.float32
    parts = self.logits, self.y, self.where, self.weight
    return [jnp.asarray(a, t) for a, t in zip(parts, dtypes, strict=True)]


@pytest.fixture(scope='module', params=[1, 2], ids=['once', 'weighted'])
def fitted(request):
  """The sample, and decoder -> (state, decisions)."""
  drawn = Drawn(request.param)
  return drawn, jax.device_get(_fit_all(*drawn.arrays()))


@quick_jit
def _fit_all(params, y, where, weight):
  h, found = jnp.zeros((ROWS, 1)), {}
  for name, decoder in DECODERS.items():
    given = {'where': where, 'weight': weight}
    state = decoder.fit(HEAD, params, h, y, **given)
    found[name] = state, decoder.decide(HEAD, params, h, state)
  return found


def cuts_of(p):
  """One threshold between any two neighbours, and beyond both ends."""
  found = np.unique(p)
  return np.concatenate([[-1.0], (found[1:] + found[:-1]) / 2, [2.0]])


def every(value, drawn, j):
  """The value of each cut of label j."""
  p = drawn.p[:, j]
  return [value(drawn.y[:, j], p > t, drawn.counted[:, j]) for t in cuts_of(p)]


def f_beta(beta):
  return lambda y, decided, w: fbeta_score(
    y, decided, beta=beta, sample_weight=w, zero_division=0
  )


def minus_cost(j):
  return lambda y, decided, w: (
    -(w @ (decided * (1 - y))) - (j + 1) * (w @ ((1 - decided) * y))
  )


@pytest.mark.slow
@pytest.mark.parametrize(
  ('name', 'value'),
  [
    ('tuned_f1', lambda j: f_beta(1)),
    ('tuned_f2', lambda j: f_beta(2)),
    ('tuned_cost', minus_cost),
    ('pcut', lambda j: lambda y, d, w: -abs(w @ d - w @ y)),
  ],
)
def test_no_cut_is_worth_more(fitted, name, value):
  drawn, found = fitted
  decisions = found[name][1]
  for j in range(6):
    ours = value(j)(drawn.y[:, j], decisions[:, j], drawn.counted[:, j])
    best = max(every(value(j), drawn, j))
    assert ours == pytest.approx(best, abs=1e-9), j


@pytest.mark.slow
def test_f1_is_the_best_of_the_precision_recall_curve(fitted):
  drawn, found = fitted
  for j in range(6):
    w = drawn.counted[:, j]
    precision, recall, _ = precision_recall_curve(
      drawn.y[:, j], drawn.p[:, j], sample_weight=w
    )
    best = (2 * precision * recall / np.maximum(precision + recall, 1e-9)).max()
    ours = f_beta(1)(drawn.y[:, j], found['tuned_f1'][1][:, j], w)
    assert ours == pytest.approx(best, abs=1e-9)


def test_youden_is_the_corner_of_the_roc_curve(fitted):
  drawn, found = fitted
  decisions = found['youden'][1]
  for j in range(6):
    w, y = drawn.counted[:, j], drawn.y[:, j]
    fpr, tpr, _ = roc_curve(y, drawn.p[:, j], sample_weight=w)
    on, off = w * y, w * (1 - y)
    ours = on @ decisions[:, j] / on.sum() - off @ decisions[:, j] / off.sum()
    assert ours == pytest.approx((tpr - fpr).max(), abs=1e-6)


def test_thresholds_are_half_way_and_the_highest_of_equals(fitted):
  drawn, found = fitted
  for j in range(6):
    values = np.asarray(every(f_beta(1), drawn, j))
    p = drawn.p[drawn.counted[:, j] > 0, j]
    highest = cuts_of(drawn.p[:, j])[np.nonzero(values >= values.max())[0][-1]]
    above, below = p[p > highest], p[p < highest]
    middle = (above.min() + below.max(initial=0.0)) / 2
    assert found['tuned_f1'][0]['threshold'][j] == pytest.approx(middle)


def test_otsu_parts_the_probabilities_without_their_truth(fitted):
  drawn, found = fitted
  weight, p = drawn.weight, drawn.p

  def between(decided, p):
    if not (weight @ decided) * (weight @ ~decided):
      return 0.0
    upper, lower = (
      np.average(p, weights=weight * part) for part in (decided, ~decided)
    )
    return (weight @ decided) * (weight @ ~decided) * (upper - lower) ** 2

  for j in range(6):
    best = max(between(p[:, j] > t, p[:, j]) for t in cuts_of(p[:, j]))
    ours = between(found['otsu'][1][:, j] > 0, p[:, j])
    assert ours == pytest.approx(best, rel=1e-5)
  logits, y, where, weight = drawn.arrays()
  other = _fit_all(logits, 1 - y, ~where, weight)['otsu'][0]
  np.testing.assert_array_equal(
    found['otsu'][0]['threshold'], other['threshold']
  )


def test_pooled_is_one_threshold_of_largest_micro_f(fitted):
  drawn, found = fitted
  state, decisions = found['pooled_f1']
  assert len(np.unique(state['threshold'])) == 1
  w, y, p = drawn.counted.ravel(), drawn.y.ravel(), drawn.p.ravel()
  best = max(f1_score(y, p > t, sample_weight=w) for t in cuts_of(p)[:-1])
  ours = f1_score(y, decisions.ravel(), sample_weight=w)
  assert ours == pytest.approx(best, abs=1e-9)


def test_a_rare_label_takes_the_threshold_of_all_and_says_so(fitted):
  drawn, found = fitted
  own, state, pooled = (
    found[name][0] for name in ('tuned_f1', 'tuned_rare', 'pooled_f1')
  )
  rare = (drawn.y * drawn.counted).sum(axis=0) < 4
  assert 0 < rare.sum() < 6
  np.testing.assert_array_equal(state['pooled'], rare)
  np.testing.assert_array_equal(
    state['threshold'], np.where(rare, pooled['threshold'], own['threshold'])
  )
  assert not own['pooled'].any()
  # Costs need no other label: they have a threshold without any data.
  own, state = found['tuned_cost'][0], found['cost_rare'][0]
  np.testing.assert_array_equal(state['expected'], rare)
  expected = 1 / (1 + np.asarray(COSTS['false_negative']))
  np.testing.assert_allclose(
    state['threshold'], np.where(rare, expected, own['threshold']), rtol=1e-6
  )


def test_no_decision_has_a_smaller_expected_cost(fitted):
  drawn, found = fitted
  miss = np.asarray(COSTS['false_negative'])
  costs = (1 - drawn.p), drawn.p * miss  # of calling it, of passing over
  np.testing.assert_array_equal(found['cost'][1], costs[0] < costs[1])


def test_costs_of_being_right_count():
  """Elkan's equation 2 by its definition: both answers cost the same there."""
  costs = {
    'false_positive': (3.0,),
    'false_negative': (5.0,),
    'true_positive': (-2.0,),
    'true_negative': (1.0,),
  }
  decoder = decoding.cost(**costs)
  p = np.linspace(0.05, 0.95, 6, dtype=np.float32)[None]
  params = jnp.log(p / (1 - p))
  decided = decoder.decide(HEAD, params, jnp.zeros((1, 1)))
  called, passed = 3 * (1 - p) - 2 * p, (1 - p) + 5 * p
  np.testing.assert_array_equal(decided, called < passed)


@pytest.mark.parametrize(
  ('costs', 'said'),
  [
    ({'false_positive': (0.0,)}, 'false positive to cost more'),
    ({'false_negative': (1.0, 2.0), 'true_positive': (0.0,) * 3}, '3 of true'),
    ({'false_negative': (float('nan'),)}, 'false_negative=nan'),
  ],
)
def test_costs_that_make_no_sense_are_refused(costs, said):
  with pytest.raises(ValueError, match=said):
    decoding.cost(**costs)


def test_costs_of_other_labels_are_refused():
  decoder = decoding.tuned_cost(false_negative=(1.0, 2.0))
  with pytest.raises(ValueError, match='2 costs for 6 labels'):
    decoder.exactness(HEAD)


def test_rcut_takes_the_usual_number_of_labels(fitted):
  drawn, found = fitted
  state, decisions = found['rcut']
  share = (drawn.counted * drawn.y).sum() / drawn.counted.sum()
  assert state['k'] == round(share * 6)
  assert (decisions.sum(axis=1) == state['k']).all()
  for row, decided in zip(drawn.p, decisions, strict=True):
    assert row[decided > 0].min() >= row[decided == 0].max()


def test_mcut_cuts_at_the_widest_gap(fitted):
  drawn, found = fitted
  for row, decided in zip(drawn.p, found['mcut'][1], strict=True):
    gap = row[decided > 0].min() - row[decided == 0].max()
    assert gap == pytest.approx(np.max(np.diff(np.sort(row))), abs=1e-6)


def sample_of(drawn):
  logits, y, where, weight = drawn.arrays()
  return Sample(jax.nn.sigmoid(logits), y, weight, where)


@pytest.mark.parametrize('beta', [0.5, 2.0])
def test_no_combination_of_thresholds_has_a_larger_micro_f(beta):
  drawn = Drawn(2)
  sample = sample_of(drawn)
  first = Sample(
    sample.p[:, :3], sample.y[:, :3], sample.weight, sample.known[:, :3]
  )
  learn = decoding.micro_f(beta).learn
  found = drawn.p[:, :3] > np.asarray(
    quick_jit(lambda: learn(first))()['threshold']
  )

  def parts(decided, j):
    w, y = drawn.counted[:, j], drawn.y[:, j]
    return w @ (decided * y), w @ decided, w @ y

  def micro(counts):
    tp, predicted, positives = np.sum(counts, axis=0)
    return (1 + beta**2) * tp / (beta**2 * positives + predicted)

  each = [
    [parts(drawn.p[:, j] > t, j) for t in cuts_of(drawn.p[:, j])]
    for j in range(3)
  ]
  best = max(micro(counts) for counts in itertools.product(*each))
  ours = micro([parts(found[:, j], j) for j in range(3)])
  assert ours == pytest.approx(best, abs=1e-6)


@pytest.mark.slow
def test_a_resample_is_fitted_as_its_rows_are():
  """As if each row stood in the data as often as it was drawn."""
  drawn = Drawn(1)
  rules = [DECODERS[name].learn for name in ('tuned_rare', 'otsu', 'pcut')]

  @quick_jit
  def resampled(key):
    sample = sample_of(drawn)
    sample.rank()
    again = sample.drawn_again(key)
    return again.weight, [learn(again)['threshold'] for learn in rules]

  weight, thresholds = resampled(jax.random.key(3))
  weight = np.asarray(weight).astype(int)
  assert weight.sum() == drawn.weight.sum()
  assert weight.max() > 1
  assert not weight[drawn.weight == 0].any()
  sample = sample_of(drawn)
  row = np.repeat(np.arange(ROWS), weight)
  repeated = Sample(sample.p[row], sample.y[row], None, sample.known[row])
  wanted = quick_jit(
    lambda: [learn(repeated)['threshold'] for learn in rules]
  )()
  for one, other in zip(thresholds, wanted, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-6)
