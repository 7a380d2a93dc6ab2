"""Contract of every method: it trains, decides and says how, end to end."""

import collections
import dataclasses
import functools
import itertools
import math
import typing

import jax
import numpy as np
import pytest

from experiments import edge, train
from experiments.config import DataOptions, Experiment, Search, TrainOptions
from experiments.evaluate import evaluate
from experiments.experiment import build_model, rehearse
from experiments.flags import options_of, resolved
from experiments.progress import Progress
from mlc.base import Batch, Exactness, MissingCapabilityError
from mlc.data import sources
from mlc.methods import (
  DECODERS,
  ENCODERS,
  LOSSES,
  METHODS,
  build_head,
  build_loss,
)
from mlc.run_directory import RunDirectoryError

WORDS = typing.get_args(Exactness)
MULTILABEL = 'synthetic:chain,labels=4,examples=160,features=4'
# What a method asks for that MULTILABEL does not give.
DATASETS = {
  'softmax': 'digits',
  'hierarchical': MULTILABEL.replace('chain', 'hierarchy'),
}
OPTIONS = {'decoder.k': 2, 'decoder.alpha': 0.4}
# What a decoder with its options is called in results.
NAMED = {
  'top_k': 'top_2',
  'tuned_f': 'tuned_f1',
  'pooled_f': 'pooled_f1',
  'micro_f': 'micro_f1',
  'target_precision': 'target_precision_0.8',
  'target_recall': 'target_recall_0.8',
  'fnr_control': 'fnr_control_0.4',
  'f1_control': 'f1_control_0.4',
}
# One decoder of each kind; tests of decoding hold them all against any head.
JUDGED = {'hamming', 'subset', 'greedy', 'top_k', 'tuned_f'}
# What a loss asks of a head, where not its logits.
NEEDED = {'nll': 'log_prob', 'own': 'objective'}
# What a method is trained with here, to be small.
SMALL = {
  'ensemble_of_chains': {'model.members': 3},
  'label_attention': {'model.width': 4, 'model.heads': 2},
  'masked_label': {'model.width': 4, 'model.heads': 2, 'model.depth': 1},
  'label_query': {'model.width': 4, 'model.heads': 2},
  'label_graph': {'model.width': 4},
  'label_sequence': {'model.width': 4},
  'recurrent_chain': {'model.width': 4},
  'stacked': {'model.folds': 2},
}

# Each epoch asks for other labels, and their number moves the training loss by
# more than three epochs do. In validation the same labels are asked every time.
FRESH_MASKS = {'masked_label'}


def dataset_of(method: str) -> str:
  return DATASETS.get(method, MULTILABEL)


def experiment(method: str, decoders=(), **search) -> Experiment:
  return resolved(
    Experiment(
      method=method,
      decoders=decoders,
      data=DataOptions(dataset=dataset_of(method), stratify=False),
      search=Search(**{'seeds': 2, **search}),
      train=TrainOptions(epochs=3, batch_size=32),
      options={**OPTIONS, **SMALL.get(method, {})},
    )
  )


def decoders_of(method: str) -> tuple[str, ...]:
  """The names of the decoders that a method serves."""
  dataset = sources.load(dataset_of(method))
  served = []
  for name in DECODERS:
    try:
      build_model(experiment(method, (name,)), dataset, 8)
    except MissingCapabilityError:
      continue
    served.append(name)
  return tuple(served)


def decided(served: tuple[str, ...]) -> set[str]:
  """What decoders are called in results: with their options."""
  return {NAMED.get(name, name) for name in served}


