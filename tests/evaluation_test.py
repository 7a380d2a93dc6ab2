"""Evaluation: the numbers of a table against scikit-learn and enumeration."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk

from mlc import decoding, evaluation, metrics
from mlc.base import Batch, Head
from mlc.encoders.identity import identity
from mlc.heads.binary_relevance import binary_relevance
from mlc.heads.classifier_chain import classifier_chain
from mlc.metrics.decomposition import Components, regrets
from mlc.metrics.regret import criteria

ROWS, FEATURES, LABELS = 37, 3, 5
DECODERS = {
  d.name: d
  for d in (
    decoding.threshold(),
    decoding.joint_mode(),
    decoding.expected_f(),
    decoding.top_k(2),
  )
}


def drawn(seed: int = 0) -> Batch:
  """Rows with ties in y, empty rows and a label without positives."""
  generator = np.random.default_rng(seed)
  y = (generator.random((ROWS, LABELS)) < 0.4).astype(np.float32)
  y[:3], y[:, 4] = 0.0, 0.0
  x = generator.normal(size=(ROWS, FEATURES)).astype(np.float32)
  return Batch(jnp.asarray(x), jnp.asarray(y), weight=jnp.ones(ROWS))


def params_of(head: Head, batch: Batch):
  key = jax.random.key(1)
  params = head.init(key, batch.x, batch.y)
  noise = lambda leaf: (
    leaf + jax.random.normal(key, leaf.shape)
    if leaf.dtype == jnp.float32
    else leaf
  )
  frozen = params.pop('frozen', None)
  params = jax.tree.map(noise, params)
  if frozen is not None:
    params['frozen'] = frozen
  return {'encoder': {}, 'head': params}


def evaluate(
  head,
  decoders,
  kinds,
  params,
  rows,
  key,
  *,
  truth=None,
  temperature=None,
  propensities=None,
  block=None,
):
  """Every step of a judgement of one run, as one function."""
  states = dict.fromkeys(decoders, ())
  block = block or evaluation.block_of(head)
  found = evaluation.decide(
    identity(), head, decoders, params, states, rows, key
  )
  found = evaluation.with_propensities(found, propensities)
  of_decoder = evaluation.measured(kinds, found)
  values = {name: mine.values for name, mine in of_decoder.items()}
  undefined = {name: mine.undefined for name, mine in of_decoder.items()}
  marginals = metrics.given(found.seen, 'scores')
  if truth is not None:
    table = None
    if temperature is not None:
      table = evaluation.joint_of(identity(), head, params, rows.x, block)
    of_each = regrets(
      truth, found.decisions, marginals, rows.weight, block, table, temperature
    )
    values = {name: values[name] | of_each[name] for name in values}
  return evaluation.Judged(
    values,
    marginals,
    found.decisions,
    found.confidence,
    undefined,
    found.information,
  )


@functools.cache
def judged(weighted: bool) -> tuple[Batch, evaluation.Judged]:
  """A chain's judgement of the rows, or of them and padding."""
  head = classifier_chain(LABELS)
  batch = drawn()
  params = params_of(head, batch)
  if weighted:
    # Padding that would change every number if it counted.
    other = drawn(seed=7)
    batch = Batch(
      x=jnp.concatenate([batch.x, other.x]),
      y=jnp.concatenate([batch.y, 1.0 - other.y]),
      weight=jnp.concatenate([jnp.ones(ROWS), jnp.zeros(ROWS)]),
    )
  run = jax.jit(
    lambda params, batch, key: evaluate(
      head,
      DECODERS,
      metrics.multilabel(),
      params,
      batch,
      key,
      propensities=jnp.linspace(0.1, 1.0, LABELS),
      block=8,
    )
  )
  return batch, run(params, batch, jax.random.key(0))


