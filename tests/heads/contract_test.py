"""What every head owes, checked by enumerating all label vectors.

The table of 2^L log-probabilities comes from `log_prob` alone; every other
capability is held against it. A head that gives marginals and no joint has
tests of its own for what they are.
"""

import functools
import inspect
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from mlc import distribution, numerics, rules
from mlc.base import Batch, Exactness, Head
from mlc.heads.bernoulli_mixture import bernoulli_mixture
from mlc.heads.binary_relevance import binary_relevance
from mlc.heads.calibrated_ranking import calibrated_ranking
from mlc.heads.classifier_chain import classifier_chain
from mlc.heads.constrained import constrained
from mlc.heads.ensemble import ensemble
from mlc.heads.hierarchical import hierarchical
from mlc.heads.ising import ising
from mlc.heads.label_attention import label_attention
from mlc.heads.label_graph import label_graph
from mlc.heads.label_powerset import label_powerset
from mlc.heads.label_query import label_query
from mlc.heads.label_sequence import label_sequence
from mlc.heads.low_rank import low_rank
from mlc.heads.masked_label import masked_label
from mlc.heads.pruned_sets import pruned_sets
from mlc.heads.random_k_labelsets import random_k_labelsets
from mlc.heads.recurrent_chain import recurrent_chain
from mlc.heads.softmax import softmax
from mlc.heads.stacked import stacked

ROWS, DIM, LABELS, TRAIN_ROWS = 5, 3, 4, 12
# Of the first row nothing is known, of the last everything.
KNOWN = np.tri(ROWS, LABELS, -1, dtype=bool)
# Labels 1 and 2 are kinds of label 0, and label 3 of both 1 and 2.
HIERARCHY = np.zeros((LABELS, LABELS), bool)
HIERARCHY[[1, 2, 3, 3], [0, 0, 1, 2]] = True
FACTS = {
  'num_labels': LABELS,
  'num_label_sets': 14,
  'hierarchy': HIERARCHY,
}


def ensemble_of_chains(num_labels):
  return ensemble(classifier_chain(num_labels, order='random'), 3)


def ensemble_of_softmax(num_labels):
  return ensemble(softmax(num_labels), 2)


