"""Promises of precision and recall, over many samples of a known world."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc import decoding
from mlc.decoding.guarantee import candidate_ranks, needed
from mlc.decoding.sample import Sample

quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)
# Each label of a sample is a resampling of its own.
SAMPLES = 2000
TARGET, DELTA = 0.8, 0.1
# Scores are uniform on these; ties of a tenth of the rows in the last world.
GRID = np.arange(1, 1001) / 1000
WORLDS = {
  'rising': lambda s: 0.3 + 0.7 * s,
  'uneven': lambda s: np.clip(0.5 + 0.4 * s + 0.3 * np.sin(9 * s), 0, 1),
  'tied': lambda s: 0.4 + 0.6 * np.ceil(10 * s) / 10,
}


class World:
  """P(y = 1 | score) on the grid, and what thresholds are really worth."""

  def __init__(self, name):
    self.score = np.ceil(10 * GRID) / 10 if name == 'tied' else GRID
    self.truth = WORLDS[name](self.score)

  def draw(self, rows):
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(GRID), size=(rows, SAMPLES))
    y = rng.random(drawn.shape) < self.truth[drawn]
    return self.score[drawn].astype(np.float32), y.astype(np.float32)

  def rates(self, threshold):
    """Precision and recall of p > threshold, for each of them."""
    above = self.score.astype(np.float32)[:, None] > threshold[None, :]
    found = (self.truth[:, None] * above).sum(axis=0)
    # Nothing predicted is nothing promised.
    precision = found / np.maximum(above.sum(axis=0), 1)
    precision[~above.any(axis=0)] = 1.0
    return precision, found / self.truth.sum()


@pytest.fixture(scope='module')
def fit():
  decoders = {
    'corrected': decoding.target_precision(TARGET, delta=DELTA),
    'monotone': decoding.target_precision(TARGET, delta=DELTA, monotone=True),
    'recall': decoding.target_recall(TARGET, delta=DELTA),
  }

  @quick_jit
  def all_of(p, y):
    sample = Sample(p, y)
    return {name: made.learn(sample) for name, made in decoders.items()}

  return all_of


@pytest.mark.parametrize('name', WORLDS)
@pytest.mark.slow
def test_promises_are_kept_as_often_as_promised(fit, name):
  world = World(name)
  p, y = world.draw(rows=300)
  found = jax.device_get(fit(p, y))
  # 4 deviations of a share of SAMPLES.
  most = DELTA + 4 * math.sqrt(DELTA * (1 - DELTA) / SAMPLES)
  broken, reached = {}, {}
  for rule in ('corrected', 'monotone'):
    precision, recall = world.rates(found[rule]['threshold'])
    broken[rule] = (precision < TARGET - 1e-9).mean()
    reached[rule] = recall.mean()
  assert broken['corrected'] < most
  _, recall = world.rates(found['recall']['threshold'])
  assert (recall < TARGET - 1e-9).mean() < most
  # What is promised is not caution alone.
  assert recall.mean() < 0.93
  if name != 'uneven':
    # The world is as `monotone` takes it to be.
    assert broken['monotone'] < most
    assert reached['monotone'] >= reached['corrected'] > 0.1
  print(name, broken, reached, recall.mean(), (recall < TARGET - 1e-9).mean())


def test_without_the_correction_promises_are_broken():
  """What the simulation must be able to see: sample precision is no promise."""
  world = World('rising')
  p, y = world.draw(rows=300)
  order = np.argsort(-p, axis=0)
  hits = np.cumsum(np.take_along_axis(y, order, axis=0), axis=0)
  good = hits / np.arange(1, 301)[:, None] >= TARGET
  last = 299 - np.argmax(good[::-1], axis=0)
  ranked = np.take_along_axis(p, order, axis=0)
  cut = np.append(ranked, np.zeros((1, SAMPLES)), axis=0)[
    last + 1, range(SAMPLES)
  ]
  precision, _ = world.rates(cut)
  assert (precision < TARGET).mean() > 4 * DELTA


def test_too_few_rows_promise_nothing(fit):
  p = np.linspace(0.1, 0.9, 6, dtype=np.float32)[:, None].repeat(2, axis=1)
  y = np.ones((6, 2), np.float32)
  y[:, 1] = 0
  found = jax.device_get(fit(p, y))
  # 0.8^6 > 0.1: six of six prove nothing.
  for rule in ('corrected', 'monotone'):
    np.testing.assert_array_equal(found[rule]['never'], True)
    np.testing.assert_array_equal(found[rule]['threshold'], 1.0)
  np.testing.assert_array_equal(found['recall']['always'], True)
  assert (found['recall']['threshold'] < 0).all()


def tail(n, successes, rate):
  """P(Bin(n, rate) >= successes), term by term."""
  return math.fsum(
    math.comb(n, s) * rate**s * (1 - rate) ** (n - s)
    for s in range(successes, n + 1)
  )


@pytest.mark.parametrize(('rate', 'delta'), [(0.8, 0.1), (0.35, 0.01)])
def test_needed_is_the_least_that_proves_the_rate(rate, delta):
  for n, least in enumerate(needed(60, rate, delta)):
    assert tail(n, least, rate) <= delta
    assert tail(n, least - 1, rate) > delta


def test_ranks_grow_from_the_least_that_can_prove_anything():
  ranks = candidate_ranks(1000, 0.8, 0.1)
  level = 0.1 / len(ranks)
  assert 0.8 ** ranks[0] <= level
  assert 0.8 ** (ranks[0] - 2) > level
  assert ranks[-1] <= 1000 < ranks[-1] * 1.2 + 1
  assert (np.diff(ranks) > 0).all()
  assert not len(candidate_ranks(10, 0.8, 0.1))


def test_recall_is_that_of_wilks():
  """Of 30 positives two may be lost for 0.8 at level 0.1, and no third."""
  p = np.arange(1, 31, dtype=np.float32)[:, None] / 31
  learn = decoding.target_recall(0.8, delta=0.1).learn
  state = quick_jit(lambda p: learn(Sample(p, jnp.ones_like(p))))(p)
  lost = int((p <= np.asarray(state['threshold'])).sum())
  # P(Beta(n - r + 1, r) >= 0.8) with r = lost + 1, as a binomial tail.
  assert tail(30, 30 - lost, 0.8) <= 0.1 < tail(30, 30 - lost - 1, 0.8)


@pytest.mark.parametrize(
  'make',
  [
    lambda: decoding.target_precision(1.0),
    lambda: decoding.target_recall(0.8, delta=0.0),
  ],
)
def test_what_nobody_can_promise_is_refused(make):
  with pytest.raises(ValueError, match='expected a number between 0 and 1'):
    make()
