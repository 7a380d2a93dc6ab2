"""Repaired and constrained decisions against all 2^L label vectors.

Random joints under random rules: what is claimed to be best is compared with
the best that enumeration in float64 finds.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc import decoding, distribution
from mlc import rules as rule_set
from mlc.base import MissingCapabilityError
from mlc.heads.binary_relevance import binary_relevance
from mlc.heads.classifier_chain import classifier_chain
from mlc.heads.softmax import softmax

SETS, ROWS = 24, 4
SIZES = (3, 5, 7)  # 288 joints with their rules
CRITERIA = {
  'hamming': decoding.threshold(),
  'threshold_0.3': decoding.threshold(0.3),
  'subset': decoding.joint_mode(),
  'f_beta_2': decoding.expected_f(2.0),
  'jaccard': decoding.jaccard(),
}
OTHERS = {'top_2': decoding.top_k(2), 'mcut': decoding.mcut()}
quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


class Case(NamedTuple):
  """Rules, joints, and what was decided under them."""

  num_labels: int
  sets: Any
  arrays: rule_set.Rules
  possible: np.ndarray  # [SETS, 2^L]
  p: np.ndarray  # [SETS, ROWS, 2^L], float64
  found: dict[str, np.ndarray]  # decoder -> [SETS, ROWS, L]


def vectors(num_labels):
  codes = np.arange(2**num_labels)[:, None]
  return ((codes >> np.arange(num_labels)) & 1).astype(float)


def codes(y):
  return np.asarray(y).astype(int) @ 2 ** np.arange(y.shape[-1])


@pytest.fixture(scope='module', params=SIZES, ids=lambda n: f'{n}_labels')
def case(request, random_rules, table_head, random_tables):
  num_labels = request.param
  rng = np.random.default_rng(num_labels)
  sets, possible = random_rules(rng, num_labels, SETS, 5)
  tables = random_tables(num_labels, SETS * ROWS, num_labels)
  tables = tables.reshape(SETS, ROWS, -1)
  arrays = rule_set.stacked(sets, num_labels)
  head = table_head(num_labels)
  plain = {**CRITERIA, **OTHERS}
  made = {f'{name}_repair': decoding.repaired(d) for name, d in plain.items()}
  made |= {f'{n}_decode': decoding.within(d) for n, d in CRITERIA.items()}

  def decide(given):
    table, rules = given
    h = jnp.zeros((ROWS, 1))
    fits = {
      n: d.fit(head, table, h, table) for n, d in {**plain, **made}.items()
    }
    states = decoding.given(fits, rules)
    return {
      name: decoder.decide(head, table, h, states[name])
      for name, decoder in {**plain, **made}.items()
    }

  found = quick_jit(lambda *given: jax.lax.map(decide, given))(tables, arrays)
  p = np.exp(np.asarray(tables, float))
  return Case(num_labels, sets, arrays, possible, p, jax.device_get(found))


@pytest.mark.slow
def test_no_constrained_decision_breaks_a_rule(case):
  broken = 0
  for name, y in case.found.items():
    kept = np.take_along_axis(case.possible, codes(y), axis=1)
    if name.endswith(('_repair', '_decode')):
      assert kept.all(), name
    else:
      broken += (~kept).sum()
  assert broken > SETS


def values(name, num_labels):
  """[y, d] what decision d is worth where y is true, by definition."""
  y = vectors(num_labels)
  both, size = y @ y.T, y.sum(-1)
  if name == 'hamming':
    return (y[:, None] == y[None]).mean(-1)
  if name == 'threshold_0.3':
    # The cost for which 0.3 is the best threshold.
    return 0.7 * both - 0.3 * ((1 - y) @ y.T)
  if name == 'subset':
    return np.eye(len(y))
  if name == 'f_beta_2':
    below = 4.0 * size[:, None] + size[None, :]
    return np.where(below > 0, 5.0 * both / np.where(below > 0, below, 1), 1.0)
  union = size[:, None] + size[None, :] - both
  return np.where(union > 0, both / np.where(union > 0, union, 1), 1.0)


@pytest.mark.slow
@pytest.mark.parametrize('name', CRITERIA)
def test_decode_is_best_among_the_allowed(case, name):
  expected = case.p @ values(name, case.num_labels)
  expected = np.where(case.possible[:, None], expected, -np.inf)
  mine = codes(case.found[f'{name}_decode'])
  mine = np.take_along_axis(expected, mine[..., None], axis=-1)[..., 0]
  assert (expected.max(-1) - mine).max() < 2e-6


@pytest.mark.parametrize('name', [*CRITERIA, *OTHERS])
@pytest.mark.slow
def test_repair_makes_the_likeliest_changes(case, name):
  d, y = case.found[name], case.found[f'{name}_repair']
  marginals = case.p @ vectors(case.num_labels)
  other = np.where(d > 0, 1.0 - marginals, marginals)
  cost = -np.log(np.maximum(other, np.finfo(np.float32).tiny))
  differs = vectors(case.num_labels) != d[..., None, :]
  total = (differs * cost[..., None, :]).sum(-1)
  total = np.where(case.possible[:, None], total, np.inf)
  mine = np.take_along_axis(total, codes(y)[..., None], axis=-1)[..., 0]
  # In float32 1 - p is off by up to 6e-8, which moves log(1 - p) near p = 1.
  assert (mine - total.min(-1)).max() < 1e-2
  stays = np.take_along_axis(case.possible, codes(d), axis=1)
  np.testing.assert_array_equal(y[stays], d[stays])


@pytest.mark.slow
def test_without_rules_nothing_changes(table_head, random_tables):
  tables, head = random_tables(0, 40, 4), table_head(4)
  none = rule_set.compiled([], 4)
  h = jnp.zeros((40, 1))

  @quick_jit
  def decide(tables):
    out = {}
    for decoder in CRITERIA.values():
      plain = decoder.decide(head, tables, h, ())
      for make in (decoding.repaired, decoding.within):
        made = make(decoder)
        state = decoding.given({'x': made.fit(head, tables, h, h)}, none)['x']
        out[made.name] = plain, made.decide(head, tables, h, state)
    return out

  # Of equal decisions another may be taken where all vectors are tried.
  untied = np.arange(40) % 4 > 0
  for name, (plain, constrained) in decide(tables).items():
    rows = untied if name in ('f_beta_2_decode', 'jaccard_decode') else ...
    np.testing.assert_array_equal(plain[rows], constrained[rows], err_msg=name)


def test_at_least_one_label_is_what_the_nonempty_decoders_do(
  table_head, random_tables
):
  """They are this special case in closed form."""
  tables, head = random_tables(1, 60, 5), table_head(5)
  some = rule_set.compiled(
    [rule_set.between(range(5), 1, None, tuple('abcde'))], 5
  )
  h = jnp.zeros((60, 1))
  pairs = (
    (decoding.threshold(), decoding.hamming_nonempty()),
    (decoding.joint_mode(), decoding.subset_nonempty()),
  )
  for plain, nonempty in pairs:
    made = decoding.within(plain)
    state = decoding.given({'x': made.fit(head, tables, h, h)}, some)['x']
    np.testing.assert_array_equal(
      quick_jit(lambda t, d=made, s=state: d.decide(head, t, h, s))(tables),
      quick_jit(lambda t, d=nonempty: d.decide(head, t, h, ()))(tables),
    )


def test_a_fitted_threshold_stays_the_threshold():
  """Its constrained form weighs each label against its own threshold."""
  head = binary_relevance(4)
  rng = np.random.default_rng(0)
  h = jnp.asarray(rng.normal(size=(50, 3)), jnp.float32)
  y = jnp.asarray(rng.integers(0, 2, (50, 4)), jnp.float32)
  params = {
    'kernel': jnp.asarray(rng.normal(size=(3, 4)), jnp.float32),
    'bias': jnp.zeros(4),
  }
  made = decoding.within(decoding.tuned_f())
  rules = rule_set.compiled(
    [rule_set.between([0, 1, 2], None, 1, tuple('abcd'))], 4
  )
  fitted = quick_jit(lambda p: made.fit(head, p, h, y))(params)
  state = decoding.given({'x': fitted}, rules)['x']
  d = quick_jit(lambda p: made.decide(head, p, h, state))(params)
  gain = head.marginals(params, h) - fitted['fitted']['threshold'][None]
  # At most one of three: the one of the largest gain, if it gains.
  top = np.argmax(gain[:, :3], axis=1)
  expected = np.zeros((50, 4))
  expected[np.arange(50), top] = gain[np.arange(50), top] > 0
  expected[:, 3] = gain[:, 3] > 0
  np.testing.assert_array_equal(d, expected)


class TestManyLabels:
  """Where vectors cannot be listed."""

  NUM_LABELS = 20

  def setup(self, factory):
    head = factory(self.NUM_LABELS)
    rng = np.random.default_rng(0)
    h = jnp.asarray(rng.normal(size=(12, 3)), jnp.float32)
    y = jnp.asarray(rng.integers(0, 2, (12, self.NUM_LABELS)), jnp.float32)
    params = quick_jit(head.init)(jax.random.key(0), h, y)
    params['kernel'] = params['kernel'] * 3
    names = tuple(f'y{j}' for j in range(self.NUM_LABELS))
    text = ['at most 4 of: *', 'y3 -> y4 | y5', 'y4 -> not y6', 'y0 -> y1, y2']
    rules = rule_set.compiled(rule_set.parse('\n'.join(text), names), 20)
    return head, params, h, rules

  def decide(self, decoder, head, params, h, rules):
    state = decoding.given({'x': decoder.fit(head, params, h, h)}, rules)['x']
    return quick_jit(lambda p: decoder.decide(head, p, h, state))(params)

  def test_independent_labels_are_decided_exactly(self):
    """The subset decision of independent labels is linear: by enumeration."""
    head, params, h, rules = self.setup(binary_relevance)
    subset = decoding.within(decoding.joint_mode())
    assert subset.exactness(head) == 'enumerated'
    found = self.decide(subset, head, params, h, rules)
    logits = np.asarray(head.logits(params, h), float)
    every = vectors(self.NUM_LABELS).astype(np.float32)
    allowed = every[~rule_set.violations(rules, every).any(-1)]
    best = (allowed @ logits.T).max(0)
    assert not rule_set.violations(rules, np.asarray(found)).any()
    np.testing.assert_allclose((found * logits).sum(-1), best, rtol=1e-5)
    unconstrained = head.mode(params, h)
    assert rule_set.violations(rules, np.asarray(unconstrained)).any()

  @pytest.mark.slow
  def test_a_chain_is_searched_and_says_so(self):
    head, params, h, rules = self.setup(classifier_chain)
    subset = decoding.within(decoding.joint_mode())
    assert subset.exactness(head) == 'searched'
    found = self.decide(subset, head, params, h, rules)
    assert not rule_set.violations(rules, np.asarray(found)).any()
    gap = quick_jit(lambda p: rule_set.optimality_gap(head, p, h, found))(
      params
    )
    assert (np.asarray(gap) > -1e-4).all()
    # Links are 0 at the start, so that the labels are independent after all
    # and the answer is known.
    independent = binary_relevance(self.NUM_LABELS)
    best = self.decide(subset, independent, params, h, rules)
    np.testing.assert_allclose(
      head.log_prob(params, h, found), head.log_prob(params, h, best), rtol=1e-5
    )

  def test_a_class_is_the_likeliest_that_is_allowed(self):
    head, params, h, _ = self.setup(softmax)
    names = tuple(f'y{j}' for j in range(self.NUM_LABELS))
    stated = '\n'.join(f'forbid: y{j}' for j in range(0, 20, 2))
    rules = rule_set.compiled(rule_set.parse(stated, names), 20)
    found = self.decide(
      decoding.within(decoding.joint_mode()), head, params, h, rules
    )
    p = np.array(head.marginals(params, h))
    p[:, ::2] = 0
    np.testing.assert_array_equal(found, np.eye(20)[p.argmax(-1)])

  def test_what_only_a_table_answers_is_refused(self):
    head = binary_relevance(self.NUM_LABELS)
    for decoder in (decoding.expected_f(), decoding.jaccard()):
      with pytest.raises(MissingCapabilityError, match='constraints=repair'):
        decoding.within(decoder).exactness(head)


def test_a_decoder_without_a_search_is_refused():
  with pytest.raises(MissingCapabilityError, match=r'top_2.*repair'):
    decoding.within(decoding.top_k(2))


def test_rules_that_were_not_given_are_missed():
  head, h = binary_relevance(3), jnp.ones((2, 2))
  params = {'kernel': jnp.ones((2, 3)), 'bias': jnp.zeros(3)}
  decoder = decoding.repaired(decoding.threshold())
  state = decoder.fit(head, params, h, h)
  with pytest.raises(ValueError, match='hamming_repair was given no rules'):
    decoder.decide(head, params, h, state)
  assert decoding.given({'hamming': (), 'hamming_repair': state}, None) == {
    'hamming': (),
    'hamming_repair': state,
  }


def test_the_word_is_the_least_exact_of_all(table_head):
  chain = classifier_chain(20)
  assert (
    decoding.repaired(decoding.joint_mode()).exactness(chain) == 'estimated'
  )
  assert decoding.within(decoding.threshold()).exactness(chain) == 'estimated'
  few = table_head(4)
  assert decoding.within(decoding.threshold()).exactness(few) == 'enumerated'
  assert distribution.MAX_TABLE_LABELS == 16
