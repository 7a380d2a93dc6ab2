"""The graph against a count written from the paper, and what it passes on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlc.heads.binary_relevance import binary_relevance
from mlc.heads.label_graph import label_graph

quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)
DIM = 3
GRAPHS = ('cooccurrence', 'learned', 'none')


def rows(n, num_labels, p=0.4, seed=0):
  rng = np.random.default_rng(seed)
  h = rng.normal(size=(n, DIM)).astype(np.float32)
  y = (rng.random((n, num_labels)) < p).astype(np.float32)
  return jnp.asarray(h), jnp.asarray(y)


def started(head, h, y, **kwargs):
  return quick_jit(head.init)(jax.random.key(0), h, y, **kwargs)


def adjacency_of_the_paper(y, tau, p, where=None, weight=None):
  """Row after row, label after label: eqs. 6, 7 and 8."""
  y = np.asarray(y, np.float64)
  n, num_labels = y.shape
  where = np.ones(y.shape, bool) if where is None else where
  weight = np.ones(n) if weight is None else weight
  result = np.eye(num_labels)
  for i in range(num_labels):
    edges = []
    for j in range(num_labels):
      both = [b for b in range(n) if where[b, i] and where[b, j]]
      seen = sum(weight[b] for b in both if y[b, i] == 1)
      together = sum(weight[b] for b in both if y[b, i] == 1 == y[b, j])
      if i != j and seen > 0 and together / seen >= tau:
        edges.append(j)
    if edges:
      result[i, i] = 1 - p
      result[i, edges] = p / len(edges)
  return result


@pytest.mark.parametrize('known', ['all', 'some'])
def test_adjacency(known):
  h, y = rows(25, 6)
  options = {}
  if known == 'some':
    rng = np.random.default_rng(3)
    options = {
      'where': rng.random(y.shape) < 0.8,
      'weight': rng.integers(0, 3, 25).astype(np.float32),
    }
  head = label_graph(6, threshold=0.41, reweight=0.3)
  found = started(head, h, y, **jax.tree.map(jnp.asarray, options))
  expected = adjacency_of_the_paper(y, 0.41, 0.3, **options)
  adjacency = np.asarray(found['frozen']['adjacency'])
  np.testing.assert_allclose(adjacency, expected, atol=1e-6)
  # Or the test would not tell P(y_j | y_i) from P(y_i | y_j).
  assert ((expected > 0) != (expected > 0).T).any()


def test_a_share_equal_to_the_threshold_is_an_edge():
  y = jnp.asarray([[1, 1, 0], [1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 0, 1]])
  head = label_graph(3, threshold=0.4, reweight=0.2)
  params = started(head, jnp.ones((5, DIM)), y.astype(jnp.float32))
  expected = [[0.8, 0.2, 0.0], [0.2, 0.8, 0.0], [0.2, 0.0, 0.8]]
  np.testing.assert_allclose(
    params['frozen']['adjacency'], np.float32(expected), rtol=1e-6
  )


def logits_by_hand(params, a, h):
  z = np.asarray(params['embedding'])
  layers = params['layers']
  z = a @ z @ np.asarray(layers['kernel_0'])
  z = np.where(z > 0, z, 0.2 * z)
  c = a @ z @ np.asarray(layers['kernel_1'])
  return np.asarray(h) @ c.T / np.sqrt(DIM) + np.asarray(params['bias'])


@pytest.mark.slow
@pytest.mark.parametrize('graph', GRAPHS)
def test_logits(graph):
  h, y = rows(25, 6)
  head = label_graph(6, graph=graph, width=4)
  params = started(head, h, y)
  params['bias'] = jnp.arange(6.0)
  a = np.eye(6)
  if graph == 'cooccurrence':
    a = adjacency_of_the_paper(y, 0.4, 0.2)
  if graph == 'learned':
    score = np.exp(np.asarray(params['source'] @ params['target'].T) / 2.0)
    score *= 1 - a
    a = 0.8 * a + 0.2 * score / score.sum(1, keepdims=True)
  np.testing.assert_allclose(
    quick_jit(head.logits)(params, h),
    logits_by_hand(params, a, h),
    rtol=1e-4,
    atol=1e-5,
  )


@pytest.mark.slow
@pytest.mark.parametrize('depth', [1, 2])
def test_a_label_reads_those_that_depth_edges_lead_to(depth):
  """The chain 0 -> 1 -> 2 and label 3 alone."""
  y = [[1, 1, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 1, 0]]
  y = jnp.asarray([*y, *([[0, 0, 1, 1], [0, 0, 0, 1]] * 4)], jnp.float32)
  h = jnp.ones((len(y), DIM))
  head = label_graph(4, threshold=0.55, width=5, depth=depth)
  params = started(head, h, y)

  def logits(embedding):
    return head.logits({**params, 'embedding': embedding}, h)[0]

  jacobian = quick_jit(jax.jacobian(logits))(params['embedding'])
  reads = np.abs(np.asarray(jacobian)).max(-1) > 1e-6
  edges = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
  np.testing.assert_array_equal(reads, np.linalg.matrix_power(edges, depth) > 0)


@pytest.mark.slow
@pytest.mark.parametrize('graph', GRAPHS)
def test_labels_in_another_order_give_the_same_in_that_order(graph):
  h, y = rows(25, 5)
  order = np.array([3, 0, 4, 1, 2])
  head = label_graph(5, graph=graph, width=4)
  params, other = started(head, h, y), started(head, h, y[:, order])
  for name in {'embedding', 'bias', 'source', 'target'} & params.keys():
    other[name] = params[name][order]
  other['layers'] = params['layers']
  logits = quick_jit(head.logits)
  np.testing.assert_allclose(
    logits(other, h), logits(params, h)[:, order], rtol=1e-5, atol=1e-6
  )


@pytest.mark.slow
@pytest.mark.parametrize('num_labels', [1, 983])
@pytest.mark.parametrize('graph', ['cooccurrence', 'learned'])
def test_no_labels_seen(graph, num_labels):
  h = jnp.ones((4, DIM))
  head = label_graph(num_labels, graph=graph, width=4)
  y = jnp.zeros((4, num_labels))
  params = started(head, h, y)
  nll, gradient = quick_jit(
    jax.value_and_grad(
      lambda trained: -head.log_prob({**params, **trained}, h, y).sum()
    )
  )({k: v for k, v in params.items() if k != 'frozen'})
  assert np.isfinite(nll)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
  if graph == 'cooccurrence':
    np.testing.assert_array_equal(
      params['frozen']['adjacency'], np.eye(num_labels)
    )


def pairs_of_labels(n, num_pairs=6, dim=20, seed=0):
  """Labels 2k and 2k + 1 nearly the same; the odd ones are mostly unknown."""
  rng = np.random.default_rng(seed)
  w = np.random.default_rng(99).normal(size=(dim, num_pairs))
  h = rng.normal(size=(n, dim))
  even = h @ w + rng.logistic(size=(n, num_pairs)) > 0
  odd = even ^ (rng.random(even.shape) < 0.05)
  y = np.stack([even, odd], axis=-1).reshape(n, -1)
  where = np.ones(y.shape, bool)
  where[:, 1::2] = rng.random(even.shape) < 0.15
  return [jnp.asarray(a) for a in (h.astype('f'), y.astype('f'), where)]


def held_out_nll(head):
  """Of the labels that are mostly unknown, at the best of 150 steps."""
  h, y, where = pairs_of_labels(150)
  test_h, test_y, _ = pairs_of_labels(500, seed=1)
  params = started(head, h, y, where=where)
  frozen = params.pop('frozen', {})
  optimizer = optax.adam(0.01)

  def terms(params, h, y):
    logits = head.logits({**params, 'frozen': frozen}, h)
    return optax.sigmoid_binary_cross_entropy(logits, y)

  def loss(params):
    return jnp.mean(terms(params, h, y) * where)

  def step(state, _):
    params, moments = state
    updates, moments = optimizer.update(jax.grad(loss)(params), moments)
    held_out = jnp.mean(terms(params, test_h, test_y)[:, 1::2])
    return (optax.apply_updates(params, updates), moments), held_out

  def fit(params):
    state = params, optimizer.init(params)
    return jnp.min(jax.lax.scan(step, state, None, length=150)[1])

  return float(quick_jit(fit)(params))


@pytest.mark.slow
def test_the_graph_helps_labels_that_are_rarely_known():
  """Through it they read the classifiers of their twins."""
  graph = label_graph(12, reweight=0.5, width=32, threshold=0.8)
  with_graph = held_out_nll(graph)
  assert with_graph < 0.9 * held_out_nll(binary_relevance(12))
  none = label_graph(12, graph='none', width=32)
  assert with_graph < 0.9 * held_out_nll(none)


@pytest.mark.parametrize(
  'options',
  [{'threshold': 1.5}, {'reweight': -0.1}, {'width': 0}, {'depth': 0}],
)
def test_options_that_make_no_sense_are_refused(options):
  with pytest.raises(ValueError, match=f'{next(iter(options))}='):
    label_graph(4, **options)
