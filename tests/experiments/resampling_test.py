"""Resampling in a run: which rows it trains on, and what is said of it."""

import json

import numpy as np
import pytest

from experiments import train
from experiments.evaluate import evaluate
from experiments.experiment import plan
from experiments.resampling import check_made, on_device
from mlc.data import sources
from mlc.heads.hierarchical import hierarchical
from mlc.methods import RESAMPLERS

# Labels from frequent to rare, so that every resampler finds something to do.
WORLD = 'synthetic:chain,labels=4,examples=300,features=4,imbalance=2'


@pytest.fixture(scope='module')
def dataset():
  return sources.load(WORLD)


@pytest.mark.slow
@pytest.mark.parametrize('name', RESAMPLERS)
def test_only_the_training_rows_of_a_run_change(name, tiny, dataset):
  plain = plan(tiny(dataset=WORLD), dataset)
  trial = plan(tiny(dataset=WORLD, resampling=name), dataset)
  for a, b in zip(plain.splits, trial.splits, strict=True):
    for part in ('train', 'validation', 'test'):
      np.testing.assert_array_equal(getattr(a, part), getattr(b, part))
  for part in ('validation', 'validation_weight', 'l2', 'learning_rate'):
    a, b = getattr(plain.runs, part), getattr(trial.runs, part)
    np.testing.assert_array_equal(a, b)
  data = on_device(trial.training)
  for run, described in enumerate(trial.described):
    split = trial.splits[described['split']]
    real = np.asarray(trial.runs.train_weight[run]) > 0
    rows = np.asarray(data.row[trial.runs.train[run]])
    assert set(rows) <= set(split.train)
    assert real.sum() == len(trial.training.rows[described['split']])
  drawn = trial.runs.drawn_until is not None
  assert drawn == (name in ('class_aware', 'square_root'))
  same = np.array_equal(plain.runs.train, trial.runs.train)
  assert same == (drawn or name == 'none')


@pytest.mark.slow
def test_a_run_says_what_was_made_and_is_judged_on_its_own_rows(
  tiny, dataset, tmp_path, caplog
):
  experiment = tiny(dataset=WORLD, resampling='mlsmote')
  with caplog.at_level('INFO'):
    run = train.run(experiment, workdir=str(tmp_path))
  found, results = run.read_predictions(), run.read_results()
  for s, split in enumerate(plan(experiment, dataset).splits):
    parts = {
      'row': split.test,
      'train_row': split.train,
      'validation_row': split.validation,
    }
    for key, rows in parts.items():
      np.testing.assert_array_equal(found[key][s][found[key][s] >= 0], rows)
    np.testing.assert_array_equal(
      found['train_positives'][s], dataset.y[split.train].sum(axis=0)
    )
    said = results['resampling'][s]
    assert (said['seed'], said['fold']) == (split.seed, split.fold)
    before, after = said['before'], said['after']
    assert before['rows'] == len(split.train) < after['rows']
    assert after['mean_imbalance_ratio'] < before['mean_imbalance_ratio']
  (note,) = [n for n in results['notes'] if n.startswith('resampling')]
  assert note.startswith('resampling mlsmote: training rows 192 to ')
  assert note in caplog.text
  # Judged again from the parameters, bit for bit.
  again = evaluate(run, experiment.decoders, {})
  assert json.loads(json.dumps(again)) == results['rows']


def test_made_rows_that_a_likelihood_cannot_fit_are_refused(tiny):
  """A decoupled row may have a label without its parent."""
  dataset = sources.load('synthetic:hierarchy,labels=6,examples=300')
  experiment = tiny(method='hierarchical', resampling='remedial')
  trial = plan(experiment, dataset)
  head = hierarchical(6, dataset.hierarchy, kind='conditional')
  y = trial.training.dataset.y[dataset.num_examples :]
  impossible = int((~head.support(y.astype(np.float32))).sum())
  assert impossible > 0
  with pytest.raises(ValueError, match=f'made {impossible} of {len(y)} rows'):
    check_made(experiment, head, dataset, trial.training)
  clones = tiny(method='hierarchical', resampling='ml_ros')
  check_made(clones, head, dataset, plan(clones, dataset).training)
