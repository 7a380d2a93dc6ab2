"""Labels by name, features by kind."""

import numpy as np
import pytest
import scipy.sparse

from mlc.data import mulan
from mlc.data.dataset import DatasetError

XML = """<?xml version="1.0" encoding="utf-8"?>
<labels xmlns="http://mulan.sourceforge.net/labels">
<label name="B"></label><label name="A"/>
</labels>
"""
HEADER = """@relation toy
@attribute A {0,1}
@attribute size numeric
@attribute B {0,1}
@attribute kind {red,green}
@data
"""


def write(folder, name, content):
  path = folder / name
  path.write_text(content)
  return str(path)


def load(folder, content, xml=XML, test=None, **options):
  return mulan.load(
    'toy',
    write(folder, 'toy.arff', content),
    test and write(folder, 'toy-test.arff', test),
    xml_path=xml and write(folder, 'toy.xml', xml),
    **options,
  )


def test_labels_go_by_name_and_keep_the_order_of_the_columns(tmp_path):
  data = load(tmp_path, HEADER + '1,2.5,0,red\n0,-1,1,green\n')
  assert data.label_names == ('A', 'B')
  assert data.feature_names == ('size', 'kind=red', 'kind=green')
  np.testing.assert_array_equal(data.y, [[1, 0], [0, 1]])
  np.testing.assert_array_equal(data.x, [[2.5, 1, 0], [-1, 0, 1]])
  assert data.split is None
  assert data.where is None
  assert data.notes == ('1 nominal features one-hot: kind',)
  assert data.source == 'ARFF: toy.arff'


def test_nested_labels_are_labels_and_children(tmp_path):
  nested = '<labels><label name="B"><label name="A"/></label></labels>'
  data = load(tmp_path, HEADER + '1,2,0,red\n1,2,1,red\n', nested)
  assert data.label_names == ('A', 'B')
  np.testing.assert_array_equal(data.hierarchy, [[0, 1], [0, 0]])
  assert '1 of 2 rows have a label without its parent' in data.notes[-1]
  assert load(tmp_path, HEADER + '1,2,0,red\n').hierarchy is None


THREE = HEADER.replace('kind {red,green}', 'kind {0,1}')


@pytest.mark.parametrize(
  ('xml', 'edges'),
  [
    ('<l><label name="A"/><label name="B"/><label name="kind"/></l>', []),
    (
      '<l><label name="kind"><label name="B"><label name="A"/></label></label>'
      '</l>',
      [(0, 1), (1, 2)],
    ),
    (
      '<l><label name="kind"><label name="A"/></label>'
      '<label name="B"><label name="A"/></label></l>',
      [(0, 1), (0, 2)],
    ),
    (
      '<l xmlns="u"><label name="kind"><d><label name="A"/></d></label>'
      '<label name="B"/></l>',
      [(0, 2)],
    ),
  ],
)
def test_nesting_is_the_hierarchy(tmp_path, xml, edges):
  data = load(tmp_path, THREE + '1,2,1,1\n', xml)
  assert data.label_names == ('A', 'B', 'kind')
  found = data.hierarchy
  found = [] if found is None else [tuple(e) for e in np.argwhere(found)]
  assert found == edges


@pytest.mark.parametrize(
  'inside',
  [
    '<label name="A"/><label name="A"/>',
    '<label name="B"><label name="A"/></label><label name="A"/>',
    '<label name="B"><label name="A"/><label name="A"/></label>',
  ],
)
def test_the_same_label_twice_at_one_place_is_refused(tmp_path, inside):
  with pytest.raises(DatasetError, match="label 'A' twice"):
    load(tmp_path, HEADER + '1,2,1,red\n', f'<l>{inside}</l>')


def test_labels_that_contain_each_other_are_refused(tmp_path):
  xml = (
    '<l><label name="A"><label name="B"/></label>'
    '<label name="B"><label name="A"/></label></l>'
  )
  with pytest.raises(DatasetError, match="label 'A' twice"):
    load(tmp_path, HEADER + '1,2,1,red\n', xml)


@pytest.mark.parametrize(
  ('options', 'labels', 'features'),
  [
    ('-C 1', 'A', ('size', 'B', 'kind')),
    ('-C 2', ('A', 'size'), ('B', 'kind')),
    ('-C -2', ('B', 'kind'), ('A', 'size')),
    ('-C -1-weka.filters.unsupervised.instance.Randomize', 'kind', 'ASB'),
    ('-split-number 3 -C -1 -I 0', 'kind', 'ASB'),
  ],
)
def test_meka_states_the_labels_in_the_relation(
  tmp_path, options, labels, features
):
  binary = HEADER.replace('{red,green}', '{0,1}')
  content = binary.replace('toy', f"'Toy: {options}'") + '1,0,1,1\n0,1,0,1\n'
  data = load(tmp_path, content, xml=None)
  assert data.label_names == tuple(labels if labels != 'kind' else ['kind'])
  if features == 'ASB':
    features = ('A', 'size', 'B')
  assert data.feature_names == features