@pytest.mark.parametrize('method', METHODS)
class TestOnShapes:
  """What needs no training, and nothing compiled."""

  @pytest.mark.slow
  def test_name_loss_and_decoder_exist(self, method):
    made = METHODS[method]
    assert made.loss in LOSSES
    assert made.decoder in DECODERS
    assert made.decoder in decoders_of(method)

  def test_options_are_keyword_only_and_have_defaults(self, method):
    for option in options_of(METHODS[method].head, 'model.'):
      assert option.default is not None

  @pytest.mark.slow
  def test_every_decoder_says_how_or_who_lacks_what(self, method):
    dataset = sources.load(dataset_of(method))
    served = decoders_of(method)
    # Marginals are the least that a head gives.
    assert {'hamming', 'top_k'} <= {*served}
    model = build_model(experiment(method, served), dataset, 8)
    assert len(model.decoders) == len(served)
    for decoder in model.decoders.values():
      assert decoder.exactness(model.head) in WORDS
    for name in set(DECODERS) - {*served}:
      with pytest.raises(MissingCapabilityError, match=model.head.name):
        build_model(experiment(method, (name,)), dataset, 8)

  @pytest.mark.slow
  @pytest.mark.parametrize('encoder', ENCODERS)
  def test_every_encoder(self, method, encoder):
    dataset = sources.load(dataset_of(method))
    made = dataclasses.replace(experiment(method), encoder=encoder)
    rehearse(build_model(made, dataset, 8), dataset)

  @pytest.mark.slow
  def test_every_loss_or_what_it_lacks(self, method):
    head = build_model(experiment(method), sources.load(dataset_of(method)), 8)
    head = head.head
    shape = jax.ShapeDtypeStruct
    rows = Batch(
      shape((6, 3), np.float32),
      shape((6, head.num_labels), np.float32),
      row=shape((6,), np.int32),
    )
    key = jax.eval_shape(lambda: jax.random.key(0))
    params = jax.eval_shape(head.init, key, rows.x, rows.y)
    trained = head.member or head
    for name in LOSSES:
      loss = build_loss(name, head, {})
      state = () if loss.fit is None else jax.eval_shape(loss.fit, rows.y)
      trace = functools.partial(
        jax.eval_shape, functools.partial(loss.apply, head), state=state
      )
      classes = name.startswith('softmax_')
      needed = NEEDED.get(name, 'one_hot' if classes else 'logits')
      if not getattr(trained, needed):
        with pytest.raises(MissingCapabilityError, match=needed):
          trace(params, rows.x, rows)
      else:
        assert trace(params, rows.x, rows).shape == (6,)


def test_an_ensemble_trains_each_member_on_its_own():
  head = build_head('ensemble_of_chains', {'num_labels': 3}, {'members': 2})
  assert build_loss('nll', head, {}).name == 'per_member_nll'
  assert build_loss('nll', head.member, {}).name == 'nll'


def test_facts_go_by_name():
  facts = {'num_labels': 3, 'num_label_sets': 5}
  assert build_head('label_powerset', facts, {}).num_labels == 3
  with pytest.raises(ValueError, match="Did you mean 'label_powerset'"):
    build_head('labelpowerset', facts, {})


@pytest.fixture(scope='module')
def compiled() -> list[str]:
  """Grows with every compilation in this process."""
  events: list[str] = []

  def listen(event: str, duration_secs: float, **kwargs) -> None:
    del duration_secs, kwargs
    if event.endswith('backend_compile_duration'):
      events.append(event)

  jax.monitoring.register_event_duration_secs_listener(listen)
  return events


@pytest.fixture(scope='module', params=METHODS)
def trained(request, tmp_path_factory, compiled):
  """A method trained and judged by those of JUDGED that it serves.

  Returns its run directory, the decoders, and for each epoch how many
  programs had been compiled.
  """
  method = request.param
  served = tuple(d for d in decoders_of(method) if d in JUDGED)
  counts: list[int] = []
  on_epoch = Progress.on_epoch

  def counting(self, record):
    counts.append(len(compiled))
    on_epoch(self, record)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(Progress, 'on_epoch', counting)
    run = train.run(
      experiment(method, served), workdir=str(tmp_path_factory.mktemp('runs'))
    )
  return run, served, counts