def expected(y: np.ndarray, d: np.ndarray, p: np.ndarray) -> dict[str, float]:
  """scikit-learn's numbers, its zero division as our tables state it."""
  f1 = functools.partial(sk.f1_score, y, d, zero_division=0)
  return {
    'subset_accuracy': sk.accuracy_score(y, d),
    'hamming_loss': sk.hamming_loss(y, d),
    'f1_example': sk.f1_score(y, d, average='samples', zero_division=1),
    'jaccard_example': sk.jaccard_score(
      y, d, average='samples', zero_division=1
    ),
    'f1_micro': f1(average='micro'),
    'f1_macro': f1(average='macro'),
    'precision_macro': sk.precision_score(
      y, d, average='macro', zero_division=0
    ),
    'recall_micro': sk.recall_score(y, d, average='micro', zero_division=0),
    'lrap': sk.label_ranking_average_precision_score(y, p),
    'coverage_error': sk.coverage_error(y, p),
    'ranking_loss': sk.label_ranking_loss(y, p),
    'ndcg_at_3': sk.ndcg_score(y, p, k=3, ignore_ties=True),
  }


@pytest.mark.slow
@pytest.mark.parametrize('decoder', DECODERS)
@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.filterwarnings('ignore::sklearn.exceptions.UndefinedMetricWarning')
def test_numbers_are_those_of_scikit_learn(decoder, weighted):
  batch, result = judged(weighted)
  y = np.asarray(batch.y)[:ROWS]
  d = np.asarray(result.decisions[decoder])[:ROWS]
  p = np.asarray(result.marginals, np.float64)[:ROWS]
  for name, value in expected(y, d, p).items():
    assert result.values[decoder][name] == pytest.approx(value, abs=2e-6), name
  undefined = result.undefined[decoder]
  assert undefined['lrap'] == (y.sum(1) == 0).sum()
  assert undefined['f1_example'] == ((y.sum(1) + d.sum(1)) == 0).sum()


@pytest.mark.slow
def test_numbers_of_the_distribution_are_the_same_for_all_decoders():
  _, result = judged(False)
  kinds = metrics.multilabel()
  for name, metric in kinds.items():
    values = {float(result.values[decoder][name]) for decoder in DECODERS}
    if metric.needs in ('scores', 'log_prob'):
      assert len(values) == 1
  assert {len(v) for v in result.values.values()} == {len(kinds)}


@pytest.mark.slow
def test_nll_is_that_of_the_chain():
  batch, result = judged(False)
  head = classifier_chain(LABELS)
  params = params_of(head, drawn())['head']
  logits = batch.x @ params['kernel'] + params['bias'][None, :]
  total = 0.0
  for b, y in enumerate(np.asarray(batch.y)):
    for j in range(LABELS):
      z = float(logits[b, j])
      z += sum(y[i] * float(params['links'][i, j]) for i in range(j))
      total += np.log1p(np.exp(-z if y[j] else z))
  nll = result.values['subset']['nll']
  assert nll == pytest.approx(total / ROWS, rel=1e-5)


@pytest.mark.slow
def test_the_share_of_rows_with_a_proved_mode():
  """Of a beam over 17 labels; padding does not count."""
  head = classifier_chain(17, beam_width=2)
  batch = drawn()
  batch = batch._replace(
    y=jnp.tile(batch.y, (1, 4))[:, :17],
    weight=(jnp.arange(ROWS) % 4 > 0).astype(jnp.float32),
  )
  params = params_of(head, batch)
  proved = head.mode_certificate(params['head'], batch.x)
  judge = functools.partial(
    evaluate,
    decoders={'greedy': decoding.greedy()},
    kinds={'hamming_loss': metrics.multilabel()['hamming_loss']},
    params=params,
    rows=batch,
    key=jax.random.key(0),
  )
  # Marginals by sampling are not what is asked here.
  head = head._replace(marginals=lambda params, h, *, key=None: 0.0 * batch.y)
  value = judge(head, block=ROWS).values['greedy']['mode_certified']
  wanted = np.average(np.asarray(proved), weights=np.asarray(batch.weight))
  assert 0.0 < wanted < 1.0
  assert value == pytest.approx(wanted)
  without = judge(head._replace(mode_certificate=None), block=ROWS)
  assert 'mode_certified' not in without.values['greedy']