@pytest.mark.parametrize(
  ('relation', 'message'),
  [
    ('toy', 'does not state which columns are labels'),
    ("'a-C 2'", 'does not state which columns are labels'),
    ("'toy: -C 0'", 'states 0 labels among 4 attributes'),
    ("'toy: -C 4'", 'states 4 labels among 4 attributes'),
    ("'toy: -C -9'", 'states 9 labels among 4 attributes'),
    (
      "'t: -C 1-weka.filters.unsupervised.attribute.Remove-R1'",
      'a filter moved columns since',
    ),
    ("'t-weka.filters.x.Y -C 2'", 'does not state which columns'),
    ("'toy: -C -1'", r"label 'kind' \{red, green\}: \{0,1\} is expected"),
  ],
)
def test_a_relation_that_does_not_tell_is_refused(tmp_path, relation, message):
  content = HEADER.replace('toy', relation) + '1,2,0,red\n'
  with pytest.raises(DatasetError, match=message):
    load(tmp_path, content, xml=None)


@pytest.mark.parametrize(
  ('xml', 'message'),
  [
    ('<labels><label name="C"/></labels>', "label 'C' is no attribute"),
    ('<labels><label name="a"/></labels>', "label 'a' is no attribute"),
    ('<labels><label name="sizes"/></labels>', "Did you mean 'size'"),
    ('<labels><label/></labels>', '1 labels without a name'),
    ('<labels></labels>', '0 labels without a name, 0 in all'),
    ('<labels><label name="A"/><label name="A"/></labels>', "'A' twice"),
    ('<labels>\n<label name="A"/>', r'toy.xml:2: not XML'),
    ('<!DOCTYPE x [<!ENTITY a "b">]><labels/>', 'a DOCTYPE is not expected'),
    (
      '<a>'
      + ''.join(f'<label name="{n}"/>' for n in ('A', 'B', 'size', 'kind'))
      + '</a>',
      'all 4 attributes',
    ),
  ],
)
def test_an_xml_that_does_not_fit_is_refused(tmp_path, xml, message):
  with pytest.raises(DatasetError, match=message):
    load(tmp_path, HEADER + '1,2,0,red\n', xml)


@pytest.mark.parametrize(
  ('declared', 'in_xml', 'name'),
  [
    (r"'Swainson\'s'", "Swainson's", "Swainson's"),
    (r"'Swainson\'s'", r'Swainson\'s', "Swainson's"),
    (r'm\~u', r'm\~u', r'm\~u'),
    ('"two words"', 'two words', 'two words'),
    ("'R&amp;B'", 'R&amp;amp;B', 'R&amp;B'),
    ("'R&B'", 'R&amp;B', 'R&B'),
  ],
)
def test_names_with_quotes_and_escapes_meet(tmp_path, declared, in_xml, name):
  xml = XML.replace('"B"', f'"{in_xml}"')
  data = load(tmp_path, HEADER.replace('B', declared) + '1,2,0,red\n', xml)
  assert data.label_names == ('A', name)


def test_unknown_labels(tmp_path):
  data = load(tmp_path, HEADER + '?,2,1,red\n1,3,0,green\n')
  np.testing.assert_array_equal(data.y, [[0, 1], [1, 0]])
  np.testing.assert_array_equal(data.where, [[False, True], [True, True]])


def test_missing_features_become_0_and_are_marked(tmp_path):
  data = load(tmp_path, HEADER + '1,?,1,red\n1,3,0,?\n0,4,0,green\n')
  assert data.feature_names == (
    *('size', 'size=?'),
    *('kind=red', 'kind=green', 'kind=?'),
  )
  np.testing.assert_array_equal(
    data.x, [[0, 1, 1, 0, 0], [3, 0, 0, 0, 1], [4, 0, 0, 1, 0]]
  )
  assert '2 features with missing values' in data.notes[1]
  with pytest.raises(DatasetError, match=r"toy.arff:8: .*'kind' is missing"):
    load(tmp_path, HEADER + '?,2,1,red\n1,3,0,?\n0,4,0,?\n', missing='refuse')
  assert load(tmp_path, HEADER + '?,2,1,red\n', missing='refuse').where.any()


def test_a_value_missing_in_the_test_part_marks_a_column_of_both(tmp_path):
  data = load(
    tmp_path, HEADER + '1,2,1,red\n', test=HEADER + '1,3,0,red\n1,?,0,red\n'
  )
  assert data.split.tolist() == [0, 2, 2]
  np.testing.assert_array_equal(data.x[:, :2], [[2, 0], [3, 0], [0, 1]])