@pytest.mark.slow
class TestEndToEnd:
  def test_every_decoder_gives_every_number(self, trained):
    run, served, _ = trained
    results = run.read_results()
    names = {row['decoder'] for row in results['rows']}
    assert names == decided(served)
    count = collections.Counter(
      (row['decoder'], row['split'], row['metric']) for row in results['rows']
    )
    assert {*count.values()} == {2}
    metrics = {name for _, _, name in count}
    assert len(count) == len(names) * 2 * len(metrics)
    for row in results['rows']:
      assert row['exactness'] in WORDS
      assert row['value'] is not None
      assert math.isfinite(row['value'])

  def test_nothing_is_compiled_after_the_first_epoch(self, trained):
    _, _, counts = trained
    assert len(counts) == 3
    assert counts[1:] == [counts[0]] * 2

  def test_the_loss_falls(self, trained):
    run, _, _ = trained
    first, *_, last = run.read_metrics()
    loss = 'train_loss'
    if run.read_results()['method'] in FRESH_MASKS:
      loss = 'validation_loss'
    assert (np.array(last[loss]) < first[loss]).all()

  def test_decisions_are_label_vectors(self, trained):
    run, served, _ = trained
    predictions = run.read_predictions()
    for name in decided(served):
      assert {*np.unique(predictions[f'decision_{name}'])} <= {0, 1}
    assert (predictions['decision_top_2'].sum(axis=-1) == 2).all()
    p = predictions['marginals']
    assert ((p >= 0) & (p <= 1 + 1e-6)).all()
    if run.read_results()['method'] == 'softmax':
      assert (predictions['decision_subset'].sum(axis=-1) == 1).all()
      np.testing.assert_allclose(p.sum(axis=-1), 1.0, rtol=1e-5)


@pytest.fixture(scope='module')
def half_diverged(tmp_path_factory):
  """Two seeds with a learning rate that is right and one that is not."""
  made = experiment(
    'classifier_chain', ('subset',), learning_rates=(0.01, 1e30)
  )
  return train.run(made, workdir=str(tmp_path_factory.mktemp('runs')))


@pytest.mark.slow
class TestDivergence:
  """A learning rate at which the loss blows up, beside one that does not."""

  def test_the_others_go_on_and_are_chosen(self, half_diverged):
    run = half_diverged
    runs = run.read_results()['runs']
    assert len(runs) == 4
    for one in runs:
      huge = one['learning_rate'] > 1
      assert one['diverged'] == huge
      assert one['selected'] == (not huge)
    values = [row['value'] for row in run.read_results()['rows']]
    assert all(map(math.isfinite, values))

  def test_nobody_else_is_touched(self, half_diverged, tmp_path):
    """The run beside it is, bit for bit, what it is alone."""
    alone = train.run(
      experiment('classifier_chain', ('subset',), learning_rates=(0.01,)),
      workdir=str(tmp_path),
    )
    wanted = half_diverged.read_results()['rows']
    assert alone.read_results()['rows'] == wanted

  def test_when_all_diverge_the_run_ends_and_says_so(self, tmp_path, capsys):
    made = experiment('classifier_chain', ('subset',), learning_rates=(1e30,))
    run = train.run(made, workdir=str(tmp_path))
    results = run.read_results()
    assert results['rows'] == []
    assert [one['diverged'] for one in results['runs']] == [True, True]
    assert results['parameters'] > 0
    capsys.readouterr()
    edge.show(run)
    assert '2 of 2 runs diverged' in capsys.readouterr().out
    with pytest.raises(RunDirectoryError, match='lower learning rate'):
      evaluate(run, ('hamming',), {})


@pytest.mark.slow
@pytest.mark.parametrize(
  ('method', 'dataset', 'loss', 'metric'),
  [
    ('classifier_chain', 'digits', 'nll', 'subset_accuracy'),
    ('softmax', MULTILABEL, 'sigmoid_cross_entropy', 'lrap'),
  ],
)
def test_a_mismatch_that_is_insisted_on(
  method, dataset, loss, metric, tmp_path
):
  made = resolved(
    Experiment(
      method=method,
      loss=loss,
      allow_mismatch=True,
      data=DataOptions(dataset=dataset, stratify=False),
      search=Search(seeds=1),
      train=TrainOptions(epochs=2),
    )
  )
  run = train.run(made, workdir=str(tmp_path))
  assert metric in {row['metric'] for row in run.read_results()['rows']}


def test_no_two_methods_are_one():
  heads = [method.head for method in METHODS.values()]
  for one, other in itertools.combinations(heads, 2):
    assert one is not other
