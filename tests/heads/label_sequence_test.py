"""The label sequence against lists of all sequences, in numpy."""

import functools
import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlc import distribution, numerics
from mlc.base import Batch
from mlc.heads.label_sequence import label_sequence

DIM, LABELS = 3, 4
quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


def features(rows, seed=1):
  rng = np.random.default_rng(seed)
  return jnp.asarray(rng.normal(size=(rows, DIM)), jnp.float32)


def made(num_labels=LABELS, card=2.0, scale=1.0, **options):
  """A head with parameters far from their start, and training labels."""
  head = label_sequence(num_labels, **{'width': 3, **options})
  rng = np.random.default_rng(0)
  y = jnp.asarray(rng.random((12, num_labels)) < card / num_labels, jnp.float32)
  params = quick_jit(head.init)(jax.random.key(5), features(12), y)
  trained, frozen = numerics.split_frozen(params)
  trained = jax.tree.map(
    lambda p: p + scale * rng.normal(size=p.shape).astype(np.float32), trained
  )
  return head, numerics.merge_frozen(trained, frozen), y


def sigmoid(z):
  return 1.0 / (1.0 + np.exp(-z))


def scores_after(params, h, said):
  """Logits of labels and stop behind the labels `said`, in float64."""
  p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
  g = p['gru']
  s = np.tanh(h @ p['start']['kernel'] + p['start']['bias'])
  for label in said:
    pushed = p['embedding'][label] @ g['input'] + g['bias']
    r, u, n = np.split(pushed, 3)
    own_r, own_u, own_n = np.split(s @ g['state'], 3)
    r, u = sigmoid(r + own_r), sigmoid(u + own_u)
    s = (1 - u) * np.tanh(n + r * (own_n + g['state_bias'])) + u * s
  return h @ p['kernel'] + p['bias'] + p['readout'] @ s


def every_set(params, h, length, free):
  """{label set: probability} for one row, by walking every sequence."""
  rank = np.asarray(params['frozen']['rank'])
  found = {}

  def add(labels, p):
    key = tuple(sorted(labels))
    found[key] = found.get(key, 0.0) + p

  def walk(said, p):
    may = [j for j in range(len(rank)) if j not in said]
    if not free:
      may = [j for j in may if all(rank[j] > rank[i] for i in said)]
    z = scores_after(params, h, said)
    if len(said) == length:
      odds = np.exp(z[may] - z[-1])
      for bits in itertools.product([0, 1], repeat=len(may)):
        each = np.where(bits, odds, 1.0) / (1.0 + odds)
        more = [j for j, bit in zip(may, bits, strict=True) if bit]
        add([*said, *more], p * each.prod())
      return
    weights = np.exp(z[[*may, -1]])
    shares = weights / weights.sum()
    add(said, p * shares[-1])
    for label, share in zip(may, shares[:-1], strict=True):
      walk([*said, label], p * share)

  walk([], 1.0)
  return found


def exact_table(params, h, length, free):
  """[B, 2^L] by `every_set`."""
  table = np.zeros((len(h), 2**LABELS))
  for b, row in enumerate(np.float64(h)):
    for labels, p in every_set(params, row, length, free).items():
      table[b, sum(1 << j for j in labels)] = p
  return table


@pytest.mark.slow
@pytest.mark.parametrize('max_length', [0, 1, 2])
def test_p_is_that_of_the_only_sequence(max_length):
  head, params, _ = made(max_length=max_length)
  h = features(3)
  expected = exact_table(params, h, max_length or LABELS, free=False)
  np.testing.assert_allclose(expected.sum(-1), 1.0, rtol=1e-9)

  @quick_jit
  def ask(params, h):
    table = distribution.tabulate(head.log_prob, params, h, LABELS)
    return table, head.joint(params, h)

  for found in ask(params, h):
    np.testing.assert_allclose(np.exp(found), expected, atol=1e-6)