@pytest.mark.parametrize(
  ('values', 'rows', 'expected'),
  [
    ('{0,1}', '01', [0, 1]),
    ('{1,0}', '01', [0, 1]),
    ('{0}', '00', [0, 0]),
    ('{1}', '11', [1, 1]),
    ('{false,true}', ('false', 'true'), [0, 1]),
    ('{TRUE,FALSE}', ('FALSE', 'TRUE'), [0, 1]),
    ('{no,yes}', ('no', 'yes'), [0, 1]),
    ('{yes,no}', ('yes', 'no'), [1, 0]),
    ('numeric', '10', [1, 0]),
  ],
)
def test_what_0_and_1_are_called(tmp_path, values, rows, expected):
  header = HEADER.replace('B {0,1}', f'B {values}')
  content = header + ''.join(f'1,2,{row},red\n' for row in rows)
  np.testing.assert_array_equal(load(tmp_path, content).y[:, 1], expected)


@pytest.mark.parametrize(
  'values', ['{0,1,2}', '{no,1}', '{a,b}', '{-1,1}', '{0.0,1.0}']
)
def test_a_label_of_other_values_is_refused(tmp_path, values):
  header = HEADER.replace('B {0,1}', f'B {values}')
  with pytest.raises(DatasetError, match=r"toy.arff:4: label 'B'"):
    load(tmp_path, header + '1,2,0,red\n')


SPARSE_HEADER = """@relation toy
@attribute A {0,1}
@attribute B {1,0}
@attribute size numeric
@attribute on {1,0}
@attribute off {0,1}
@attribute kind {red,green,blue}
@attribute gap numeric
@data
"""


def test_what_a_sparse_row_leaves_out_is_the_first_value(tmp_path):
  sparse = '{0 1,2 5,6 ?}\n{}\n{1 0,3 0,4 1,5 blue}\n{1 ?,5 ?,2 ?}\n'
  dense = '1,1,5,1,0,red,?\n0,1,0,1,0,red,0\n0,0,0,0,1,blue,0\n0,?,?,1,0,?,0\n'
  one = load(tmp_path, SPARSE_HEADER + sparse)
  two = load(tmp_path, SPARSE_HEADER + dense)
  assert scipy.sparse.issparse(one.x)
  assert not scipy.sparse.issparse(two.x)
  np.testing.assert_array_equal(one.x.toarray(), two.x)
  np.testing.assert_array_equal(one.y, two.y)
  np.testing.assert_array_equal(one.where, two.where)
  assert one.feature_names == two.feature_names
  np.testing.assert_array_equal(one.y[:3], [[1, 1], [0, 1], [0, 0]])
  on = one.feature_names.index('on')
  np.testing.assert_array_equal(two.x[:, on], [1, 1, 0, 1])
  with pytest.raises(DatasetError, match=r"toy.arff:10: .*'gap' is missing"):
    load(tmp_path, SPARSE_HEADER + sparse, missing='refuse')


def test_a_sparse_and_a_dense_part_make_a_dense_set(tmp_path):
  data = load(
    tmp_path,
    SPARSE_HEADER + '{0 1,2 5}\n',
    test=SPARSE_HEADER + '0,0,1,0,1,green,2\n',
  )
  np.testing.assert_array_equal(
    data.x, [[5, 1, 0, 1, 0, 0, 0], [1, 0, 1, 0, 1, 0, 2]]
  )
  assert data.source == 'ARFF: toy.arff, toy-test.arff'


@pytest.mark.parametrize(
  ('old', 'new', 'message'),
  [
    ('size numeric', 'sizes numeric', r":3 declares 'size' .*:3 'sizes'"),
    ('{red,green}', '{green,red}', r":5 declares 'kind' \{red, green\}"),
    ('size numeric', 'size {2}', r":3 declares 'size' numeric"),
    ('@data', '@attribute c real\n@data', 'has 4 attributes, .* has 5'),
  ],
)
def test_the_headers_of_both_parts_must_agree(tmp_path, old, new, message):
  row = '1,2,0,red\n'
  test = HEADER.replace(old, new) + row
  with pytest.raises(DatasetError, match=message):
    load(tmp_path, HEADER + row, test=test)


def test_relations_must_agree_on_the_labels(tmp_path):
  binary = HEADER.replace('{red,green}', '{0,1}') + '1,1,1,1\n'
  with pytest.raises(DatasetError, match='state different labels'):
    load(
      tmp_path,
      binary.replace('toy', "'toy: -C 1'"),
      xml=None,
      test=binary.replace('toy', "'toy: -C -1'"),
    )


def test_numeric_real_and_integer_are_the_same_kind(tmp_path):
  row = '1,2.5,0,red\n'
  test = HEADER.replace('numeric', 'INTEGER') + row
  data = load(tmp_path, HEADER + row, test=test)
  np.testing.assert_array_equal(data.x[:, 0], [2.5, 2.5])


def test_a_last_number_that_could_be_cut_is_noted(tmp_path):
  content = HEADER.replace('@data', '@attribute last numeric\n@data')
  content += '1,2,0,red,12.5'
  assert any('cut off' in n for n in load(tmp_path, content).notes)
  assert not any('cut' in n for n in load(tmp_path, content + '\n').notes)