def long_ising(num_labels):
  """The head as it is where label vectors cannot be listed."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(distribution, 'MAX_TABLE_LABELS', 0)
    return ising(num_labels, burn_in=2, sweeps=3)


shared_mixture = functools.partial(
  bernoulli_mixture, components=2, experts='shared'
)
small_masked = functools.partial(masked_label, width=8, heads=2, depth=1)
small_attention = functools.partial(label_attention, width=8, heads=2)
small_query = functools.partial(label_query, width=8, heads=2, tokens=3)
small_graph = functools.partial(label_graph, width=4)
small_recurrent = functools.partial(recurrent_chain, width=3, order='random')
small_sequence = functools.partial(label_sequence, width=3)

disjoint_labelsets = functools.partial(random_k_labelsets, overlap=False)


def constrained_chain(num_labels):
  names = tuple(f'y{j}' for j in range(num_labels))
  stated = rules.parse('at least 1 of: *\ny0 -> y1\nexclusive: y2, y3', names)
  return constrained(
    classifier_chain(num_labels), rules.compiled(stated, num_labels)
  )


coherent = functools.partial(hierarchical, kind='conditional')


def exclusive(num_labels, hierarchy):
  tree = hierarchy.copy()
  tree[3, 2] = False
  return coherent(num_labels, tree, siblings='exclusive')


# (name, factory): what a head is made of but facts of the data is bound.
HEADS = [
  ('binary_relevance', binary_relevance),
  ('softmax', softmax),
  ('classifier_chain', classifier_chain),
  ('random_chain', functools.partial(classifier_chain, order='random')),
  ('bernoulli_mixture', functools.partial(bernoulli_mixture, components=3)),
  ('shared_bernoulli_mixture', shared_mixture),
  ('hierarchical', hierarchical),
  ('coherent', coherent),
  ('exclusive', exclusive),
  ('ising', ising),
  ('long_ising', long_ising),
  ('label_attention', small_attention),
  ('masked_label', small_masked),
  ('label_powerset', label_powerset),
  ('label_query', small_query),
  ('grouped_label_query', functools.partial(small_query, groups=2)),
  ('label_sequence', small_sequence),
  ('short_sequence', functools.partial(small_sequence, max_length=2)),
  ('free_sequence', functools.partial(small_sequence, order='free')),
  ('label_graph', small_graph),
  ('learned_label_graph', functools.partial(small_graph, graph='learned')),
  ('low_rank', functools.partial(low_rank, rank=2)),
  ('low_rank_svd', functools.partial(low_rank, rank=2, basis='svd')),
  ('ensemble_of_chains', ensemble_of_chains),
  ('ensemble_of_softmax', ensemble_of_softmax),
  ('pruned_sets', pruned_sets),
  ('overlapping_labelsets', random_k_labelsets),
  ('disjoint_labelsets', disjoint_labelsets),
  ('recurrent_chain', small_recurrent),
  ('stacked_meta', functools.partial(stacked, folds=2)),
  ('stacked_dependent', functools.partial(stacked, kind='dependent')),
  ('stacked_nested', functools.partial(stacked, kind='nested')),
  ('calibrated_ranking', calibrated_ranking),
  ('constrained_chain', constrained_chain),
  ('ranking_by_scores', functools.partial(calibrated_ranking, pairs='scores')),
]
# One of each kind: a product, one label of many, a chain, a table, sets.
QUICK = {
  'binary_relevance',
  'softmax',
  'classifier_chain',
  'ising',
  'label_powerset',
}
FACTORIES = [
  bernoulli_mixture,
  binary_relevance,
  classifier_chain,
  hierarchical,
  ising,
  label_attention,
  masked_label,
  label_graph,
  label_powerset,
  label_query,
  label_sequence,
  low_rank,
  softmax,
  pruned_sets,
  random_k_labelsets,
  recurrent_chain,
  stacked,
  calibrated_ranking,
]
# What could be approximate, and so has to say how it is obtained.
APPROXIMATE = (
  'marginals',
  'mode',
  'conditional',
  'cardinality_marginals',
  'partial',
)
CAPABILITIES = {
  'marginals': (),
  'mode': (),
  'greedy': (),
  'joint': (),
  'cardinality_marginals': (),
  'log_prob': ('y',),
  'conditional': ('y',),
  'logits': ('y',),
}


# Half of the time of these tests is compilation, for programs that run once.
quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


class Case(NamedTuple):
  """A head with parameters far from their start, and its answers."""

  head: Head
  ask: Any  # jitted: (params, h, y, key) -> {capability: answer}
  params: Any
  h: Any
  y: Any
  table: np.ndarray | None  # [ROWS, 2^L], from log_prob alone
  answers: dict[str, Any]


def positional(factory):
  parameters = inspect.signature(factory).parameters.values()
  return [p for p in parameters if p.kind is not p.KEYWORD_ONLY]


def build(factory):
  return factory(*[FACTS[p.name] for p in positional(factory)])


def training_rows(head, seed=0):
  rng = np.random.default_rng(seed)
  h = rng.normal(size=(TRAIN_ROWS, DIM))
  y = rng.random((TRAIN_ROWS, LABELS)) < 0.4
  if head.one_hot:
    y = np.eye(LABELS)[rng.integers(LABELS, size=TRAIN_ROWS)]
  return h.astype(np.float32), y.astype(np.float32)


def disturbed(params, seed):
  """Parameters with noise on every trained leaf."""
  rng = np.random.default_rng(seed)
  trained, frozen = numerics.split_frozen(jax.device_get(params))
  trained = jax.tree.map(
    lambda leaf: leaf + rng.normal(size=leaf.shape).astype(leaf.dtype), trained
  )
  return numerics.merge_frozen(trained, frozen)


def codes_of(y):
  """Label j in bit j."""
  return (np.asarray(y).astype(int) << np.arange(LABELS)).sum(-1)


def all_answers(head):
  def ask(params, h, y, key):
    answers = {
      name: getattr(head, name)(params, h, *([y] if needs else []))
      for name, needs in CAPABILITIES.items()
      if getattr(head, name) is not None
    }
    if head.partial is not None:
      answers['partial'] = head.partial(params, h, y, jnp.asarray(KNOWN))
    if head.sample is not None:
      answers['sample'] = head.sample(params, key, h, 4000)
    return answers

  return ask


@pytest.fixture(
  scope='module',
  params=[
    pytest.param(
      factory, id=name, marks=() if name in QUICK else pytest.mark.slow
    )
    for name, factory in HEADS
  ],
)
def case(request):
  head = build(request.param)
  h, y = training_rows(head)
  params = quick_jit(head.init)(jax.random.key(1), h, y)
  params = disturbed(params, 2)
  h, y = h[:ROWS], y[:ROWS]
  table = None
  if head.log_prob is not None:
    tabulate = functools.partial(
      distribution.tabulate, head.log_prob, num_labels=LABELS
    )
    table = np.asarray(quick_jit(tabulate)(params, h), np.float64)
  ask = quick_jit(all_answers(head))
  answers = jax.device_get(ask(params, h, y, jax.random.key(3)))
  return Case(head, ask, params, h, y, table, answers)


@pytest.fixture
def known(case):
  """A case whose joint is known."""
  if case.table is None:
    pytest.skip('gives no joint')
  return case


def answer(case, capability):
  if capability not in case.answers:
    pytest.skip(f'gives no {capability}')
  return case.answers[capability]


@pytest.mark.slow
def test_probabilities_sum_to_one(known):
  np.testing.assert_allclose(np.exp(known.table).sum(-1), 1.0, atol=1e-5)


@pytest.mark.slow
def test_one_hot_heads_give_all_mass_to_one_hot_vectors(known):
  size = np.asarray(distribution.label_vectors(LABELS)).sum(-1)
  mass = np.exp(known.table)[:, size == 1].sum(-1)
  assert np.allclose(mass, 1.0, atol=1e-5) == known.head.one_hot


def test_log_prob_is_the_table_at_y(known):
  code = codes_of(known.y)
  expected = known.table[np.arange(ROWS), code]
  np.testing.assert_allclose(known.answers['log_prob'], expected, rtol=1e-5)


def test_marginals(known):
  expected = np.exp(known.table) @ np.asarray(
    distribution.label_vectors(LABELS)
  )
  np.testing.assert_allclose(answer(known, 'marginals'), expected, atol=2e-6)


def test_joint(known):
  np.testing.assert_allclose(
    np.exp(answer(known, 'joint')), np.exp(known.table), atol=2e-6
  )


def test_mode_has_the_largest_probability(known):
  code = codes_of(answer(known, 'mode'))
  found = known.table[np.arange(ROWS), code]
  np.testing.assert_allclose(found, known.table.max(-1), atol=1e-5)


def test_greedy_is_a_label_vector_no_likelier_than_the_mode(known):
  code = codes_of(answer(known, 'greedy'))
  found = known.table[np.arange(ROWS), code]
  assert set(np.unique(answer(known, 'greedy'))) <= {0.0, 1.0}
  assert (found <= known.table.max(-1) + 1e-5).all()


def test_conditional(known):
  for b in range(ROWS):
    for j in range(LABELS):
      y = np.asarray(known.y[b]).astype(int)
      both = []
      for value in (0, 1):
        y[j] = value
        both.append(np.exp(known.table[b, codes_of(y)]))
      expected = both[1] / sum(both) if sum(both) > 0 else 0.5
      assert answer(known, 'conditional')[b, j] == pytest.approx(
        expected, abs=2e-6
      )


def test_partial(known):
  """By enumerating what agrees with the known labels."""
  found = answer(known, 'partial')
  vectors = np.asarray(distribution.label_vectors(LABELS))
  for b in range(ROWS):
    agrees = ((vectors == known.y[b]) | ~KNOWN[b]).all(-1)
    mass = np.exp(known.table[b]) * agrees
    if mass.sum() > 0:
      np.testing.assert_allclose(
        found[b], mass @ vectors / mass.sum(), atol=2e-6
      )


def test_cardinality_marginals(known):
  expected = np.zeros((ROWS, LABELS, LABELS))
  for c, y in enumerate(np.asarray(distribution.label_vectors(LABELS))):
    for j in np.flatnonzero(y):
      expected[:, j, int(y.sum()) - 1] += np.exp(known.table[:, c])
  np.testing.assert_allclose(
    answer(known, 'cardinality_marginals'), expected, atol=2e-6
  )


def test_samples_occur_as_often_as_they_are_probable(known):
  draws = answer(known, 'sample')
  codes = codes_of(draws)
  for b in range(ROWS):
    p = np.exp(known.table[b])
    law = scipy.stats.binom(len(draws), np.clip(p, 0.0, 1.0))
    count = np.bincount(codes[:, b], minlength=2**LABELS)
    # 160 tails a head, so a right sampler fails once in 6,000 heads.
    assert law.cdf(count).min() > 1e-6
    assert law.sf(count - 1).min() > 1e-6


def test_logits_are_log_odds_of_a_distribution(case):
  logits = answer(case, 'logits')
  assert logits.shape == (ROWS, LABELS)
  assert np.isfinite(logits).all()


def test_no_compilation_on_the_second_call(case):
  params = disturbed(case.params, 7)
  case.ask(params, case.h + 1.0, 1.0 - case.y, jax.random.key(8))
  assert case.ask._cache_size() == 1


def test_the_same_twice_without_a_key(case):
  again = case.ask(case.params, case.h, case.y, jax.random.key(9))
  for name in case.answers.keys() - {'sample'}:
    np.testing.assert_array_equal(again[name], case.answers[name])
  if case.head.sample is not None:
    assert (again['sample'] != case.answers['sample']).any()


@pytest.mark.slow
def test_runs_are_a_leading_axis(case):
  other = disturbed(case.params, 4)
  stack = lambda a, b: np.stack([a, b])
  params = jax.tree.map(stack, case.params, other)
  h, y = stack(case.h, case.h + 0.5), stack(case.y, case.y)
  keys = jax.random.split(jax.random.key(5), 2)
  together = quick_jit(jax.vmap(all_answers(case.head)))(params, h, y, keys)
  alone = case.ask(other, case.h + 0.5, case.y, keys[1])
  for name in together:
    np.testing.assert_allclose(
      together[name][1], alone[name], rtol=1e-4, atol=1e-5
    )


def test_frozen_leaves_get_no_gradient_and_the_rest_a_finite_one(case):
  trained, frozen = numerics.split_frozen(case.params)

  def loss(trained, h, y):
    params = numerics.merge_frozen(trained, frozen)
    if case.head.objective is not None:
      batch = Batch(h, y, row=jnp.arange(ROWS))
      return jnp.mean(case.head.objective(params, h, batch))
    return -jnp.mean(case.head.log_prob(params, h, y))

  gradient = quick_jit(jax.grad(loss))(trained, case.h, case.y)
  leaves = jax.tree.leaves(gradient)
  assert len(leaves) == len(jax.tree.leaves(trained))
  assert all(np.isfinite(leaf).all() for leaf in leaves)
  assert any(np.abs(leaf).max() > 1e-4 for leaf in leaves)


def test_init_reads_no_padding_and_takes_unknown_labels(case):
  h, y = training_rows(case.head)
  weight = np.ones(TRAIN_ROWS, np.float32)
  weight[-2:] = 0.0
  where = np.ones(y.shape, bool)
  where[0, 0] = False
  init = quick_jit(case.head.init)
  key = jax.random.key(1)
  params = init(key, h, y, where=where, weight=weight)
  garbage = y.copy()
  garbage[-2:] = 1.0 - y[-2:]
  other = init(key, h, garbage, where=where, weight=weight)
  jax.tree.map(np.testing.assert_array_equal, params, other)


def test_exactness_is_stated(case):
  words = set(get_args(Exactness))
  for name in case.answers.keys() & {*APPROXIMATE}:
    assert case.head.exactness[name] in words
  assert case.head.num_labels == LABELS


@pytest.mark.parametrize('factory', FACTORIES, ids=lambda f: f.__name__)
def test_signature_makes_flags(factory):
  assert {p.name for p in positional(factory)} <= FACTS.keys()
  arguments = inspect.getdoc(factory).split('Args:')[1].split('Returns:')[0]
  for p in inspect.signature(factory).parameters.values():
    assert f'\n  {p.name}: ' in arguments
    assert p.annotation in (int, float, bool) or get_args(p.annotation)
    assert p.kind is not p.KEYWORD_ONLY or p.default is not p.empty
