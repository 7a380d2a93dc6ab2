import hashlib
import importlib.util
import shutil
import subprocess
import sys
import time
import types

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score

from mlc.data import bundled
from mlc.data.dataset import DatasetError

MODULES = {'yeast': 'river', 'movies': 'bokeh_sampledata', 'digits': 'sklearn'}


@pytest.fixture(scope='module')
def movies():
  return bundled.movies()


def test_yeast():
  data = bundled.yeast()
  assert data.x.shape == (2417, 103)
  assert data.label_names == tuple(f'Class{i}' for i in range(1, 15))
  assert data.feature_names == tuple(f'Att{i}' for i in range(1, 104))
  assert data.y.sum() / 2417 == pytest.approx(4.237, abs=5e-4)
  assert len(np.unique(data.y, axis=0)) == 198


@pytest.mark.slow
def test_movies(movies):
  assert movies.x.shape == (17029, 4096)
  assert movies.num_labels == 21
  assert movies.y.sum() / 17029 == pytest.approx(2.083, abs=5e-4)
  assert len(np.unique(movies.y, axis=0)) == 1187
  assert set(movies.x.data) == {1.0}
  assert np.diff(movies.x.indptr).max() == bundled.TOKENS_A_MOVIE
  # As made on the day: a token that hashes elsewhere, on another platform or
  # Python, would silently make another data set.
  digest = hashlib.sha256(movies.x.indices.astype('<i4').tobytes()).hexdigest()
  assert digest[:16] == '79568ba1ea6fe5f2'


@pytest.mark.slow
def test_movies_are_as_predictable_as_they_were_measured(movies):
  order = np.random.default_rng(0).permutation(movies.num_examples)
  test, train = np.split(order, [movies.num_examples // 5])
  scores = np.stack(
    [
      LogisticRegression(C=0.1, solver='liblinear')
      .fit(movies.x[train], column[train])
      .predict_proba(movies.x[test])[:, 1]
      for column in movies.y.T
    ],
    axis=1,
  )
  truth = movies.y[test]
  # An independent featurisation had 0.310 and 0.492; the genre in the features
  # would give nearly 1, and the label shares alone 0.098 and 0.418.
  assert average_precision_score(truth, scores) == pytest.approx(0.31, abs=0.02)
  micro = f1_score(truth, scores > 0.3, average='micro')
  assert micro == pytest.approx(0.492, abs=0.02)


def test_digits():
  data = bundled.digits()
  assert data.x.shape == (1797, 64)
  assert data.is_multiclass
  assert data.num_labels == 10
  assert (data.x.min(), data.x.max()) == (0.0, 1.0)


@pytest.mark.slow
def test_the_packages_are_not_imported():
  code = (
    'import sys\n'
    'from mlc.data import bundled\n'
    'bundled.yeast(), bundled.movies()\n'
    'print(*({"river", "bokeh_sampledata", "pandas", "sklearn"}'
    ' & sys.modules.keys()))\n'
  )
  done = subprocess.run(
    [sys.executable, '-c', code], check=True, capture_output=True, text=True
  )
  assert done.stdout.strip() == ''


@pytest.mark.parametrize('name', bundled.BUNDLED)
def test_a_missing_package_is_named_within_a_second(monkeypatch, name):
  find_spec = importlib.util.find_spec

  def without(module, *args):
    return None if module == MODULES[name] else find_spec(module, *args)

  monkeypatch.setattr(importlib.util, 'find_spec', without)
  began = time.process_time()
  with pytest.raises(DatasetError, match=r"pip install 'mlc\[data\]'"):
    bundled.BUNDLED[name]()
  assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
  ('name', 'file'),
  [('yeast', 'datasets/yeast.csv.gz'), ('movies', '_data/movies.db')],
)
@pytest.mark.parametrize('damage', ['changed', 'absent'])
def test_another_file_is_refused(monkeypatch, tmp_path, name, file, damage):
  module = MODULES[name]
  folder = importlib.util.find_spec(module).submodule_search_locations[0]
  copy = tmp_path / file
  copy.parent.mkdir()
  if damage == 'changed':
    shutil.copy(f'{folder}/{file}', copy)
    content = bytearray(copy.read_bytes())
    content[len(content) // 2] ^= 1
    copy.write_bytes(content)
  spec = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
  monkeypatch.setattr(importlib.util, 'find_spec', lambda _: spec)
  message = {'changed': 'has SHA-256', 'absent': 'cannot read'}[damage]
  with pytest.raises(DatasetError, match=f'{message}.*pip install') as error:
    bundled.BUNDLED[name]()
  assert str(copy) in str(error.value)
