"""What every decoder promises: names, words, errors, one compilation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc import decoding
from mlc.base import MissingCapabilityError
from mlc.heads.binary_relevance import binary_relevance
from mlc.heads.classifier_chain import classifier_chain
from mlc.heads.softmax import softmax

DECODERS = {
  'hamming': decoding.threshold(),
  'threshold_0.3': decoding.threshold(0.3),
  'subset': decoding.joint_mode(),
  'greedy': decoding.greedy(),
  'f_beta': decoding.expected_f(),
  'f_beta_2': decoding.expected_f(2.0),
  'top_2': decoding.top_k(2),
  'jaccard': decoding.jaccard(),
  'hamming_nonempty': decoding.hamming_nonempty(),
  'subset_nonempty': decoding.subset_nonempty(),
  'tuned_f1': decoding.tuned_f(),
  'youden': decoding.youden(),
  'pcut': decoding.pcut(),
  'otsu': decoding.otsu(),
  'pooled_f1': decoding.pooled_f(),
  'micro_f2': decoding.micro_f(2.0),
  'rcut': decoding.rcut(),
  'mcut': decoding.mcut(),
  'cost': decoding.cost(),
  'tuned_cost': decoding.tuned_cost(false_negative=(2.0,), bootstrap=20),
  'target_precision_0.6': decoding.target_precision(0.6),
  'target_recall_0.6': decoding.target_recall(0.6),
  'fnr_control_0.1': decoding.fnr_control(0.1),
  'f1_control_0.5': decoding.f1_control(0.5),
}
LEARN = (
  'tuned_f1',
  'youden',
  'pcut',
  'otsu',
  'pooled_f1',
  'micro_f2',
  'rcut',
  'tuned_cost',
  'target_precision_0.6',
  'target_recall_0.6',
  'fnr_control_0.1',
  'f1_control_0.5',
)


@pytest.fixture
def fitted():
  """Head, parameters of three runs, features, labels."""
  head = binary_relevance(4)
  rng = np.random.default_rng(0)
  h = jnp.asarray(rng.normal(size=(30, 5)), jnp.float32)
  y = jnp.asarray(rng.integers(0, 2, (30, 4)), jnp.float32)
  keys = jax.random.split(jax.random.key(0), 3)
  params = jax.vmap(lambda key: head.init(key, h, y))(keys)
  return head, jax.tree.map(lambda leaf: 3 * leaf, params), h, y


@pytest.mark.slow
@pytest.mark.parametrize('name', DECODERS)
def test_runs_are_decided_together_and_compiled_once(name, fitted):
  head, params, h, y = fitted
  decoder = DECODERS[name]
  assert decoder.name == name
  traces = []

  @jax.jit
  @jax.vmap
  def decide(params):
    traces.append(None)
    state = decoder.fit(head, params, h, y)
    return decoder.decide(head, params, h, state)

  together = decide(params)
  decide(jax.tree.map(lambda leaf: leaf + 1, params))
  assert len(traces) == 1
  assert set(np.unique(together)) <= {0.0, 1.0}
  alone = jax.jit(
    lambda p: decoder.decide(head, p, h, decoder.fit(head, p, h, y))
  )
  for run in range(3):
    one = jax.tree.map(lambda leaf, run=run: leaf[run], params)
    np.testing.assert_array_equal(together[run], alone(one))


@pytest.mark.slow
@pytest.mark.parametrize('name', DECODERS)
def test_only_a_decoder_that_learns_has_a_state(name, fitted):
  head, params, h, y = fitted
  params = jax.tree.map(lambda leaf: leaf[0], params)
  where = jnp.ones(y.shape, bool)
  weight = jnp.ones(y.shape[:1])
  state = DECODERS[name].fit(
    head, params, h, y, where=where, weight=weight, key=jax.random.key(0)
  )
  assert (state == ()) == (name not in LEARN)


@pytest.mark.parametrize('name', LEARN)
def test_without_a_validation_row_nothing_can_be_learned(name, fitted):
  head, params, h, y = fitted
  params = jax.tree.map(lambda leaf: leaf[0], params)
  with pytest.raises(ValueError, match=f'{name}.*--validation_fraction'):
    DECODERS[name].fit(head, params, h[:0], y[:0])


NEEDS = {
  'hamming': ['marginals'],
  'top_2': ['marginals'],
  'jaccard': ['joint', 'sample'],
  'hamming_nonempty': ['marginals'],
  'subset_nonempty': ['joint'],
  'tuned_f1': ['marginals'],
  'mcut': ['marginals'],
  'subset': ['mode'],
  'greedy': ['greedy'],
  'f_beta': ['cardinality_marginals', 'joint', 'sample'],
}


@pytest.mark.parametrize('name', NEEDS)
def test_a_head_that_cannot_serve_is_named(name, table_head):
  decoder = DECODERS[name]
  head = table_head(4, NEEDS[name])
  h, tables = jnp.zeros((2, 1)), jnp.zeros((2, 16))
  state = {'threshold': jnp.zeros(4)} if name == 'tuned_f1' else ()
  for call in (
    lambda: decoder.exactness(head),
    lambda: decoder.decide(head, tables, h, state),
  ):
    with pytest.raises(MissingCapabilityError, match=f'{name}.*table'):
      call()


def test_the_word_for_a_decision_follows_what_it_is_made_of(table_head):
  word = lambda name, head: DECODERS[name].exactness(head)
  head = table_head(4)
  assert word('hamming', head) == 'enumerated'
  assert word('subset', head._replace(exactness={'mode': 'searched'})) == (
    'searched'
  )
  assert word('f_beta', head) == 'enumerated'
  no_cardinality = table_head(4, ('cardinality_marginals',))
  assert word('f_beta', no_cardinality) == 'closed-form'
  only_samples = table_head(4, ('cardinality_marginals', 'joint'))
  assert word('f_beta', only_samples) == 'estimated'
  assert word('greedy', binary_relevance(4)) == 'closed-form'
  one_pass = head._replace(greedy=lambda params, h: None)
  assert word('greedy', one_pass) == 'searched'


def test_the_word_for_a_decision_on_jaccard_or_on_some_label(table_head):
  word = lambda name, head: DECODERS[name].exactness(head)
  head, independent = table_head(4), binary_relevance(4)
  assert word('jaccard', head) == 'enumerated'
  assert word('jaccard', head._replace(joint=None)) == 'estimated'
  assert word('jaccard', independent._replace(joint=None)) == 'closed-form'
  assert word('subset_nonempty', head) == 'enumerated'
  assert word('subset_nonempty', independent) == 'closed-form'
  # More labels than are enumerated: draws, and no search.
  chain = classifier_chain(30)
  assert word('jaccard', chain) == 'estimated'
  with pytest.raises(MissingCapabilityError, match=r'subset_nonempty.*joint'):
    word('subset_nonempty', chain)
  assert word('subset_nonempty', softmax(30)) == 'closed-form'


@pytest.mark.slow
def test_without_a_key_the_samples_are_the_same(table_head, random_tables):
  head = table_head(6, ('cardinality_marginals', 'joint'))
  tables = random_tables(0, 50, 6)
  h = jnp.zeros((50, 1))
  decoder = decoding.expected_f(num_samples=20)
  decide = jax.jit(lambda p, key: decoder.decide(head, p, h, (), key=key))
  first = decide(tables, None)
  np.testing.assert_array_equal(first, decide(tables, None))
  other = decide(tables, jax.random.key(3))
  assert not np.array_equal(first, other)


def test_threshold_resolves_equality_to_off(table_head):
  half = jnp.log(jnp.full((1, 2), 0.5))
  decisions = decoding.threshold().decide(
    table_head(1), half, jnp.zeros((1, 1)), ()
  )
  assert decisions.tolist() == [[0.0]]


def test_top_k_takes_the_first_of_equals(table_head):
  tables = jnp.log(jnp.full((1, 16), 1 / 16))
  h = jnp.zeros((1, 1))
  assert decoding.top_k(2).decide(table_head(4), tables, h, ()).tolist() == [
    [1.0, 1.0, 0.0, 0.0]
  ]
  assert decoding.top_k(4).decide(table_head(4), tables, h, ()).tolist() == [
    [1.0, 1.0, 1.0, 1.0]
  ]


def test_top_k_takes_the_largest(table_head, random_tables):
  tables = random_tables(1, 60, 6)
  head = table_head(6)
  h = jnp.zeros((60, 1))
  p = np.asarray(head.marginals(tables, h), float)
  decisions = np.asarray(decoding.top_k(3).decide(head, tables, h, ()))
  np.testing.assert_array_equal(decisions.sum(-1), 3)
  chosen = np.sum(p * decisions, axis=-1)
  np.testing.assert_allclose(chosen, np.sort(p, axis=-1)[:, -3:].sum(-1))


def test_options_that_make_no_sense_are_refused(table_head):
  with pytest.raises(ValueError, match=r'value is 1\.5'):
    decoding.threshold(1.5)
  with pytest.raises(ValueError, match='value is nan'):
    decoding.threshold(float('nan'))
  with pytest.raises(ValueError, match='k is 0'):
    decoding.top_k(0)
  with pytest.raises(ValueError, match='5 labels of head table, which has 4'):
    decoding.top_k(5).exactness(table_head(4))
  with pytest.raises(ValueError, match='fnr_control: alpha is 1'):
    decoding.fnr_control(1.0)
  with pytest.raises(ValueError, match='f1_control: delta is 0'):
    decoding.f1_control(0.3, 0.0)
  with pytest.raises(ValueError, match=r'beta is 0\.0'):
    decoding.expected_f(0.0)
  for decoder in (decoding.expected_f, decoding.jaccard):
    with pytest.raises(ValueError, match='num_samples is 0'):
      decoder(num_samples=0)
