import pathlib
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
import tensorflow_datasets

from mlc.data import sources, tfds
from mlc.data.dataset import Dataset, DatasetError
from mlc.data.synthetic import make


def _dense():
  rng = np.random.default_rng(0)
  return Dataset(
    name='dense set',
    x=rng.normal(size=(40, 3)),
    y=rng.integers(0, 2, (40, 4)),
    label_names=('a', 'back\\slash', "quo'te", 'e acute é, "x"'),
    feature_names=('f', 'g h', 'i'),
    source='made up',
  )


def _sparse():
  """Rows of the three parts mixed, empty rows, unknown labels."""
  rng = np.random.default_rng(1)
  x = rng.normal(size=(60, 7)) * (rng.random((60, 7)) < 0.3)
  x[[0, 5, 59]] = 0.0
  return Dataset(
    name='sparse',
    x=scipy.sparse.csr_array(x.astype(np.float32)),
    y=rng.integers(0, 2, (60, 5)),
    label_names=tuple('abcde'),
    where=rng.random((60, 5)) < 0.8,
    split=rng.permutation(np.repeat([0, 1, 2], 20)),
    notes=('a note of the loader',),
  )


def _joint():
  return make('chain', labels=3, examples=50)


def _hierarchy():
  return make('hierarchy', labels=4, examples=50)


DATASETS = (_dense, _sparse, _joint, _hierarchy)


@pytest.mark.parametrize('dataset', DATASETS)
def test_what_is_read_is_what_was_written(dataset, tmp_path):
  dataset = dataset()
  tfds.write(dataset, str(tmp_path))
  back = tfds.load(dataset.name, str(tmp_path))
  assert type(back.x) is type(dataset.x)
  for ours, theirs in (
    (back.x, dataset.x),
    (back.y, dataset.y),
    (back.where, dataset.where),
    (back.split, dataset.split),
    (back.hierarchy, dataset.hierarchy),
    (back.log_joint, dataset.log_joint),
  ):
    if theirs is None:
      assert ours is None
    elif scipy.sparse.issparse(theirs):
      np.testing.assert_array_equal(ours.toarray(), theirs.toarray())
    else:
      np.testing.assert_array_equal(ours, theirs)
  for field in ('name', 'label_names', 'feature_names', 'source', 'notes'):
    assert getattr(back, field) == getattr(dataset, field)
  assert back.content_hash == dataset.content_hash


def test_tfds_reads_it_row_by_row_in_order(tmp_path):
  dataset = _sparse()
  tfds.write(dataset, str(tmp_path))
  parts = tensorflow_datasets.data_source('mlc/sparse', data_dir=str(tmp_path))
  assert set(parts) == {'train', 'validation', 'test'}
  for name, part in (('train', 0), ('validation', 1), ('test', 2)):
    rows = list(parts[name])
    index = np.flatnonzero(dataset.split == part)
    assert [row['index'] for row in rows] == index.tolist()
    for row in rows:
      i = row['index']
      np.testing.assert_array_equal(row['labels'], dataset.y[i])
      np.testing.assert_array_equal(row['known'], dataset.where[i])
      x = np.zeros(7, np.float32)
      x[row['features']['indices']] = row['features']['values']
      np.testing.assert_array_equal(x, dataset.x[[i]].toarray()[0])


def test_without_a_given_split_all_rows_are_in_train(tmp_path):
  dataset = _dense()
  tfds.write(dataset, str(tmp_path))
  builder = tensorflow_datasets.builder('mlc/dense-set', data_dir=str(tmp_path))
  assert list(builder.info.splits) == ['train']
  assert builder.info.metadata['label_names'] == list(dataset.label_names)
  source = builder.as_data_source('train')
  x = np.stack([row['features'] for row in source])
  np.testing.assert_array_equal(x, dataset.x)


def test_order_does_not_rest_on_the_order_of_the_files(tmp_path, monkeypatch):
  dataset = _sparse()
  tfds.write(dataset, str(tmp_path))
  assemble = tfds._assemble

  def shuffled(metadata, examples):
    rng = np.random.default_rng(0)
    examples = {
      name: [part[i] for i in rng.permutation(len(part))]
      for name, part in reversed(examples.items())
    }
    return assemble(metadata, examples)

  monkeypatch.setattr(tfds, '_assemble', shuffled)
  back = tfds.load('sparse', str(tmp_path))
  assert back.content_hash == dataset.content_hash


