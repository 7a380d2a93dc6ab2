import base64
import pathlib
import time

import numpy as np
import pytest
import scipy.sparse

from mlc.data import arff, sources
from mlc.data.dataset import TEST, TRAIN, DatasetError

ARFF = """@relation toy
@attribute a numeric
@attribute l {0,1}
@attribute m {0,1}
@data
1,0,1
2,1,0
"""
XML = '<labels><label name="l"/><label name="m"/></labels>'

# Of the README beside the data: n, attributes that are features, L,
# cardinality (of emotions 1108 / 593, which is printed as 1.869 there), label
# sets, given split.
REAL = {
  'emotions': (593, 72, 6, 1.8685, 27, (391, 202)),
  'scene': (2407, 294, 6, 1.074, 15, (1211, 1196)),
  'yeast': (2417, 103, 14, 4.237, 198, (1500, 917)),
  'birds': (645, 260, 19, 1.014, 133, (322, 323)),
  'flags': (194, 19, 7, 3.392, 54, (129, 65)),
  'chd_49': (555, 49, 6, 2.580, 34, None),
  'water_quality': (1060, 16, 14, 5.073, 825, None),
  'cal500': (502, 68, 174, 26.044, 502, None),
  'medical': (978, 1449, 45, 1.245, 94, (333, 645)),
  'bibtex': (7395, 1836, 159, 2.402, 2856, (4880, 2515)),
  'delicious': (16105, 500, 983, 19.020, 15806, (12920, 3185)),
}
# Features after one-hot, where that differs.
ENCODED = {'birds': 271, 'flags': 43}
NOTES = {
  'scene': ['6 of 1196 test rows'],
  'birds': ['294 of 645 rows have no label', 'one-hot: location'],
  'flags': ['4 nominal features one-hot'],
  'chd_49': ['3 of 555 rows have no label'],
  'water_quality': ['6 of 1060 rows have no label'],
  'medical': [
    '6 of 645 test rows',
    '7 of 45 labels are always 0 in the given training part',
  ],
  'bibtex': ['21 of 2515 test rows'],
  'delicious': ['871 of 3185 test rows', '14 of 16105 rows have no label'],
}


@pytest.mark.slow
@pytest.mark.parametrize('name', REAL)
def test_real_sets_are_what_is_known_of_them(data_dir, name):
  n, num_features, num_labels, cardinality, label_sets, sizes = REAL[name]
  began = time.process_time()
  data = sources.load(name, data_dir=data_dir)
  assert time.process_time() - began < 10.0
  assert data.name == name
  assert data.x.shape == (n, ENCODED.get(name, num_features))
  before_one_hot = {f.partition('=')[0] for f in data.feature_names}
  if name in ENCODED:
    assert len(before_one_hot) == num_features
  assert data.num_labels == num_labels
  assert data.y.sum() / n == pytest.approx(cardinality, abs=5.1e-4)
  assert len(np.unique(data.y, axis=0)) == label_sets
  if sizes is None:
    assert data.split is None
  else:
    assert ((data.split == TRAIN).sum(), (data.split == TEST).sum()) == sizes
  sparse = name in ('medical', 'bibtex', 'delicious')
  assert scipy.sparse.issparse(data.x) == sparse
  assert data.where is None
  for expected in NOTES.get(name, []):
    assert any(expected in note for note in data.notes), data.notes
  expected_notes = len(NOTES.get(name, []))
  assert len(data.notes) == expected_notes, data.notes


@pytest.mark.slow
def test_labels_of_the_real_sets_go_by_name(data_dir):
  yeast = sources.load('yeast', data_dir=data_dir)
  assert yeast.label_names == tuple(f'Class{i}' for i in range(1, 15))
  birds = sources.load('birds', data_dir=data_dir)
  assert "Swainson's Thrush" in birds.label_names
  delicious = sources.load('delicious', data_dir=data_dir)
  assert {r'TAG_m\'usica', r'TAG_dise\~no'} < set(delicious.label_names)


@pytest.mark.slow
def test_the_bundled_yeast_is_mulans_in_the_same_order(data_dir):
  bundled = sources.load('yeast')
  mulan = sources.load('yeast', data_dir=data_dir)
  text = pathlib.Path(data_dir, 'yeast', 'split_mulan.b64').read_text()
  bits = np.frombuffer(base64.b64decode(text), np.uint8)
  test = np.unpackbits(bits, count=2417).astype(bool)
  order = np.concatenate([np.flatnonzero(~test), np.flatnonzero(test)])
  np.testing.assert_allclose(bundled.x[order], mulan.x, atol=5e-7)
  np.testing.assert_array_equal(bundled.y[order], mulan.y)
  assert bundled.label_names == mulan.label_names


