"""Propagation of errors against loops over rows and labels in numpy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc.base import MissingCapabilityError
from mlc.explain import propagation, rows, search
from mlc.heads import chain_inference
from mlc.heads.binary_relevance import binary_relevance
from mlc.heads.classifier_chain import classifier_chain
from mlc.heads.ensemble import ensemble

DIM, LABELS, ROWS = 3, 4, 11
# The time of these tests is compilation, for programs that run once.
quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


def chain_params(seed=0, link=2.0, labels=LABELS):
  rng = np.random.default_rng(seed)
  params = {
    'kernel': rng.normal(size=(DIM, labels)),
    'bias': rng.normal(size=labels),
    'links': link * rng.normal(size=(labels, labels)),
  }
  params = {k: jnp.asarray(v, jnp.float32) for k, v in params.items()}
  rank = jnp.asarray(rng.permutation(labels), jnp.int32)
  return {**params, 'frozen': {'rank': rank}}


def drawn(seed=1, labels=LABELS):
  """Rows of which some labels are unknown and two are padding, of NaN."""
  rng = np.random.default_rng(seed)
  h = rng.normal(size=(ROWS, DIM))
  y = (rng.random((ROWS, labels)) < 0.5).astype(np.float32)
  where = rng.random((ROWS, labels)) < 0.8
  weight = rng.uniform(0.5, 2.0, ROWS)
  weight[[2, 7]] = 0.0
  h[[2, 7]] = np.nan
  y = np.where(where, y, 0.0)
  return tuple(
    map(jnp.asarray, (h.astype(np.float32), y, where, np.float32(weight)))
  )


def ask(question, head, params, h, y, **options):
  """Compiled, with masks as arguments."""
  masks = {k: options.pop(k) for k in ('where', 'weight') if k in options}

  def call(params, h, y, masks):
    counts = {'asked': question(head, params, **options)}
    return rows.over_rows(counts, h, y, **masks)

  return jax.device_get(quick_jit(call)(params, h, y, masks))['asked']


class Loops:
  """A chain in float64, one row and one label at a time."""

  def __init__(self, params):
    self.w, self.b, self.v = (
      np.float64(params[k]) for k in ('kernel', 'bias', 'links')
    )
    self.rank = np.asarray(params['frozen']['rank'])

  def logit(self, h, y, j):
    before = self.rank < self.rank[j]
    return (
      np.float64(h) @ self.w[:, j] + self.b[j] + (y * before) @ self.v[:, j]
    )

  def greedy(self, h, held=None):
    y = np.zeros(len(self.b))
    for j in np.argsort(self.rank):
      y[j] = self.logit(h, y, j) > 0
      if held and j in held:
        y[j] = held[j]
    return y

  def log_prob(self, h, y):
    z = np.array([self.logit(h, y, j) for j in range(len(y))])
    return -np.logaddexp(0.0, -(2 * np.asarray(y) - 1) * z).sum()

  def table(self, h):
    """{label vector: p}, of every vector."""
    vectors = np.ndindex(*[2] * len(self.b))
    return {y: np.exp(self.log_prob(h, np.array(y))) for y in vectors}


def mean(values, weights):
  return sum(np.multiply(values, weights)) / sum(weights)


@pytest.mark.slow
def test_positions_are_those_of_loops():
  params, (h, y, where, weight) = chain_params(), drawn()
  found = ask(
    propagation.positions,
    classifier_chain(LABELS),
    params,
    h,
    y,
    where=where,
    weight=weight,
  )
  loops = Loops(params)
  for j in range(LABELS):
    kept = [b for b in range(ROWS) if weight[b] > 0 and where[b, j]]
    forced = [(loops.logit(h[b], y[b], j) > 0) == y[b, j] for b in kept]
    free = [loops.greedy(h[b])[j] == y[b, j] for b in kept]
    w = np.asarray(weight)[kept]
    np.testing.assert_allclose(
      found.teacher_forced[j], mean(forced, w), rtol=1e-5
    )
    np.testing.assert_allclose(found.free_running[j], mean(free, w), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('block', [128, 4])
def test_flips_are_those_of_loops(block, monkeypatch):
  monkeypatch.setattr(rows, 'BLOCK', block)
  params, (h, y, where, weight) = chain_params(), drawn()
  found = ask(
    propagation.flips,
    classifier_chain(LABELS),
    params,
    h,
    y,
    where=where,
    weight=weight,
  )
  loops = Loops(params)
  kept = [b for b in range(ROWS) if weight[b] > 0]
  for i in range(LABELS):
    on = {b: loops.greedy(h[b], {i: 1.0}) for b in kept}
    off = {b: loops.greedy(h[b], {i: 0.0}) for b in kept}
    for j in range(LABELS):
      w = [weight[b] for b in kept]
      change = mean([on[b][j] != off[b][j] for b in kept], w)
      np.testing.assert_allclose(found.change[i, j], change, rtol=1e-5)
      both = [b for b in kept if where[b, i] and where[b, j]]
      harm = []
      for b in both:
        right, wrong = (on, off) if y[b, i] else (off, on)
        harm.append(
          float(right[b][j] == y[b, j]) - float(wrong[b][j] == y[b, j])
        )
      expected = mean(harm, [weight[b] for b in both])
      np.testing.assert_allclose(found.harm[i, j], expected, atol=1e-6)
  # The seed is such that something comes through, and that it does so forwards.
  rank = loops.rank
  assert found.change[rank[:, None] < rank[None, :]].max() > 0.3
  assert (found.change[rank[:, None] > rank[None, :]] == 0).all()


@pytest.mark.slow
def test_a_chain_of_three_worked_by_hand():
  """Logits -1 + 2 y_before: what is forced on pulls on all that follow."""
  links = jnp.zeros((3, 3)).at[0, 1].set(2.0).at[1, 2].set(2.0)
  params = {
    'kernel': jnp.zeros((DIM, 3)),
    'bias': -jnp.ones(3),
    'links': links,
    'frozen': {'rank': jnp.arange(3)},
  }
  head, h, y = classifier_chain(3), jnp.zeros((5, DIM)), jnp.zeros((5, 3))
  found = ask(propagation.flips, head, params, h, y)
  np.testing.assert_array_equal(found.change, np.triu(np.ones((3, 3))))
  np.testing.assert_array_equal(found.harm, np.triu(np.ones((3, 3))))
  # Of labels that are on, none is right: given the one before, the others.
  at = ask(propagation.positions, head, params, h, jnp.ones((5, 3)))
  np.testing.assert_array_equal(at.teacher_forced, [0, 1, 1])
  np.testing.assert_array_equal(at.free_running, [0, 0, 0])
  # A label known nowhere has no accuracy, and the others keep theirs.
  where = jnp.ones((5, 3), bool).at[:, 2].set(False)
  at = ask(propagation.positions, head, params, h, y, where=where)
  np.testing.assert_array_equal(at.free_running, [1, 1, np.nan])


@pytest.mark.slow
@pytest.mark.parametrize('independent', [True, False])
def test_without_links_nothing_propagates(independent):
  head = (binary_relevance if independent else classifier_chain)(LABELS)
  params, (h, y, where, weight) = chain_params(link=0.0), drawn()
  masks = {'where': where, 'weight': weight}
  found = ask(propagation.flips, head, params, h, y, **masks)
  np.testing.assert_array_equal(found.change, np.eye(LABELS))
  np.testing.assert_allclose(found.harm, np.eye(LABELS), atol=1e-7)
  at = ask(propagation.positions, head, params, h, y, **masks)
  np.testing.assert_array_equal(at.teacher_forced, at.free_running)
  direct = ask(propagation.influence, head, params, h, y, **masks)
  np.testing.assert_allclose(direct.size, 0.0, atol=1e-6)
  total = ask(
    propagation.influence, head, params, h, y, given_others=False, **masks
  )
  np.testing.assert_allclose(total.effect, np.eye(LABELS), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('given_others', [True, False])
def test_influence_is_that_of_the_table(given_others):
  params, (h, y, where, weight) = chain_params(link=1.0), drawn()
  found = ask(
    propagation.influence,
    classifier_chain(LABELS),
    params,
    h,
    y,
    given_others=given_others,
    where=where,
    weight=weight,
  )
  loops = Loops(params)
  kept = [b for b in range(ROWS) if weight[b] > 0]
  tables = {b: loops.table(h[b]) for b in kept}

  def probability(b, i, value, j):
    """P(y_j = 1 | y_i = value, and the others as in y or unknown)."""
    total = [0.0, 0.0]
    for vector, p in tables[b].items():
      others = [k for k in range(LABELS) if k not in (i, j)]
      agrees = not given_others or all(vector[k] == y[b, k] for k in others)
      if agrees and vector[i] == value:
        total[vector[j]] += p
    return total[1] / sum(total)

  for i in range(LABELS):
    for j in set(range(LABELS)) - {i}:
      moved = [probability(b, i, 1, j) - probability(b, i, 0, j) for b in kept]
      w = [weight[b] for b in kept]
      np.testing.assert_allclose(found.effect[i, j], mean(moved, w), atol=1e-5)
      np.testing.assert_allclose(
        found.size[i, j], mean(np.abs(moved), w), atol=1e-5
      )
  expected = 0.0 if given_others else 1.0
  np.testing.assert_allclose(np.diag(found.effect), expected, atol=1e-6)


@pytest.mark.slow
def test_searches_are_told_from_the_mode():
  params, (h, y, _, weight) = chain_params(seed=3, link=3.0), drawn()
  where = jnp.asarray(np.arange(ROWS)[:, None] != 4).repeat(LABELS, 1)
  found = ask(
    search.searches,
    classifier_chain(LABELS),
    params,
    h,
    y,
    widths=(1, 8),
    where=where,
    weight=weight,
  )
  loops = Loops(params)
  kept = [b for b in range(ROWS) if weight[b] > 0]
  w = [weight[b] for b in kept]
  equal, gap, right, best_right = [], [], [], []
  for b in kept:
    table = loops.table(h[b])
    best, greedy = np.array(max(table, key=table.get)), loops.greedy(h[b])
    equal.append((best == greedy).all())
    gap.append(loops.log_prob(h[b], best) - loops.log_prob(h[b], greedy))
    right.append((greedy == y[b]).all())
    best_right.append((best == y[b]).all())
  full = [weight[b] * (b != 4) for b in kept]
  assert 0 < mean(equal, w) < 1
  for name in ('greedy', 'beam_1'):
    np.testing.assert_allclose(found[name].equal, mean(equal, w), rtol=1e-5)
    np.testing.assert_allclose(found[name].gap, mean(gap, w), rtol=1e-4)
    np.testing.assert_allclose(
      found[name].subset_accuracy, mean(right, full), atol=1e-6
    )
  for name in ('beam_8', 'mode'):
    assert found[name].equal == pytest.approx(1.0)
    assert found[name].gap == pytest.approx(0.0, abs=1e-6)
    np.testing.assert_allclose(
      found[name].subset_accuracy, mean(best_right, full), atol=1e-6
    )


@pytest.mark.slow
def test_the_beam_of_any_chain_is_that_of_linear_chains():
  labels, width = 24, 3
  params = chain_params(labels=labels)
  h = jnp.asarray(np.random.default_rng(2).normal(size=(60, DIM)), jnp.float32)
  head = classifier_chain(labels)
  run = lambda params, h: search.beam(head, params, h, width=width)
  found = quick_jit(run)(params, h)
  order = np.argsort(params['frozen']['rank'])
  links = np.triu(np.asarray(params['links'])[order][:, order], k=1)
  logits = (h @ params['kernel'] + params['bias'][None])[:, order]
  kept = chain_inference.beam_search(logits, jnp.asarray(links), width)[0][:, 0]
  np.testing.assert_array_equal(found[:, order], kept)
  # The rows are such that a beam is worth it.
  assert (found != quick_jit(head.greedy)(params, h)).any(axis=1).mean() > 0.2


def test_orders_are_compared_pair_by_pair():
  each = [chain_params(seed) for seed in range(3)]
  params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
  h, y, where, weight = drawn()
  found = ask(
    propagation.orders,
    ensemble(classifier_chain(LABELS, order='random'), 3).member,
    params,
    h,
    y,
    where=where,
    weight=weight,
  )
  kept = [b for b in range(ROWS) if weight[b] > 0]
  w = np.asarray(weight)[kept]
  decided = np.array([[Loops(p).greedy(h[b]) for b in kept] for p in each])
  pairs = [(0, 1), (0, 2), (1, 2)]
  apart = np.mean([decided[a] != decided[c] for a, c in pairs], axis=0)
  assert apart.max() > 0
  np.testing.assert_allclose(found.disagreement, w @ apart / w.sum(), rtol=1e-5)
  known = np.asarray(where)[kept] * w[:, None]
  right = decided == np.asarray(y)[kept]
  np.testing.assert_allclose(
    found.accuracy, (right * known).sum(1) / known.sum(0), rtol=1e-5
  )
  full = w * np.asarray(where)[kept].all(1)
  np.testing.assert_allclose(
    found.subset_accuracy, right.all(2) @ full / full.sum(), rtol=1e-5
  )


def test_a_forced_pass_without_force_is_the_greedy_pass():
  head, params = classifier_chain(40), chain_params(labels=40)
  h = jnp.asarray(np.random.default_rng(0).normal(size=(50, DIM)), jnp.float32)
  y = jnp.ones((50, 40))
  run = quick_jit(lambda p, h: propagation.free_run(head, p, h, y, y < 0))
  np.testing.assert_array_equal(
    run(params, h), quick_jit(head.greedy)(params, h)
  )


def test_a_head_that_cannot_says_so():
  head = ensemble(classifier_chain(LABELS), 2)
  for question in (propagation.positions, propagation.flips, search.searches):
    with pytest.raises(MissingCapabilityError, match='ensemble_classifier'):
      question(head, {})
