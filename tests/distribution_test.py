"""Tables, products and samples against sums over label vectors."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from mlc import distribution

LABELS = [1, 2, 5]
quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


def vectors_of(num_labels):
  """Every label vector, label 0 changing fastest."""
  return [v[::-1] for v in itertools.product([0, 1], repeat=num_labels)]


def random_table(num_labels, rows=4, seed=0, impossible=0.2):
  """log p of every vector, a share of them impossible; and p in float64."""
  rng = np.random.default_rng(seed)
  p = rng.gamma(0.3, size=(rows, 2**num_labels)) + 1e-6
  p[rng.random(p.shape) < impossible] = 0.0
  p[:, 0] += 1e-3
  p /= p.sum(-1, keepdims=True)
  with np.errstate(divide='ignore'):
    return jnp.asarray(np.log(p), jnp.float32), p


def independent(marginals):
  """p of every vector of independent labels, by multiplication."""
  vectors = np.array(vectors_of(marginals.shape[-1]))
  factors = np.where(
    vectors, marginals[..., None, :], 1 - marginals[..., None, :]
  )
  return factors.prod(-1)


def cardinality_marginals(p):
  """P(y_j = 1, |y| = s) from p of every vector, entry after entry."""
  num_labels = int(np.log2(p.shape[-1]))
  total = np.zeros((*p.shape[:-1], num_labels, num_labels))
  for c, y in enumerate(vectors_of(num_labels)):
    for j in np.flatnonzero(y):
      total[..., j, sum(y) - 1] += p[..., c]
  return total


@pytest.mark.parametrize('num_labels', LABELS)
def test_vectors_and_codes(num_labels):
  vectors = distribution.label_vectors(num_labels)
  np.testing.assert_array_equal(vectors, vectors_of(num_labels))
  codes = distribution.code(vectors)
  np.testing.assert_array_equal(codes, np.arange(2**num_labels))
  batched = distribution.code(vectors[:, None, :])
  np.testing.assert_array_equal(batched[:, 0], codes)


@pytest.mark.parametrize('num_labels', LABELS)
def test_table_marginals_and_mode(num_labels):
  log_joint, p = random_table(num_labels)
  assert distribution.num_labels_of(log_joint) == num_labels
  vectors = np.array(vectors_of(num_labels))
  np.testing.assert_allclose(
    distribution.table_marginals(log_joint), p @ vectors, atol=1e-6
  )
  np.testing.assert_array_equal(
    distribution.table_mode(log_joint), vectors[p.argmax(-1)]
  )


@pytest.mark.parametrize('num_labels', LABELS)
def test_table_pairs_and_their_information(num_labels):
  log_joint, p = random_table(num_labels)
  vectors = np.array(vectors_of(num_labels))
  both = np.einsum('bv,vj,vk->bjk', p, vectors, vectors)
  found = quick_jit(distribution.table_pairs)(log_joint)
  np.testing.assert_allclose(found, both, atol=1e-6)
  expected = [
    sum(
      cell * np.log(cell / (one * other))
      for a, b in itertools.product((0, 1), repeat=2)
      for at in [(vectors[:, j] == a, vectors[:, k] == b)]
      for cell, one, other in [
        (row[at[0] & at[1]].sum(), row[at[0]].sum(), row[at[1]].sum())
      ]
      if cell > 0
    )
    for row in p
    for j, k in itertools.combinations(range(num_labels), 2)
  ]
  information = quick_jit(distribution.table_information)(log_joint)
  if num_labels == 1:
    assert np.isnan(information).all()
  else:
    expected = np.mean(np.reshape(expected, (len(p), -1)), axis=1)
    np.testing.assert_allclose(information, expected, atol=1e-6)


def test_of_equal_modes_the_lowest_code_is_taken():
  table = jnp.log(jnp.asarray([[0.1, 0.4, 0.4, 0.1]]))
  np.testing.assert_array_equal(distribution.table_mode(table), [[1, 0]])


@pytest.mark.parametrize('num_labels', LABELS)
def test_table_conditional(num_labels):
  log_joint, p = random_table(num_labels, rows=40, impossible=0.5)
  vectors = np.array(vectors_of(num_labels))
  codes = np.random.default_rng(1).integers(len(vectors), size=40)
  y = vectors[codes]
  found = quick_jit(distribution.table_conditional)(
    log_joint, jnp.asarray(y, jnp.float32)
  )
  neither = 0
  for b, j in itertools.product(range(40), range(num_labels)):
    rest = (vectors == y[b]).sum(1) - (vectors[:, j] == y[b, j])
    agree = rest == num_labels - 1
    on = p[b, agree & (vectors[:, j] == 1)].sum()
    total = p[b, agree].sum()
    neither += total == 0
    expected = on / total if total > 0 else 0.5
    assert found[b, j] == pytest.approx(expected, abs=1e-5)
  assert neither > 0 or num_labels == 1


@pytest.mark.parametrize('num_labels', LABELS)
def test_table_partial(num_labels):
  log_joint, p = random_table(num_labels, rows=40, impossible=0.5)
  vectors = np.array(vectors_of(num_labels))
  rng = np.random.default_rng(1)
  y = rng.integers(2, size=(40, num_labels))
  known = rng.random((40, num_labels)) < 0.5
  known[0], known[1] = False, True
  found = quick_jit(distribution.table_partial)(
    log_joint, jnp.asarray(y, jnp.float32), jnp.asarray(known)
  )
  impossible = 0
  for b in range(40):
    agrees = [all(v[known[b]] == y[b, known[b]]) for v in vectors]
    total = p[b, agrees].sum()
    impossible += total == 0
    left = np.full(num_labels, 0.5)
    if total > 0:
      left = p[b, agrees] @ vectors[agrees] / total
    expected = np.where(known[b], y[b], left)
    np.testing.assert_allclose(found[b], expected, atol=1e-5)
  assert 0 < impossible < 40
  np.testing.assert_array_equal(found[1], y[1])


def test_table_partial_of_what_is_very_unlikely():
  """e^-200 underflows: what is known must not be taken for impossible."""
  table = jnp.asarray([[0.0, -200.0, -jnp.inf, -201.0]])
  one = jnp.asarray([[1.0, 0.0]])
  found = distribution.table_partial(table, one, jnp.asarray([[True, False]]))
  expected = [[1.0, 1.0 / (1.0 + np.e)]]
  np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize('num_labels', LABELS)
def test_table_cardinality_marginals(num_labels):
  log_joint, p = random_table(num_labels)
  found = distribution.table_cardinality_marginals(log_joint)
  np.testing.assert_allclose(found, cardinality_marginals(p), atol=1e-6)


def test_table_sample_has_the_law_of_the_table():
  log_joint, p = random_table(3, rows=2)
  sample = quick_jit(distribution.table_sample, static_argnums=2)
  draws = sample(log_joint, jax.random.key(0), 20_000)
  assert draws.shape == (20_000, 2, 3)
  codes = np.asarray(distribution.code(draws))
  for b in range(2):
    count = np.bincount(codes[:, b], minlength=8)
    possible = p[b] > 0
    assert (count[~possible] == 0).all()
    law = scipy.stats.chisquare(count[possible], 20_000 * p[b][possible])
    assert law.pvalue > 1e-4


@pytest.mark.parametrize('num_labels', LABELS)
def test_product_cardinality_marginals_by_enumeration(num_labels):
  rng = np.random.default_rng(0)
  marginals = rng.random((2, 3, num_labels))
  marginals[0, 0] = 0.0
  marginals[0, 1] = 1.0
  found = quick_jit(distribution.product_cardinality_marginals)(
    jnp.asarray(marginals, jnp.float32)
  )
  expected = cardinality_marginals(independent(marginals))
  np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize('scale', [0.02, 0.5])
def test_product_cardinality_marginals_of_300_labels(scale):
  """Against the law of the sum, one label convolved after another."""
  marginals = scale * np.random.default_rng(1).random(300)
  found = quick_jit(distribution.product_cardinality_marginals)(
    jnp.asarray(marginals, jnp.float32)
  )
  for j in (0, 7, 299):
    law = np.ones(1)
    for p in np.delete(marginals, j):
      law = np.convolve(law, [1 - p, p])
    np.testing.assert_allclose(found[j], marginals[j] * law, atol=1e-6)
  np.testing.assert_allclose(found.sum(-1), marginals, rtol=1e-4)


def test_product_log_prob_empty():
  marginals = np.random.default_rng(0).random((3, 5))
  np.testing.assert_allclose(
    distribution.product_log_prob_empty(jnp.asarray(marginals, jnp.float32)),
    np.log(independent(marginals)[:, 0]),
    rtol=1e-5,
  )


def test_sample_cardinality_marginals_are_shares_of_draws():
  draws = np.random.default_rng(0).random((50, 2, 4)) < 0.4
  draws[:3] = False
  found = distribution.sample_cardinality_marginals(
    jnp.asarray(draws, jnp.float32)
  )
  for b, j, s in itertools.product(range(2), range(4), range(1, 5)):
    share = (draws[:, b, j] & (draws[:, b].sum(-1) == s)).mean()
    assert found[b, j, s - 1] == pytest.approx(share, abs=1e-6)


def test_tabulate_and_conditional_ask_log_prob_alone():
  """A distribution that is a table: both must give the table back."""
  log_joint, _ = random_table(4, impossible=0.0)

  def log_prob(params, h, y):
    rows = jnp.arange(len(h))
    return params[rows, distribution.code(y)]

  h = jnp.zeros((4, 1))
  tabulate = quick_jit(
    functools.partial(distribution.tabulate, log_prob, num_labels=4)
  )
  np.testing.assert_array_equal(tabulate(log_joint, h), log_joint)
  y = distribution.label_vectors(4)[jnp.asarray([0, 5, 10, 15])]
  conditional = quick_jit(distribution.conditional_from_log_prob(log_prob))
  np.testing.assert_allclose(
    conditional(log_joint, h, y),
    quick_jit(distribution.table_conditional)(log_joint, y),
    atol=1e-6,
  )


def test_first_of_two():
  ninf = -jnp.inf
  on = jnp.asarray([0.0, -1.0, ninf, -1.0, ninf, -500.0])
  off = jnp.asarray([0.0, ninf, -1.0, -3.0, ninf, -501.0])
  expected = [0.5, 1.0, 0.0, 1 / (1 + np.exp(-2)), 0.5, 1 / (1 + np.exp(-1))]
  np.testing.assert_allclose(
    distribution.first_of_two(on, off), expected, rtol=1e-5
  )


def test_draws_occur_as_often_as_they_are_probable():
  rng = np.random.default_rng(0)
  p = rng.dirichlet(np.full(50, 0.5), size=(2, 3))
  p[..., [0, 7, 48, 49]] = 0.0
  p /= p.sum(-1, keepdims=True)
  n = 20_000
  log_p = jnp.where(p > 0, jnp.log(p) + 3.0, -jnp.inf)
  found = np.asarray(distribution.draws(log_p, jax.random.key(0), n))
  assert found.shape == (n, 2, 3)
  for i, j in np.ndindex(2, 3):
    count = np.bincount(found[:, i, j], minlength=50)
    assert not count[p[i, j] == 0].any()
    spread = np.sqrt(n * p[i, j] * (1 - p[i, j]))
    assert (np.abs(count - n * p[i, j]) <= 4.5 * spread).all()


def test_the_largest_number_that_is_drawn_stays_below_the_sum():
  """Whatever the sum of the probabilities is rounded to."""
  largest = np.float32(1.0) - np.float32(2.0**-23)
  sums = np.nextafter(np.float32(1.0), np.float32([0.0, 2.0]))
  near = np.linspace(0.999, 1.001, 10_001, dtype=np.float32)
  for total in (*sums, *near):
    assert largest * total < total
  drawn = jax.random.uniform(jax.random.key(0), (1_000_000,))
  assert drawn.max() <= largest