@pytest.mark.parametrize('name', ['emotions', 'medical'])
def test_liac_arff_reads_the_same_numbers(data_dir, name):
  import arff as liac

  data = sources.load(name, data_dir=data_dir)
  rows = []
  for part in ('train', 'test'):
    path = pathlib.Path(data_dir, name, f'{name}-{part}.arff')
    with path.open(encoding='utf-8') as file:
      decoded = liac.load(file)
    rows += decoded['data']
  names = [attribute[0] for attribute in decoded['attributes']]
  table = np.asarray(rows, float)
  x = data.x.toarray() if scipy.sparse.issparse(data.x) else data.x
  features = [names.index(f) for f in data.feature_names]
  labels = [names.index(label) for label in data.label_names]
  np.testing.assert_array_equal(x, table[:, features].astype(np.float32))
  np.testing.assert_array_equal(data.y, table[:, labels])


def _folder(tmp_path, **files):
  folder = tmp_path / 'toy'
  folder.mkdir()
  for name, content in files.items():
    (folder / name.replace('__', '-').replace('_', '.')).write_text(content)
  return folder


@pytest.mark.parametrize(
  ('files', 'split'),
  [
    ({'any_arff': ARFF, 'any_xml': XML}, None),
    ({'toy_arff': ARFF, 'toy_xml': XML, 'other_xml': '<no/>'}, None),
    (
      {'t__train_arff': ARFF, 't__test_arff': ARFF, 't_xml': XML},
      [0, 0, 2, 2],
    ),
    (
      {
        't__train_arff': ARFF,
        't__test_arff': ARFF,
        't_arff': 'not read',
        't_xml': XML,
      },
      [0, 0, 2, 2],
    ),
    ({'t__train_arff': ARFF, 'toy_xml': XML}, None),
    ({'toy_arff': ARFF.replace('toy', "'toy: -C -2'")}, None),
  ],
)
def test_a_folder_is_found_by_name(tmp_path, files, split):
  _folder(tmp_path, **files)
  data = sources.load('toy', data_dir=str(tmp_path))
  assert data.name == 'toy'
  assert data.label_names == ('l', 'm')
  assert data.num_examples == (2 if split is None else 4)
  assert (data.split is None) == (split is None)
  if split is not None:
    assert data.split.tolist() == split
  by_path = sources.load(f'arff:{tmp_path}/toy')
  assert by_path.content_hash == data.content_hash
  assert by_path.name == 'toy'


@pytest.mark.parametrize('xml', ['toy.xml', 'toy-train.xml', 'other.xml'])
def test_a_file_is_found_by_path(tmp_path, xml):
  (tmp_path / 'toy-train.arff').write_text(ARFF)
  (tmp_path / 'toy-test.arff').write_text(ARFF)
  (tmp_path / xml).write_text(XML)
  data = sources.load(f'arff:{tmp_path}/toy-train.arff')
  assert data.name == 'toy-train'
  assert (data.num_examples, data.split) == (2, None)


@pytest.mark.parametrize(
  ('files', 'message'),
  [
    ({}, r'holds 0 .arff files \(none\)'),
    ({'a_arff': ARFF, 'b_arff': ARFF}, 'holds 2 .arff files'),
    ({'toy_arff': ARFF}, 'does not state which columns are labels'),
    ({'toy_arff': ARFF, 'a_xml': XML, 'b_xml': XML}, 'holds 2 .xml files'),
  ],
)
def test_an_unclear_folder_is_refused(tmp_path, files, message):
  _folder(tmp_path, **files)
  with pytest.raises(DatasetError, match=message):
    sources.load('toy', data_dir=str(tmp_path))


def test_a_folder_goes_before_the_bundled_set_of_its_name(tmp_path):
  _folder(tmp_path, toy_arff=ARFF, toy_xml=XML).rename(tmp_path / 'yeast')
  assert sources.load('yeast', data_dir=str(tmp_path)).num_examples == 2
  assert sources.load('yeast').num_examples == 2417


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('yaest', "unknown data set 'yaest'. Did you mean 'yeast'"),
    ('Yeast', "Did you mean 'yeast'"),
    ('toi', "Did you mean 'toy'"),
    ('synthetic-chain', "Did you mean 'synthetic:chain'"),
    ('xyz', 'To bring your own: a folder DATA_DIR/NAME'),
    ('', 'Bundled: yeast, movies, digits; synthetic: '),
    ('../toy', 'unknown data set'),
    ('arff:nowhere/toy.arff', "no file or folder 'nowhere/toy.arff'"),
    ('synthetic:chian', "Did you mean 'chain'"),
  ],
)
def test_an_unknown_name_is_refused_with_a_hint(tmp_path, name, message):
  _folder(tmp_path)
  with pytest.raises(DatasetError, match=message):
    sources.load(name, data_dir=str(tmp_path))


def test_a_data_dir_that_is_none_is_refused(tmp_path):
  with pytest.raises(DatasetError, match=r'cannot read data_dir .*No such'):
    sources.load('yeast', data_dir=str(tmp_path / 'none'))


def test_synthetic_names():
  data = sources.load('synthetic:chain,strength=2,labels=3,examples=50')
  assert data.log_joint.shape == (50, 8)


def test_every_refusal_is_a_dataset_error(tmp_path):
  path = tmp_path / 'toy.arff'
  path.mkdir()
  with pytest.raises(DatasetError, match='Is a directory'):
    arff.read_text(str(path))