def test_the_same_content_is_not_written_twice_and_another_is_refused(tmp_path):
  dataset = _dense()
  path = pathlib.Path(tfds.write(dataset, str(tmp_path)))
  before = {file: file.stat().st_mtime_ns for file in path.iterdir()}
  assert tfds.write(dataset, str(tmp_path)) == str(path)
  other = make('chain', labels=3, examples=5)
  object.__setattr__(other, 'name', 'dense set')
  with pytest.raises(DatasetError, match='holds the data set') as error:
    tfds.write(other, str(tmp_path))
  assert dataset.content_hash[:10] in str(error.value)
  assert other.content_hash[:10] in str(error.value)
  after = {file: file.stat().st_mtime_ns for file in path.iterdir()}
  assert before == after
  # Nothing else appears in the directory.
  assert [entry.name for entry in tmp_path.iterdir()] == ['mlc']


def test_no_temporary_folder_is_left(tmp_path, monkeypatch):
  (tmp_path / 'temporary').mkdir()
  monkeypatch.setattr('tempfile.tempdir', str(tmp_path / 'temporary'))
  tfds.write(_dense(), str(tmp_path))
  tfds.load('dense set', str(tmp_path))
  assert not list((tmp_path / 'temporary').iterdir())


def test_a_missing_set_is_an_error_with_the_nearest_name(tmp_path):
  tfds.write(_sparse(), str(tmp_path))
  with pytest.raises(DatasetError, match="Did you mean 'sparse'") as error:
    tfds.load('sparce', str(tmp_path))
  assert 'mlc.data.tfds.write' in str(error.value)
  with pytest.raises(DatasetError, match='It holds: nothing'):
    tfds.load('yeast', str(tmp_path / 'nowhere'))


@pytest.mark.slow
def test_flipped_bits_and_truncation_are_noticed(tmp_path):
  path = pathlib.Path(tfds.write(_sparse(), str(tmp_path)))
  file = path / 'mlc-train.array_record-00000-of-00001'
  whole = file.read_bytes()
  rng = np.random.default_rng(0)
  noticed = 0
  for place in rng.integers(0, len(whole), 40):
    damaged = bytearray(whole)
    damaged[place] ^= 1 << int(rng.integers(8))
    file.write_bytes(damaged)
    try:
      back = tfds.load('sparse', str(tmp_path))
    except DatasetError as error:
      assert 'write' in str(error)
      noticed += 1
    else:  # a bit of padding: no number depends on it
      assert back.content_hash == _sparse().content_hash
  assert noticed >= 1
  file.write_bytes(whole[: len(whole) // 2])
  with pytest.raises(DatasetError, match='cannot be read'):
    tfds.load('sparse', str(tmp_path))
  file.write_bytes(whole)
  assert tfds.load('sparse', str(tmp_path)).num_examples == 60


def test_changed_numbers_do_not_pass_for_the_written_ones(tmp_path):
  path = pathlib.Path(tfds.write(_dense(), str(tmp_path)))
  text = (path / 'metadata.json').read_text()
  assert '"f"' in text
  (path / 'metadata.json').write_text(text.replace('"f"', '"ff"'))
  with pytest.raises(DatasetError, match='is damaged'):
    tfds.load('dense set', str(tmp_path))


def test_sources_find_it(tmp_path):
  dataset = _sparse()
  tfds.write(dataset, str(tmp_path))
  back = sources.load('tfds:sparse', data_dir=str(tmp_path))
  assert back.content_hash == dataset.content_hash


def test_the_builder_alone_says_how_it_is_used():
  with pytest.raises(DatasetError, match='Call mlc'):
    tfds.Mlc(config=tfds.MultiLabelConfig(name='x'))


@pytest.mark.slow
def test_no_tensorflow_is_imported_and_tfds_only_when_asked_for(tmp_path):
  program = f"""
import sys
from mlc.data import sources
assert 'tensorflow_datasets' not in sys.modules
dataset = sources.load('synthetic:chain,labels=3,examples=30')
from mlc.data import tfds
tfds.write(dataset, {str(tmp_path)!r})
back = tfds.load(dataset.name, {str(tmp_path)!r})
assert back.content_hash == dataset.content_hash
assert 'tensorflow' not in sys.modules and 'torch' not in sys.modules
"""
  done = subprocess.run(
    [sys.executable, '-c', program],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize('name', ['scene', 'medical'])
def test_a_real_set_with_a_given_split(name, data_dir, tmp_path):
  dataset = sources.load(name, data_dir=data_dir)
  tfds.write(dataset, str(tmp_path))
  back = tfds.load(name, str(tmp_path))
  assert back.content_hash == dataset.content_hash
  assert back.notes == dataset.notes
