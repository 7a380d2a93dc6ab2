"""The principal directions against NumPy's SVD, and what they are good for."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlc.heads.binary_relevance import binary_relevance
from mlc.heads.low_rank import low_rank, searched_directions

quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)
DIM = 5


def rows(n, num_labels, seed=0, topics=2):
  """Labels that follow a few topics, which h shows, and noise."""
  rng = np.random.default_rng(seed)
  weights = np.random.default_rng(99)
  loadings = 2 * weights.normal(size=(topics, num_labels))
  h = rng.normal(size=(n, DIM)).astype(np.float32)
  chance = 1 / (1 + np.exp(-h[:, :topics] @ loadings))
  y = (rng.random(chance.shape) < chance).astype(np.float32)
  return jnp.asarray(h), jnp.asarray(y)


def started(head, h, y, **kwargs):
  return quick_jit(head.init)(jax.random.key(0), h, y, **kwargs)


def same_span(a, b):
  np.testing.assert_allclose(a @ a.T, b @ b.T, atol=2e-4)


def test_the_basis_is_that_of_numpys_svd():
  h, y = rows(60, 30)
  params = started(low_rank(30, rank=2, basis='svd'), h, y)
  _, _, expected = np.linalg.svd(np.asarray(y) - np.asarray(y).mean(0))
  v = np.asarray(params['frozen']['basis']) * (2 / 30) ** 0.5
  # One by one, not only their span: the first is the largest. Signs are free.
  np.testing.assert_allclose(
    np.abs(np.sum(v.T * expected[:2], axis=1)), 1.0, atol=1e-5
  )


def test_weights_and_known_labels_shape_the_basis():
  h, y = rows(40, 6)
  rng = np.random.default_rng(1)
  weight = rng.integers(0, 3, size=40)
  where = rng.random(y.shape) < 0.8
  params = started(
    low_rank(6, rank=2),
    h,
    y,
    where=jnp.asarray(where),
    weight=jnp.asarray(weight, jnp.float32),
  )
  # A row of weight 2 is one that stands twice.
  y, where = (np.repeat(np.asarray(a), weight, axis=0) for a in (y, where))
  mean = (y * where).sum(0) / where.sum(0)
  _, _, expected = np.linalg.svd(np.where(where, y - mean, 0.0))
  same_span(np.asarray(params['basis']) * (2 / 6) ** 0.5, expected[:2].T)
  frequency = ((y * where).sum(0) + 0.5) / (where.sum(0) + 1)
  np.testing.assert_allclose(
    jax.nn.sigmoid(params['bias']), frequency, rtol=1e-5
  )


def test_the_randomised_search_loses_little():
  """No gap in the spectrum: the hard case."""
  y = (np.random.default_rng(0).random((500, 174)) < 0.1).astype(np.float32)
  y -= y.mean(0)
  find = quick_jit(functools.partial(searched_directions, rank=16))
  v = np.asarray(find(jax.random.key(0), jnp.asarray(y)))
  np.testing.assert_allclose(v.T @ v, np.eye(16), atol=1e-5)
  best = (np.linalg.svd(y, compute_uv=False)[:16] ** 2).sum()
  assert 0.97 * best < ((y @ v) ** 2).sum() <= best * (1 + 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('num_labels', [1, 3, 983, 1600])
def test_no_labels_seen_leaves_an_orthogonal_basis(num_labels):
  h = jnp.ones((4, DIM))
  head = low_rank(num_labels, rank=2)
  params = started(head, h, jnp.zeros((4, num_labels)))
  v = params['basis']
  size = min(2, num_labels)
  assert v.shape == (num_labels, size)
  np.testing.assert_allclose(
    v.T @ v, np.eye(size) * num_labels / size, rtol=1e-5, atol=1e-4
  )


@pytest.mark.slow
def test_the_logits_span_rank_dimensions():
  h, y = rows(30, 20)
  head = low_rank(20, rank=3)
  params = started(head, h, y)
  params['bias'] = jnp.arange(20.0)
  jacobian = jax.jacobian(lambda x: head.logits(params, x[None])[0])(h[0])
  assert np.linalg.matrix_rank(np.asarray(jacobian), tol=1e-4) == 3
  np.testing.assert_allclose(
    head.logits(params, jnp.zeros((1, DIM)))[0], params['bias']
  )
  assert sum(p.size for p in jax.tree.leaves(params)) == (DIM + 20) * 3 + 20


@pytest.mark.slow
def test_it_starts_at_the_size_of_binary_relevance():
  h, y = rows(400, 40)
  sizes = []
  for head in (low_rank(40), binary_relevance(40)):
    params = {**started(head, h, y), 'bias': jnp.zeros(40)}
    sizes.append(float(jnp.std(head.logits(params, h))))
  assert 0.5 < sizes[0] / sizes[1] < 2.0


def held_out_nll(head, train, test, steps=300):
  optimizer = optax.adam(0.03)
  params = started(head, *train)

  def loss(params, h, y):
    return -jnp.mean(head.log_prob(params, h, y))

  def step(state, _):
    params, moments = state
    updates, moments = optimizer.update(jax.grad(loss)(params, *train), moments)
    return (optax.apply_updates(params, updates), moments), None

  def fit(params):
    state = params, optimizer.init(params)
    (params, _), _ = jax.lax.scan(step, state, None, length=steps)
    return loss(params, *test)

  return float(quick_jit(fit)(params))


@pytest.mark.slow
def test_few_rows_and_shared_topics_favour_it():
  train, test = rows(40, 60), rows(500, 60, seed=1)
  nll = held_out_nll(binary_relevance(60), train, test)
  assert held_out_nll(low_rank(60, rank=2), train, test) < 0.9 * nll


def test_a_rank_of_zero_is_refused():
  with pytest.raises(ValueError, match='rank=0'):
    low_rank(4, rank=0)
