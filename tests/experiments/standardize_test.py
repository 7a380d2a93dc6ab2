"""Which features are scaled when nobody says."""

import dataclasses
import json

import numpy as np
import pytest
import scipy.sparse

from experiments.config import DataOptions, Experiment
from experiments.experiment import build_model, standardizes
from mlc.data.dataset import Dataset


def drawn(sparse):
  rng = np.random.default_rng(0)
  x = rng.random((20, 3)).astype(np.float32)
  return Dataset(
    name='drawn',
    x=scipy.sparse.csr_array(x) if sparse else x,
    y=(rng.random((20, 2)) < 0.5).astype(np.uint8),
    label_names=('a', 'b'),
  )


@pytest.mark.parametrize(
  ('asked', 'sparse', 'scaled'),
  [
    ('auto', False, True),
    ('auto', True, False),
    ('true', True, True),
    ('false', False, False),
  ],
)
def test_dense_features_are_scaled_and_sparse_ones_left(asked, sparse, scaled):
  made = Experiment(data=DataOptions(standardize=asked))
  data = drawn(sparse)
  assert standardizes(made, data) == scaled
  bare = dataclasses.replace(made, data=DataOptions(standardize='false'))
  encoder, without = (
    build_model(e, data, num_label_sets=4).encoder for e in (made, bare)
  )
  # Named alike: a setting of a result, not another model.
  assert encoder.name == without.name
  assert ('standardized' in encoder.init.__qualname__) == scaled


@pytest.mark.slow
def test_what_was_done_is_in_the_results(command, tmp_path):
  """And a sentence says so where it was left out."""
  rows = '\n'.join('{0 1, 1 1}' if i % 2 else '{2 3}' for i in range(40))
  path = tmp_path / 'tokens.arff'
  path.write_text(
    "@relation 'tokens: -C 1'\n@attribute y {0,1}\n@attribute a numeric\n"
    f'@attribute b numeric\n@data\n{rows}\n'
  )
  outcome = command(
    'train.py',
    '--method=binary_relevance',
    f'--dataset=arff:{path}',
    '--seeds=1',
    '--epochs=1',
    '--learning_rates=0.1',
    '--l2s=0',
    f'--workdir={tmp_path / "runs"}',
  )
  assert outcome.code == 0, outcome.err
  (results,) = (tmp_path / 'runs').rglob('results.json')
  found = json.loads(results.read_text())
  assert found['settings']['standardize'] == 'false'
  assert any('sparse and left as they are' in note for note in found['notes'])
