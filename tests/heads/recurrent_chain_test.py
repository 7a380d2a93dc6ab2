"""The chain of a recurrent network against a loop in numpy."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlc import distribution, numerics
from mlc.heads.binary_relevance import binary_relevance
from mlc.heads.recurrent_chain import recurrent_chain

DIM = 3
quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


def features(rows, seed=1):
  rng = np.random.default_rng(seed)
  return jnp.asarray(rng.normal(size=(rows, DIM)), jnp.float32)


def labels(rows, num_labels, seed=2):
  rng = np.random.default_rng(seed)
  return jnp.asarray(rng.random((rows, num_labels)) < 0.5, jnp.float32)


def made(num_labels, **options):
  """A chain in a drawn order, with parameters far from their start."""
  head = recurrent_chain(
    num_labels, **{'order': 'random', 'width': 4, **options}
  )
  h = features(2)
  params = quick_jit(head.init)(jax.random.key(5), h, labels(2, num_labels))
  rng = np.random.default_rng(0)
  trained, frozen = numerics.split_frozen(params)
  trained = jax.tree.map(
    lambda p: p + 1.5 * rng.normal(size=p.shape).astype(np.float32), trained
  )
  return head, numerics.merge_frozen(trained, frozen)


def sigmoid(z):
  return 1.0 / (1.0 + np.exp(-z))


def paper_logits(params, h, y):
  """One row, label after label, in float64."""
  p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
  width, g = p['readout'].shape[1], p['gru']
  s = np.tanh(h @ p['start']['kernel'] + p['start']['bias'])
  z = np.zeros(len(y))
  for j in np.argsort(p['frozen']['rank']):
    z[j] = h @ p['kernel'][:, j] + p['bias'][j] + p['readout'][j] @ s
    pushed = p['embedding'][j, int(y[j])] @ g['input'] + g['bias']
    r, u, n = np.split(pushed, 3)
    own_r, own_u, own_n = np.split(s @ g['state'], 3)
    r, u = sigmoid(r + own_r), sigmoid(u + own_u)
    s = (1 - u) * np.tanh(n + r * (own_n + g['state_bias'])) + u * s
  assert width == len(s)
  return z


@pytest.mark.slow
def test_logits_are_those_of_the_formula():
  head, params = made(6)
  h, y = features(4), labels(4, 6)
  found = quick_jit(head.logits)(params, h, y)
  for b in range(4):
    expected = paper_logits(params, np.float64(h[b]), y[b])
    np.testing.assert_allclose(found[b], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_label_hears_only_the_labels_before_it():
  head, params = made(7)
  h = features(1)
  heard = quick_jit(jax.jacobian(lambda y: head.logits(params, h, y[None])[0]))
  rank = np.asarray(params['frozen']['rank'])
  assert (rank != np.arange(7)).any()
  np.testing.assert_array_equal(
    (np.asarray(heard(jnp.full(7, 0.5))) != 0).T, rank[:, None] < rank[None, :]
  )


@pytest.mark.slow
def test_it_starts_as_binary_relevance():
  head, independent = recurrent_chain(5), binary_relevance(5)
  h, y = features(6), labels(6, 5)
  params = quick_jit(head.init)(jax.random.key(0), h, y)
  np.testing.assert_allclose(
    quick_jit(head.log_prob)(params, h, y),
    quick_jit(independent.log_prob)(params, h, y),
    rtol=1e-5,
  )


@pytest.mark.slow
def test_scheduled_sampling():
  """All labels its own: the true ones are not read. None, or no key: all."""
  h, zeros, ones = features(4), jnp.zeros((4, 6)), jnp.ones((4, 6))
  key = jax.random.key(0)
  truth, params = made(6)
  always, _ = made(6, scheduled_sampling=1.0)
  forced, own = quick_jit(truth.logits), quick_jit(always.logits)
  np.testing.assert_array_equal(
    own(params, h, zeros, key=key), own(params, h, ones, key=key)
  )
  drawn = [own(params, h, ones, key=jax.random.key(s)) for s in range(2)]
  assert (drawn[0] != drawn[1]).any()
  expected = forced(params, h, ones)
  np.testing.assert_array_equal(forced(params, h, ones, key=key), expected)
  np.testing.assert_allclose(own(params, h, ones), expected, rtol=1e-6)
  assert (expected != forced(params, h, zeros)).any()


@pytest.fixture
def no_tables(monkeypatch):
  """Lets a chain of few labels, that can be enumerated, act as a long one."""
  monkeypatch.setattr(distribution, 'MAX_TABLE_LABELS', 0)


@pytest.mark.slow
def test_beyond_the_table(no_tables):
  n = 1000
  head, params = made(6, num_samples=n, beam_width=32)
  assert head.joint is None
  assert head.exactness['marginals'] == 'estimated'
  assert head.exactness['mode'] == 'searched'
  h = features(30)

  @quick_jit
  def ask(params, h):
    table = distribution.tabulate(head.log_prob, params, h, 6)
    return table, head.marginals(params, h), head.mode(params, h)

  table, marginals, mode = ask(params, h)
  exact = distribution.table_marginals(table)
  assert np.abs(marginals - exact).max() < 4.0 * 0.5 / np.sqrt(n)
  np.testing.assert_array_equal(mode, distribution.table_mode(table))


@pytest.mark.slow
def test_greedy_follows_its_own_decisions():
  head, params = made(6)
  h = features(20)
  y = quick_jit(head.greedy)(params, h)
  for b in range(20):
    z = paper_logits(params, np.float64(h[b]), y[b])
    np.testing.assert_array_equal(y[b], z > 0)


@pytest.mark.slow
@pytest.mark.parametrize('num_labels', [1, 16])
def test_the_table_is_that_of_log_prob(num_labels):
  """At both ends of what is enumerated; between them, see the contract."""
  head, params = made(num_labels)
  h = features(3)
  joint = quick_jit(head.joint)(params, h)
  np.testing.assert_allclose(np.exp(joint).sum(-1), 1.0, rtol=1e-4)
  y = labels(3, num_labels)
  found = joint[jnp.arange(3), distribution.code(y)]
  expected = quick_jit(head.log_prob)(params, h, y)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('num_labels', [174, 983])
def test_many_labels(num_labels):
  head, params = made(num_labels, num_samples=8, beam_width=3)
  h, y = features(8), labels(8, num_labels)

  @quick_jit
  def ask(params, h, y):
    trained, frozen = numerics.split_frozen(params)

    def loss(trained):
      params = numerics.merge_frozen(trained, frozen)
      return -jnp.mean(head.log_prob(params, h, y))

    mode, greedy = head.mode(params, h), head.greedy(params, h)
    scores = [head.log_prob(params, h, one) for one in (mode, greedy)]
    return jax.grad(loss)(trained), scores, head.marginals(params, h)

  gradient, (mode, greedy), marginals = ask(params, h, y)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
  assert (mode >= greedy - 1e-3).all() and (mode > greedy + 1e-2).any()
  assert ((marginals > 0) & (marginals < 1)).all()


@pytest.mark.slow
def test_it_learns_an_exclusive_or():
  """y_3 = y_1 xor y_2: two bits, three for any product, and linear links."""
  head = recurrent_chain(3, width=8)
  y = labels(256, 2)
  y = jnp.concatenate([y, jnp.abs(y[:, :1] - y[:, 1:])], axis=1)
  h = jnp.ones((256, 1))
  trained, frozen = numerics.split_frozen(head.init(jax.random.key(0), h, y))
  optimizer = optax.adam(0.03)

  def loss(trained):
    params = numerics.merge_frozen(trained, frozen)
    return -jnp.mean(head.log_prob(params, h, y))

  def update(carry, _):
    trained, state = carry
    value, gradient = jax.value_and_grad(loss)(trained)
    step, state = optimizer.update(gradient, state)
    return (optax.apply_updates(trained, step), state), value

  @jax.jit
  def fit(trained):
    start = trained, optimizer.init(trained)
    return jax.lax.scan(update, start, None, length=300)[1]

  values = fit(trained)
  assert values[0] > 2.9 * np.log(2)
  assert values[-1] < 2.1 * np.log(2)


@pytest.mark.parametrize(
  'options',
  [
    {'order': 'reverse'},
    {'scheduled_sampling': 1.5},
    {'width': 0},
    {'num_samples': 0},
    {'beam_width': 0},
  ],
)
def test_options_that_make_no_sense_are_refused(options):
  (name, value), *_ = options.items()
  with pytest.raises(ValueError, match=f'{name}={value!r}.*takes'):
    inspect.unwrap(recurrent_chain)(3, **options)
