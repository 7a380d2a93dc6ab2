"""A data set some of whose labels nobody knows."""

import numpy as np
import pytest
from sklearn import metrics as sk

from experiments import edge, train
from mlc.data import sources


@pytest.fixture
def data_dir(write_arff, sample):
  """Three labels of which a quarter is unknown."""
  x, y = sample
  hidden = np.random.default_rng(1).random(y.shape) < 0.25
  cells = [
    ['?' if h else str(v) for v, h in zip(a, b, strict=True)]
    for a, b in zip(y, hidden, strict=True)
  ]
  return str(write_arff('partial', x.tolist(), cells))


def test_the_likelihood_is_refused_and_the_way_out_named(
  tiny, data_dir, tmp_path
):
  for method in ('binary_relevance', 'ensemble_of_chains'):
    with pytest.raises(edge.Refusal, match='sigmoid_cross_entropy'):
      train.run(
        tiny(method, dataset='partial'),
        workdir=str(tmp_path / 'runs'),
        data_dir=data_dir,
      )
  assert not (tmp_path / 'runs').exists()


@pytest.mark.slow
def test_the_way_out_works(tiny, data_dir, tmp_path):
  run = train.run(
    tiny(dataset='partial', loss='sigmoid_cross_entropy', seeds=1, epochs=5),
    workdir=str(tmp_path / 'runs'),
    data_dir=data_dir,
  )
  dataset = sources.load('partial', data_dir=data_dir)
  results, predictions = run.read_results(), run.read_predictions()
  assert results['loss'] == 'sigmoid_cross_entropy'
  values = {
    row['metric']: row['value']
    for row in results['rows']
    if row['split'] == 'test'
  }
  assert 'nll' not in values
  here = predictions['row'][0] >= 0
  rows = predictions['row'][0][here]
  known = predictions['where'][0][here]
  np.testing.assert_array_equal(known, dataset.where[rows])
  y = dataset.y[rows][known]
  d = predictions['decision_hamming'][0][here][known]
  assert 0 < known.mean() < 1
  assert values['hamming_loss'] == pytest.approx(np.mean(y != d))
  assert values['f1_micro'] == pytest.approx(sk.f1_score(y, d))
  first, *_, last = run.read_metrics()
  assert last['train_loss'][0] < first['train_loss'][0]