@pytest.mark.slow
def test_training_minimises_the_negative_log_likelihood():
  head, params, y = made()
  h = features(12)
  np.testing.assert_array_equal(
    head.objective(params, h, Batch(h, y), key=jax.random.key(0)),
    -head.log_prob(params, h, y),
  )


@pytest.mark.slow
@pytest.mark.parametrize('max_length', [0, 2])
def test_free_order(max_length):
  """exp(-objective) is unbiased for p(y | h), the sum over all orders."""
  n = 4000
  # Far from the start a few rare orders would hold most of the weight.
  head, params, y = made(
    scale=0.5,
    order='free',
    max_length=max_length,
    num_samples=n,
    beam_width=128,
  )
  assert head.log_prob is None
  rows = np.argsort(-np.asarray(y).sum(-1), kind='stable')[:5]
  h, y = features(12)[:5], y[rows]
  table = exact_table(params, h, max_length or LABELS, free=True)
  np.testing.assert_allclose(table.sum(-1), 1.0, rtol=1e-9)

  @quick_jit
  def ask(params, h, y):
    def one(key):
      return head.objective(params, h, Batch(h, y), key=key)

    keys = jax.random.split(jax.random.key(0), 2000)
    values = jax.lax.map(one, keys, batch_size=100)
    return values, head.marginals(params, h), head.mode(params, h)

  values, marginals, mode = ask(params, h, y)
  p = table[np.arange(5), distribution.code(y)]
  weights = np.exp(-np.float64(values))
  # Rows of one label have one order, and no spread at all.
  error = weights.std(0) / np.sqrt(len(weights)) + 1e-6
  assert (np.abs(weights.mean(0) - p) < 4.0 * error).all()
  assert (weights.std(0) > 1e-3 * p).any()
  assert (values.mean(0) >= -np.log(p) - 1e-5).all()
  exact = table @ np.asarray(distribution.label_vectors(LABELS))
  assert np.abs(marginals - exact).max() < 4.0 * 0.5 / np.sqrt(n)
  if max_length == 0:
    # The beam holds every sequence, so that what it adds up is p itself.
    np.testing.assert_array_equal(distribution.code(mode), table.argmax(-1))


@pytest.mark.slow
def test_the_order_is_that_of_frequency_among_what_is_known():
  head = label_sequence(3)
  y = jnp.asarray([[0, 1, 0], [0, 1, 1], [1, 1, 1], [1, 0, 0]], jnp.float32)
  h, init = features(4), quick_jit(head.init)

  def rank(**known):
    return init(jax.random.key(0), h, y, **known)['frozen']['rank'].tolist()

  assert rank() == [1, 0, 2]
  assert rank(weight=jnp.asarray([0.0, 0.0, 1.0, 1.0])) == [0, 1, 2]
  where = jnp.asarray([[0, 1, 1], [0, 1, 1], [1, 1, 1], [1, 1, 1]]) > 0
  assert rank(where=where) == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize('max_length', [0, 2])
def test_beyond_the_table(max_length, monkeypatch):
  monkeypatch.setattr(distribution, 'MAX_TABLE_LABELS', 0)
  n = 2000
  head, params, _ = made(max_length=max_length, num_samples=n, beam_width=16)
  assert head.joint is None
  assert head.exactness['marginals'] == 'estimated'
  assert head.exactness['mode'] == 'searched'
  h = features(20)

  @quick_jit
  def ask(params, h):
    table = distribution.tabulate(head.log_prob, params, h, LABELS)
    draws = head.sample(params, jax.random.key(1), h, n)
    return table, head.marginals(params, h), head.mode(params, h), draws

  table, marginals, mode, draws = ask(params, h)
  exact = distribution.table_marginals(table)
  assert np.abs(marginals - exact).max() < 4.0 * 0.5 / np.sqrt(n)
  # The average of probabilities beats that of as many draws.
  error = np.square(marginals - exact).mean()
  assert error < np.square(draws.mean(0) - exact).mean()
  np.testing.assert_array_equal(mode, distribution.table_mode(table))


