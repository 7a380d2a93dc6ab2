"""The decoder written out in NumPy, and who can read what through it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlc.heads.binary_relevance import binary_relevance
from mlc.heads.label_query import label_query

quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)
DIM, ROWS = 5, 3


def made(num_labels=4, shape=(ROWS, DIM), **options):
  """A head with parameters far from their start."""
  head = label_query(num_labels, **{'width': 8, 'heads': 2, **options})
  rng = np.random.default_rng(0)
  h = jnp.asarray(rng.normal(size=shape), jnp.float32)
  y = jnp.zeros((len(h), num_labels))
  params = jax.tree.map(
    lambda p: p + rng.normal(size=p.shape).astype(np.float32),
    quick_jit(head.init)(jax.random.key(0), h, y),
  )
  return head, params, h


def logits_by_hand(params, h, tokens, group_size):
  """One row, one query, one head of the attention after another."""
  p = jax.tree.map(np.asarray, params)

  def dense(name, x):
    return x @ p[name]['kernel'] + p[name]['bias']

  def norm(name, x):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(
      x.var(-1, keepdims=True) + 1e-6
    )
    return x * p[name]['scale'] + p[name]['bias']

  def attend(name, x, to):
    w = p[name]
    result = w['out']['bias']
    for m in range(w['query']['kernel'].shape[1]):
      q, k, v = (
        at @ w[part]['kernel'][:, m] + w[part]['bias'][m]
        for at, part in ((x, 'query'), (to, 'key'), (to, 'value'))
      )
      score = np.exp(q @ k.T / np.sqrt(q.shape[-1]))
      score /= score.sum(-1, keepdims=True)
      result = result + score @ v @ w['out']['kernel'][m]
    return result

  rows = []
  for h_b in np.asarray(h):
    f = dense('input', h_b).reshape(tokens, -1)
    q = p['query']
    for t in range(2):
      x = norm(f'norm_{t}_0', q)
      q = q + attend(f'among_{t}', x, x)
      q = q + attend(f'across_{t}', norm(f'norm_{t}_1', q), f)
      x = dense(f'wide_{t}', norm(f'norm_{t}_2', q))
      q = q + dense(f'narrow_{t}', np.maximum(x, 0))
    q = norm('norm', q)
    row = [
      q[j // group_size] @ p['readout'][j // group_size, :, j % group_size]
      for j in range(len(p['bias']))
    ]
    rows.append(row + p['bias'])
  return np.stack(rows)


@pytest.mark.slow
@pytest.mark.parametrize(('groups', 'group_size'), [(0, 1), (3, 2)])
def test_logits(groups, group_size):
  head, params, h = made(5, groups=groups, tokens=3, depth=2)
  expected = logits_by_hand(params, h, 3, group_size)
  np.testing.assert_allclose(
    quick_jit(head.logits)(params, h), expected, rtol=1e-4, atol=1e-4
  )


@pytest.mark.parametrize(
  ('num_labels', 'groups', 'expected'),
  [(5, 0, (5, 1)), (5, 3, (3, 2)), (10, 6, (5, 2)), (4, 9, (4, 1))],
)
def test_labels_are_shared_out_among_at_most_that_many_queries(
  num_labels, groups, expected
):
  head = label_query(num_labels, groups=groups)
  shapes = jax.eval_shape(
    head.init, jax.random.key(0), jnp.ones((1, 2)), jnp.ones((1, num_labels))
  )
  queries, _, group_size = shapes['readout'].shape
  assert (queries, group_size) == expected


@pytest.mark.slow
def test_labels_in_another_order_give_the_same_in_that_order():
  head, params, h = made(5, depth=2)
  order = np.array([3, 0, 4, 1, 2])
  other = dict(params)
  for name in ('query', 'readout', 'bias'):
    other[name] = params[name][order]
  logits = quick_jit(head.logits)
  np.testing.assert_allclose(
    logits(other, h), logits(params, h)[:, order], rtol=1e-4, atol=1e-4
  )


@pytest.mark.slow
@pytest.mark.parametrize('self_attention', [True, False])
@pytest.mark.parametrize('groups', [0, 2])
def test_queries_read_each_other_by_self_attention_only(self_attention, groups):
  head, params, h = made(groups=groups, self_attention=self_attention)

  def logits(query):
    return head.logits({**params, 'query': query}, h)[0]

  jacobian = quick_jit(jax.jacobian(logits))(params['query'])
  reads = (jnp.abs(jacobian).max(-1) > 1e-6).astype(int)
  own = np.repeat(np.eye(groups or 4, dtype=int), 2 if groups else 1, axis=0)
  np.testing.assert_array_equal(
    reads, np.ones_like(own) if self_attention else own
  )


@pytest.mark.slow
def test_an_encoders_own_tokens_are_a_set():
  head, params, h = made(shape=(ROWS, 6, DIM))
  logits = quick_jit(head.logits)
  expected = logits(params, h)
  assert expected.shape == (ROWS, 4)
  np.testing.assert_allclose(
    logits(params, h[:, ::-1]), expected, rtol=1e-4, atol=1e-5
  )
  # Each of them is looked at; near 0, where the attention does not saturate.
  gradient = quick_jit(jax.grad(lambda h: head.logits(params, h).sum()))(
    0.01 * h
  )
  assert (jnp.abs(gradient).max(-1) > 1e-6).all()


@pytest.mark.slow
def test_dropout_needs_a_key():
  head, params, h = made(dropout=0.5)
  logits = quick_jit(head.logits)
  calm = logits(params, h)
  one, two = (logits(params, h, key=jax.random.key(s)) for s in (0, 1))
  assert (one != calm).any() and (one != two).any()
  np.testing.assert_array_equal(one, logits(params, h, key=jax.random.key(0)))
  # Rows are dropped apart from each other.
  same = jnp.broadcast_to(h[:1], h.shape)
  rows = logits(params, same, key=jax.random.key(0))
  assert (rows[0] != rows[1]).any()


@pytest.mark.slow
@pytest.mark.parametrize(('num_labels', 'groups'), [(1, 0), (983, 50)])
def test_from_one_label_to_many(num_labels, groups):
  head, params, h = made(num_labels, groups=groups)
  y = jnp.ones((ROWS, num_labels))
  value, gradient = quick_jit(
    jax.value_and_grad(lambda p: -head.log_prob(p, h, y).sum())
  )(params)
  assert np.isfinite(value)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def switched(n, num_labels=6, seed=0):
  """The sign of the first feature says which other one a label is about."""
  rng = np.random.default_rng(seed)
  h = rng.normal(size=(n, 1 + 2 * num_labels)).astype(np.float32)
  asked = np.where(h[:, :1] > 0, h[:, 1::2], h[:, 2::2])
  return jnp.asarray(h), jnp.asarray(asked > 0, jnp.float32)


def held_out_nll(head, steps=300):
  """After 15 passes over 2,000 rows."""
  train, test = switched(2000), switched(500, seed=1)
  optimizer = optax.adam(0.01)
  params = quick_jit(head.init)(jax.random.key(0), *train)

  def loss(params, h, y):
    return -jnp.mean(head.log_prob(params, h, y))

  def step(state, t):
    params, moments = state
    rows = [jax.lax.dynamic_slice_in_dim(a, t % 20 * 100, 100) for a in train]
    updates, moments = optimizer.update(jax.grad(loss)(params, *rows), moments)
    return (optax.apply_updates(params, updates), moments), None

  def fit(params):
    state = params, optimizer.init(params)
    (params, _), _ = jax.lax.scan(step, state, jnp.arange(steps))
    return loss(params, *test)

  return float(quick_jit(fit)(params))


@pytest.mark.slow
def test_it_learns_which_feature_to_look_at():
  """What no linear logit can; the labels are independent given h."""
  query = label_query(6, width=16, heads=2, tokens=4, dropout=0.0)
  assert held_out_nll(query) < 0.7 * held_out_nll(binary_relevance(6))


@pytest.mark.parametrize(
  'options',
  [{'width': 6, 'heads': 4}, {'tokens': 0}, {'depth': 0}, {'dropout': 1.0}],
)
def test_options_that_make_no_sense_are_refused(options):
  with pytest.raises(ValueError, match=f'{next(iter(options))}='):
    label_query(4, **options)
