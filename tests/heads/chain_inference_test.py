"""Tree, pass and beam against the obvious loops."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc import distribution
from mlc.heads import chain_inference


def chain(rows, num_labels, seed=0, link=1.0):
  rng = np.random.default_rng(seed)
  logits = rng.normal(size=(rows, num_labels))
  links = np.triu(link * rng.normal(size=(num_labels, num_labels)), 1)
  return jnp.asarray(logits, jnp.float32), jnp.asarray(links, jnp.float32)


def log_prob(logits, links, y):
  """log p of one vector for one row, factor after factor, in float64."""
  total = 0.0
  for k in range(len(y)):
    z = float(logits[k]) + sum(
      float(links[i, k]) for i in range(k) if y[i] == 1
    )
    total -= np.logaddexp(0.0, -z if y[k] == 1 else z)
  return total


def decide(logits, links, threshold):
  """One row, label after label, in float64."""
  y, met = [], []
  for k in range(len(logits)):
    z = logits[k] + sum(links[i, k] for i in range(k) if y[i] == 1)
    met.append(z)
    y.append(float(z > threshold[k]))
  return y, met


# The time of these tests is compilation, for programs that run once.
quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)
prefix_tree = quick_jit(chain_inference.prefix_tree)


@functools.partial(quick_jit, static_argnames='block')
def one_pass(logits, links, threshold, block):
  return chain_inference.one_pass(logits, links, threshold, block=block)


@functools.partial(quick_jit, static_argnames=('width', 'block'))
def beam_search(logits, links, width, block=32):
  return chain_inference.beam_search(logits, links, width, block=block)


@pytest.mark.parametrize('num_labels', [1, 5])
@pytest.mark.slow
def test_prefix_tree_is_the_product_rule_on_every_vector(num_labels):
  logits, links = chain(3, num_labels, link=2.0)
  table = prefix_tree(logits, links)
  vectors = np.asarray(distribution.label_vectors(num_labels))
  expected = [[log_prob(f, links, y) for y in vectors] for f in logits]
  np.testing.assert_allclose(table, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_prefix_tree_keeps_its_precision_where_logits_are_large():
  logits, links = chain(20, 8, link=8.0)
  table = prefix_tree(30.0 * logits, links)
  total = jax.nn.logsumexp(table, axis=1)
  np.testing.assert_allclose(total, 0.0, atol=1e-5)


@pytest.mark.parametrize('block', [1, 4, 7, 50])
def test_one_pass_decides_like_the_plain_loop(block):
  logits, links = chain(6, 13, seed=1)
  threshold = jnp.asarray(
    np.random.default_rng(2).logistic(size=(6, 13)), jnp.float32
  )
  y, z = one_pass(logits, links, threshold, block=block)
  for b in range(6):
    expected, met = decide(
      np.float64(logits[b]), np.float64(links), np.float64(threshold[b])
    )
    np.testing.assert_array_equal(y[b], expected)
    np.testing.assert_allclose(z[b], met, rtol=1e-5, atol=1e-5)


def test_blocks_decide_like_a_scan_over_1000_labels():
  logits, links = chain(16, 1000, link=0.1)

  @quick_jit
  def plain(logits, links):
    def step(y, k):
      z = logits[:, k] + y @ links[:, k]
      return y.at[:, k].set((z > 0).astype(y.dtype)), None

    labels = jnp.arange(logits.shape[1])
    return jax.lax.scan(step, jnp.zeros_like(logits), labels)[0]

  y, _ = one_pass(logits, links, jnp.zeros_like(logits), block=50)
  np.testing.assert_array_equal(y, plain(logits, links))
  assert 0.2 < y.mean() < 0.8


@pytest.mark.slow
@pytest.mark.parametrize('block', [3, 32])
def test_a_wide_beam_lists_all_vectors_in_order(block):
  logits, links = chain(4, 5, seed=3, link=2.0)
  kept, score, _ = beam_search(logits, links, width=32, block=block)
  for b in range(4):
    every = [
      (log_prob(logits[b], links, y), y)
      for y in itertools.product([0.0, 1.0], repeat=5)
    ]
    every.sort(key=lambda pair: -pair[0])
    expected_score, expected = zip(*every, strict=True)
    np.testing.assert_allclose(score[b], expected_score, atol=1e-5)
    np.testing.assert_array_equal(kept[b], expected)


@pytest.mark.slow
def test_a_beam_of_half_the_prefixes_is_exact():
  logits, links = chain(200, 6, seed=4, link=3.0)
  kept, score, _ = beam_search(logits, links, width=32)
  table = prefix_tree(logits, links)
  np.testing.assert_allclose(score[:, 0], table.max(1), atol=1e-5)
  np.testing.assert_array_equal(kept[:, 0], distribution.table_mode(table))


@pytest.mark.slow
@pytest.mark.parametrize('block', [7, 32])
def test_a_narrow_beam_returns_the_probability_of_what_it_returns(block):
  logits, links = chain(5, 40, seed=5)
  kept, score, _ = beam_search(logits, links, width=4, block=block)
  for b, w in itertools.product(range(5), range(4)):
    expected = log_prob(logits[b], links, np.asarray(kept[b, w]))
    assert score[b, w] == pytest.approx(expected, rel=1e-4)
  assert (np.diff(score, axis=1) <= 0).all()
  codes = {tuple(row.ravel()) for row in np.asarray(kept[0])}
  assert len(codes) == 4


def test_a_beam_of_one_is_the_greedy_pass():
  logits, links = chain(50, 45, seed=6)
  kept, _, _ = beam_search(logits, links, width=1)
  y, _ = one_pass(logits, links, jnp.zeros_like(logits), block=50)
  np.testing.assert_array_equal(kept[:, 0], y)


def test_a_beam_with_more_places_than_vectors_leaves_them_impossible():
  logits, links = chain(2, 2)
  _, score, _ = beam_search(logits, links, width=8)
  assert np.isfinite(score[:, :4]).all()
  assert np.isneginf(score[:, 4:]).all()


@pytest.mark.slow
@pytest.mark.parametrize('width', [1, 2, 4])
@pytest.mark.parametrize('link', [0.5, 2.0])
def test_what_is_certified_is_the_mode(width, link):
  """The bound holds for every vector that was dropped, by enumeration."""
  logits, links = chain(400, 8, seed=7, link=link)
  kept, score, bound = beam_search(logits, links, width)
  table = np.asarray(prefix_tree(logits, links), np.float64)
  certified = np.asarray(score[:, 0] >= bound)
  found = np.asarray(distribution.code(kept[:, 0]))
  rows = np.arange(400)
  best = table.max(1)
  np.testing.assert_allclose(
    table[rows, found][certified], best[certified], atol=1e-5
  )
  left = table.copy()
  for w in range(width):
    left[rows, np.asarray(distribution.code(kept[:, w]))] = -np.inf
  assert (left.max(1) <= np.asarray(bound) + 1e-5).all()
  # It says something, and not always yes.
  assert 0.02 < certified.mean() < 1.0
  missed = table[rows, found] < best - 1e-4
  assert not (missed & certified).any()
  if width == 1 and link == 2.0:
    assert missed.any()


@pytest.mark.slow
def test_a_beam_that_drops_nothing_is_certain():
  logits, links = chain(10, 4, seed=8, link=3.0)
  _, score, bound = beam_search(logits, links, width=16)
  assert np.isneginf(bound).all()
  _, score, bound = beam_search(logits, links, width=8)
  assert (score[:, 0] >= bound).all()


def test_independent_labels_are_always_certified():
  """Then the labels behind a dropped prefix are bounded by what they are."""
  logits, links = chain(50, 100, seed=9, link=0.0)
  _, score, bound = beam_search(logits, links, width=2)
  assert (np.asarray(score[:, 0]) >= np.asarray(bound) - 1e-4).all()