@pytest.mark.slow
def test_regrets_are_the_sum_of_their_parts():
  """A chain beside a truth that it does not know."""
  batch = drawn()
  head = classifier_chain(LABELS)
  params = params_of(head, batch)
  y = head.sample(params['head'], jax.random.key(2), batch.x, 1)[0]
  batch = batch._replace(y=y)
  generator = np.random.default_rng(4)
  logits = 2 * generator.normal(size=(ROWS, 2**LABELS))
  truth = jax.nn.log_softmax(jnp.asarray(logits, jnp.float32))

  @jax.jit
  def run(params, batch, truth):
    temperature = evaluation.fit_temperature(
      identity(), head, params, batch, block=16
    )
    judged = evaluate(
      head,
      {'hamming': decoding.threshold(), 'subset': decoding.joint_mode()},
      {'hamming_loss': metrics.multilabel()['hamming_loss']},
      params,
      batch,
      jax.random.key(0),
      truth=truth,
      temperature=temperature,
      block=16,
    )
    return temperature, judged.values

  temperature, values = run(params, batch, truth)
  assert 1 / 8 < temperature < 8
  assert temperature != 1.0
  for decoder, found in values.items():
    for name in criteria():
      parts = [found[f'regret_{name}_{part}'] for part in Components._fields]
      total = float(found[f'regret_{name}'])
      assert sum(map(float, parts)) == pytest.approx(total, abs=1e-6), name
    own = {'hamming': 'hamming_loss', 'subset': 'subset_accuracy'}[decoder]
    assert found[f'regret_{own}_decoding'] == pytest.approx(0.0, abs=1e-6)
  assert values['hamming']['regret_subset_accuracy_decoding'] != 0.0
  assert (
    evaluation.fit_temperature(
      identity(), head._replace(joint=None), params, batch
    )
    is None
  )


@pytest.mark.slow
def test_unknown_labels_are_left_out_and_the_joint_is_not_scored():
  batch = drawn()
  generator = np.random.default_rng(5)
  where = generator.random((ROWS, LABELS)) < 0.7
  batch = batch._replace(
    y=jnp.where(where, batch.y, 0.0), where=jnp.asarray(where)
  )
  head = binary_relevance(LABELS)
  result = evaluate(
    head,
    {'hamming': decoding.threshold()},
    {
      name: metric
      for name, metric in metrics.multilabel().items()
      if name in ('hamming_loss', 'f1_micro', 'nll')
    },
    params_of(head, batch),
    batch,
    jax.random.key(0),
  )
  y, d = np.asarray(batch.y)[where], np.asarray(result.decisions['hamming'])
  values = result.values['hamming']
  assert 'nll' not in values
  assert values['hamming_loss'] == pytest.approx(np.mean(y != d[where]))
  assert values['f1_micro'] == pytest.approx(sk.f1_score(y, d[where]))


@pytest.mark.slow
def test_decoders_are_fitted_on_the_rows_they_are_given():
  batch = drawn()
  head = binary_relevance(LABELS)
  params = params_of(head, batch)
  decoders = {'tuned_f1': decoding.tuned_f()}
  fitted = functools.partial(
    evaluation.fit_decoders, identity(), head, decoders, params
  )
  key = jax.random.key(0)
  half = jax.tree.map(lambda leaf: leaf[:20], batch)
  padded = batch._replace(weight=(jnp.arange(ROWS) < 20).astype(jnp.float32))
  one, other, whole = (
    fitted(rows, key)['tuned_f1']['threshold'] for rows in (half, padded, batch)
  )
  np.testing.assert_array_equal(one, other)
  assert not np.array_equal(one, whole)


def test_a_second_judgement_compiles_nothing():
  batch = drawn()
  head = binary_relevance(LABELS)
  params = params_of(head, batch)
  traced = itertools.count()

  @jax.jit
  def run(params, batch, key):
    next(traced)
    return evaluate(
      head,
      {'subset': decoding.joint_mode()},
      {'hamming_loss': metrics.multilabel()['hamming_loss']},
      params,
      batch,
      key,
    ).values

  run(params, batch, jax.random.key(0))
  other = drawn(seed=2)
  run(jax.tree.map(jnp.copy, params), other, jax.random.key(1))
  assert next(traced) == 1
