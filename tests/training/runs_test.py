"""The rows of a run: who gets which, in which order, in which batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc.base import Batch
from mlc.training import runs


@pytest.mark.slow
def test_every_split_meets_every_number(setting):
  splits = setting.splits(3)
  made, described = runs.from_splits(splits, [0.1, 0.2], [0.0, 1.0])
  assert len(described) == 12
  for i, run in enumerate(described):
    split = splits[run['split']]
    assert (run['seed'], run['fold']) == (split.seed, split.fold)
    assert made.learning_rate[i] == pytest.approx(run['learning_rate'])
    assert made.l2[i] == pytest.approx(run['l2'])
    real = np.asarray(made.train_weight[i]) > 0
    np.testing.assert_array_equal(made.train[i][real], split.train)
    # Padding is a row of the run's own, never one of its test rows.
    assert set(np.asarray(made.train[i][~real])) <= {split.train[0]}
    real = np.asarray(made.validation_weight[i]) > 0
    np.testing.assert_array_equal(made.validation[i][real], split.validation)
    assert made.key[i] == jax.random.key(split.seed)
  assert {(r['seed'], r['learning_rate'], r['l2']) for r in described} == {
    (s, a, b) for s in range(3) for a in (0.1, 0.2) for b in (0.0, 1.0)
  }


def test_no_validation_rows(setting):
  made, _ = runs.from_splits(setting.splits(2, validation=0), [0.1], [0.0])
  assert made.validation.shape == made.validation_weight.shape == (2, 0)


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (([], [0.1], [0.0]), '0 splits, 1 learning rates and 1 l2s make no run'),
    (('splits', [], [0.0]), '0 learning rates'),
    (('empty', [0.1], [0.0]), r'split 0 \(seed 0, fold 0\) has no training'),
    (('seed', [0.1], [0.0]), r'seed -1 is not in'),
  ],
)
def test_what_cannot_run_is_refused(setting, arguments, message):
  splits, *numbers = arguments
  if splits == 'splits':
    splits = setting.splits(1)
  elif splits == 'empty':
    splits = setting.splits(1, train=0)
  elif splits == 'seed':
    splits = [setting.splits(1)[0]._replace(seed=-1)]
  with pytest.raises(ValueError, match=message):
    runs.from_splits(splits, *numbers)


@pytest.mark.slow
def test_order_does_not_depend_on_padding():
  key = jax.random.key(3)
  short = runs.shuffled(key, jnp.ones(50))
  long = runs.shuffled(key, jnp.ones(70).at[50:].set(0.0))
  np.testing.assert_array_equal(np.sort(short), np.arange(50))
  np.testing.assert_array_equal(short, long[:50])
  np.testing.assert_array_equal(np.sort(long[50:]), np.arange(50, 70))


def test_every_order_is_as_likely():
  keys = jax.random.split(jax.random.key(0), 6000)
  orders = jax.vmap(runs.shuffled, (0, None))(keys, jnp.ones(3))
  _, counts = np.unique(np.asarray(orders), axis=0, return_counts=True)
  # Six orders, 1000 expected each; chi^2 with 5 degrees, 0.999 quantile.
  assert len(counts) == 6
  assert ((counts - 1000) ** 2 / 1000).sum() < 20.5


@pytest.mark.parametrize(('count', 'size'), [(10, 4), (8, 4), (3, 4), (1, 1)])
def test_batches_hold_each_row_once(count, size):
  index = jnp.arange(100, 100 + count)
  got, weight = runs.in_batches(index, jnp.ones(count), size)
  assert got.shape == weight.shape
  assert got.shape == (-(-count // size), min(size, count))
  np.testing.assert_array_equal(got[weight > 0], index)
  assert set(np.asarray(got[weight == 0])) <= {100 + count - 1}


def test_rows_multiply_the_weights_of_the_data():
  data = Batch(jnp.eye(4), jnp.zeros((4, 1)), weight=jnp.arange(4.0))
  batch = runs.rows(data, jnp.asarray([3, 1]), jnp.asarray([1.0, 2.0]))
  np.testing.assert_array_equal(batch.weight, [3.0, 2.0])
  np.testing.assert_array_equal(batch.x, jnp.eye(4)[jnp.asarray([3, 1])])


def test_every_group_meets_every_penalty(setting):
  made, described = runs.from_splits(
    setting.splits(2), [0.1], [0.0, 1.0], {'links': [0.5, 3.0]}
  )
  assert made.own_l2.keys() == {'links'}
  for i, run in enumerate(described):
    assert made.l2[i] == run['l2']
    assert made.own_l2['links'][i] == run['links_l2']
  found = [(r['seed'], r['l2'], r['links_l2']) for r in described]
  assert found == [
    (s, a, b) for s in range(2) for a in (0.0, 1.0) for b in (0.5, 3.0)
  ]


@pytest.fixture(scope='module')
def shares():
  """Of three splits of 130 to 132 rows; some rows are never to be drawn."""
  random = np.random.default_rng(0)
  return [
    random.random(130 + i) * (random.random(130 + i) > 0.1) for i in range(3)
  ]


@pytest.fixture(scope='module')
def drawing(setting, shares):
  made, _ = runs.from_splits(setting.splits(3), shares=shares)
  return made


def pick_run(made, i):
  return jax.tree.map(lambda leaf: leaf[i], made)


def test_rows_are_drawn_as_often_as_their_share_says(drawing, shares):
  run, epochs = pick_run(drawing, 0), 400
  keys = jax.random.split(jax.random.key(0), epochs)
  index, weight = jax.jit(jax.vmap(lambda key: runs.epoch_rows(key, run)))(keys)
  real = np.asarray(weight[0]) > 0
  assert real.sum() == 130
  assert (np.asarray(weight) == real).all()
  # Positions of rows are their places in the split.
  place = np.full(200, -1)
  place[np.asarray(run.train)[real]] = np.arange(130)
  drawn = place[np.asarray(index)[:, real]]
  count = np.bincount(drawn.ravel(), minlength=130)
  p = shares[0] / shares[0].sum()
  assert drawn.min() >= 0
  assert (count[p == 0] == 0).all()
  # Binomial, five standard deviations.
  n = drawn.size
  deviation = np.sqrt(n * p * (1.0 - p))
  assert (np.abs(count - n * p) <= 5.0 * deviation).all()
  # Draws of an epoch are independent: as many pairs as chance gives.
  pairs = np.sum(np.sort(drawn)[:, 1:] == np.sort(drawn)[:, :-1], axis=1).mean()
  expected = 130 - np.sum(1.0 - (1.0 - p) ** 130)
  assert pairs == pytest.approx(expected, rel=0.05)


@pytest.mark.slow
def test_draws_do_not_depend_on_padding(setting, shares, drawing):
  alone, _ = runs.from_splits(setting.splits(1), shares=shares[:1])
  short, long = pick_run(alone, 0), pick_run(drawing, 0)
  assert len(short.train) < len(long.train)
  key = jax.random.key(5)
  a, b = runs.epoch_rows(key, short), runs.epoch_rows(key, long)
  for one, other in zip(a, b, strict=True):
    np.testing.assert_array_equal(one, other[:130])
  assert set(np.asarray(b[0])) <= set(np.asarray(long.train))
  assert not np.asarray(b[1])[130:].any()


def test_the_expected_weight_is_the_share(setting, drawing, shares):
  for i, share in enumerate(shares):
    weight = np.asarray(runs.expected_weight(pick_run(drawing, i)))
    n = len(share)
    np.testing.assert_allclose(
      weight[:n], n * share / share.sum(), rtol=1e-5, atol=1e-6
    )
    assert not weight[n:].any()
  plain, _ = runs.from_splits(setting.splits(3))
  assert plain.drawn_until is None
  np.testing.assert_array_equal(
    runs.expected_weight(pick_run(plain, 0)), plain.train_weight[0]
  )


@pytest.mark.parametrize('value', [-1.0, np.nan, np.inf])
def test_shares_that_are_no_proportion_are_refused(setting, value):
  share = np.ones(130)
  share[3] = value
  with pytest.raises(ValueError, match='shares of split 0'):
    runs.from_splits(setting.splits(1), shares=[share])
  with pytest.raises(ValueError, match='shares of split 0'):
    runs.from_splits(setting.splits(1), shares=[np.zeros(130)])