@pytest.mark.slow
def test_one_label():
  head, params, _ = made(1, card=0.5)
  h = features(5)
  z = np.stack([scores_after(params, row, []) for row in np.float64(h)])
  expected = sigmoid(z[:, 0] - z[:, 1])
  marginals = quick_jit(head.marginals)(params, h)
  np.testing.assert_allclose(marginals[:, 0], expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('order', ['frequency', 'free'])
@pytest.mark.parametrize('num_labels', [174, 983])
def test_many_labels(num_labels, order):
  head, params, _ = made(
    num_labels, order=order, max_length=10, num_samples=8, beam_width=3
  )
  rng = np.random.default_rng(3)
  # Rows of more labels than steps are among them.
  y = jnp.asarray(rng.random((8, num_labels)) < 12 / num_labels, jnp.float32)
  assert (y.sum(-1) > 10).any() and (y.sum(-1) < 10).any()
  h = features(8)

  @quick_jit
  def ask(params, h, y):
    trained, frozen = numerics.split_frozen(params)

    def loss(trained):
      params = numerics.merge_frozen(trained, frozen)
      return jnp.mean(head.objective(params, h, Batch(h, y)))

    mode, greedy = head.mode(params, h), head.greedy(params, h)
    scores = None
    if head.log_prob is not None:
      scores = [head.log_prob(params, h, one) for one in (mode, greedy)]
    return jax.grad(loss)(trained), mode, scores, head.marginals(params, h)

  gradient, mode, scores, marginals = ask(params, h, y)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
  assert set(np.unique(mode)) <= {0.0, 1.0}
  assert ((marginals >= 0) & (marginals <= 1 + 1e-6)).all()
  if scores is not None:
    assert (scores[0] >= scores[1] - 1e-3).all()


@pytest.mark.slow
@pytest.mark.parametrize('order', ['frequency', 'free'])
def test_it_learns_that_just_one_pair_is_there(order):
  """Labels 2i and 2i + 1 and no others, i of 3: log 3 nats.

  Binary relevance cannot do with less than 6 H(1/3) = 3.8.
  """
  head = label_sequence(6, order=order, width=8)
  pair = np.random.default_rng(0).integers(3, size=255)
  y = jnp.asarray(np.repeat(np.eye(3)[pair], 2, axis=1), jnp.float32)
  h = jnp.ones((255, 1))
  trained, frozen = numerics.split_frozen(head.init(jax.random.key(0), h, y))
  optimizer = optax.adam(0.03)

  def loss(trained, key):
    params = numerics.merge_frozen(trained, frozen)
    return jnp.mean(head.objective(params, h, Batch(h, y), key=key))

  def update(carry, key):
    trained, state = carry
    value, gradient = jax.value_and_grad(loss)(trained, key)
    step, state = optimizer.update(gradient, state)
    return (optax.apply_updates(trained, step), state), value

  @jax.jit
  def fit(trained):
    start = trained, optimizer.init(trained)
    keys = jax.random.split(jax.random.key(1), 300)
    return jax.lax.scan(update, start, keys)[1]

  values = fit(trained)
  assert values[0] > 3.0
  assert np.log(3) - 0.02 < values[-1] < 1.2 * np.log(3)


def test_unknown_labels_are_refused():
  head, params, y = made()
  h = features(12)
  with pytest.raises(ValueError, match='every label'):
    head.objective(params, h, Batch(h, y, where=y > 0))


@pytest.mark.parametrize(
  'options',
  [
    {'order': 'random'},
    {'max_length': -1},
    {'width': 0},
    {'num_samples': 0},
    {'beam_width': 0},
  ],
)
def test_options_that_make_no_sense_are_refused(options):
  (name, value), *_ = options.items()
  with pytest.raises(ValueError, match=f'{name}={value!r}.*takes'):
    inspect.unwrap(label_sequence)(3, **options)
