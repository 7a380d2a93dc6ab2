"""The format: what is read, and what is refused in which line."""

import time

import numpy as np
import pytest
import scipy.sparse

from mlc.data import arff
from mlc.data.dataset import DatasetError

HEADER = """\
% a comment

@relation toy
@attribute size numeric
@attribute kind {red, 'dark blue', "it's"}
@attribute label {0,1}
@data
"""
FIRST = HEADER.count('\n') + 1  # the line of the first row


def read(folder, content, labels=('label',)):
  path = folder / 'toy.arff'
  if isinstance(content, str):
    content = content.encode()
  path.write_bytes(content)
  lines = arff.read_text(str(path))
  header = arff.read_header(str(path), lines)
  return header, arff.read_rows(header, lines, labels)


def dense(table):
  codes = table.codes
  return codes.toarray() if scipy.sparse.issparse(codes) else codes


ROWS = "1.5,red,0\n\n% between\n -2e1 , 'dark blue' , 1\n?,'it\\'s',?\n"
CODES = [[1.5, 0, 0], [-20.0, 1, 1], [np.nan, 2, np.nan]]


@pytest.mark.parametrize(
  'change',
  [
    str.encode,
    lambda text: b'\xef\xbb\xbf' + text.encode(),
    lambda text: text.replace('\n', '\r\n').encode(),
    lambda text: text.replace('\n', '\r').encode(),
    lambda text: text.replace('@', '@').upper().replace('RED', 'red').encode(),
    lambda text: text.replace(' numeric', '\t\tReal ').encode(),
    lambda text: text.replace('@attribute ', ' @Attribute\t').encode(),
  ],
  ids=['plain', 'bom', 'crlf', 'cr', 'upper', 'tabs', 'mixed'],
)
def test_the_same_rows_in_every_dress(tmp_path, change):
  content = change(HEADER + ROWS)
  is_upper = b'KIND' in content
  header, table = read(tmp_path, content, ('label', 'LABEL'))
  np.testing.assert_array_equal(dense(table), CODES)
  assert table.lines.tolist() == [FIRST, FIRST + 3, FIRST + 4]
  assert not table.ends_open
  if not is_upper:
    assert header.relation == 'toy'
    assert header.attributes[1] == arff.Attribute(
      'kind', ('red', 'dark blue', "it's"), 5
    )


def test_sparse_rows(tmp_path):
  rows = "{}\n{ 0 2.5,1 'dark blue', 2 1 }\n{2 ?}\n{1 \"it's\"}"
  _, table = read(tmp_path, HEADER + rows)
  assert scipy.sparse.issparse(table.codes)
  np.testing.assert_array_equal(
    dense(table), [[0, 0, 0], [2.5, 1, 1], [0, 0, np.nan], [0, 2, 0]]
  )
  assert table.ends_open


@pytest.mark.parametrize(
  ('declared', 'name'),
  [
    ('plain', 'plain'),
    ("'with space'", 'with space'),
    ('"double"', 'double'),
    (r"'it\'s'", "it's"),
    (r'"a \"b\" c"', 'a "b" c'),
    (r"'back\\slash'", 'back\\slash'),
    # Outside quotes nothing is an escape: so delicious writes its labels.
    (r'TAG_m\'usica', r'TAG_m\'usica'),
    (r'TAG_dise\~no', r'TAG_dise\~no'),
    ('TAG_c#', 'TAG_c#'),
    ('???', '???'),
    ("'{a}'", '{a}'),
    ("'100%'", '100%'),
    ('größe', 'größe'),
    ("it's", "it's"),
  ],
)
def test_names(tmp_path, declared, name):
  header, _ = read(tmp_path, HEADER.replace('size', declared) + '1,red,0\n')
  assert header.attributes[0].name == name


@pytest.mark.parametrize(
  ('row', 'message'),
  [
    ('1,red', '2 values for 3 attributes'),
    ('1,red,0,1', '4 values for 3 attributes'),
    ('1,red,0,', '4 values for 3 attributes'),
    ("1,'dark, blue',0,1", '4 values for 3 attributes'),
    ('1,,0', 'an empty value'),
    ('1,red,', 'an empty value'),
    ('1,green,0', "'kind' has value 'green'; one of {red, dark blue, it's}"),
    ('1,Red,0', "'kind' has value 'Red'"),
    ('1,red,2', "'label' has value '2'; one of {0, 1}"),
    ('1,red,0.5', "'label' has value '0.5'"),
    ('x,red,0', "'size' has value 'x'; a finite number"),
    ('nan,red,0', "'size' has value 'nan'"),
    ('-inf,red,0', "'size' has value '-inf'"),
    ('1e999,red,0', "'size' has value '1e999'"),
    ('1_0,red,0', "'size' has value '1_0'"),
    ('0x1,red,0', "'size' has value '0x1'"),
    ("1,'red,0", 'cannot be read as a row of values'),
    ('1,red blue,0', 'cannot be read as a row of values'),
    ('1,"re\\qd",0', 'cannot be read as a row of values'),
    ('1 red 0', '1 values for 3 attributes'),
    ('1,red,0,{5}', '4 values for 3 attributes'),
    ('{0 1}', 'dense and sparse rows in one file'),
    ('@data', '1 values for 3 attributes'),
  ],
)
def test_a_bad_dense_row_is_refused_with_file_and_line(tmp_path, row, message):
  content = f'{HEADER}1,red,0\n% a comment\n{row}\n1,red,0\n'
  with pytest.raises(DatasetError) as error:
    read(tmp_path, content)
  assert str(error.value).startswith(f'{tmp_path}/toy.arff:{FIRST + 2}: ')
  assert message in str(error.value)


@pytest.mark.parametrize(
  ('row', 'message'),
  [
    ('{0 1, 0 2}', "column 0 ('size') stands twice"),
    ("{1 'dark blue', 0 1, 1 red}", "column 1 ('kind') stands twice"),
    ('{0 1, 3 1}', 'column 3 in a sparse row; the 3 attributes of the header '),
    ('{-1 1}', 'cannot be read as a row of {column value'),
    ('{0 1, 2 1', 'cannot be read as a row of {column value'),
    ('{0 1, 2', 'cannot be read as a row of {column value'),
    ('{0 1, 2}', 'cannot be read as a row of {column value'),
    ('{0 1 2 1}', 'cannot be read as a row of {column value'),
    ('{0 1,}', 'cannot be read as a row of {column value'),
    ('{0 1}, {5}', 'cannot be read as a row of {column value'),
    ('{0.5 1}', 'cannot be read as a row of {column value'),
    ('{size 1}', 'cannot be read as a row of {column value'),
    ('{0 x}', "'size' has value 'x'"),
    ('{2 2}', "'label' has value '2'"),
    ('1,red,0', 'dense and sparse rows in one file'),
  ],
)
def test_a_bad_sparse_row_is_refused_with_file_and_line(tmp_path, row, message):
  content = f'{HEADER}{{0 1}}\n\n{row}\n{{2 1}}\n'
  with pytest.raises(DatasetError) as error:
    read(tmp_path, content)
  assert str(error.value).startswith(f'{tmp_path}/toy.arff:{FIRST + 2}: ')
  assert message in str(error.value)


@pytest.mark.parametrize(
  ('old', 'new', 'line', 'message'),
  [
    ('@relation', '@relations', 3, "'@relations toy' in the header"),
    ('@relation toy\n', '', 3, 'in the header, where @relation'),
    ('size numeric', 'size', 4, "@attribute 'size' is not a name and a type"),
    ('size numeric', 'my size numeric', 4, 'has type'),
    ('size numeric', 'size string', 4, "'size' has type 'string'"),
    ('size numeric', 'size date "yyyy"', 4, "'size' has type 'date"),
    ('size numeric', 'size {a,b', 4, 'are not {value, value, ...}'),
    ('size numeric', 'size {}', 4, 'are not {value, value, ...}'),
    ('size numeric', 'size {a,,b}', 4, 'are not {value, value, ...}'),
    ('size numeric', 'size {a,b,}', 4, 'are not {value, value, ...}'),
    ('size numeric', 'size {a b}', 4, 'are not {value, value, ...}'),
    ('size numeric', 'size {a,b,a}', 4, "declares 'a' twice"),
    ('label {', 'size {', 6, "'size' was declared in line 4 already"),
    ('@data', '1,red,0', 7, "'1,red,0' in the header"),
    ('@data\n', '', 7, 'the file ends before @data'),
  ],
)
def test_a_bad_header_is_refused_with_file_and_line(
  tmp_path, old, new, line, message
):
  content = HEADER.replace(old, new)
  if '@data' in content:
    content += '1,red,0\n'
  with pytest.raises(DatasetError) as error:
    read(tmp_path, content)
  assert str(error.value).startswith(f'{tmp_path}/toy.arff:{line}: ')
  assert message in str(error.value)


def test_an_endless_nominal_list_takes_no_time(tmp_path):
  # liac-arff alone takes exponential time over it.
  values = ','.join(map(str, range(5000)))
  began = time.process_time()
  with pytest.raises(DatasetError, match='are not'):
    read(tmp_path, HEADER.replace('size numeric', f'size {{{values}'))
  assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    ('', ':1: the file ends before @data'),
    (HEADER, f':{FIRST}: no row after @data'),
    (HEADER + '% 1,red,0\n\n', f':{FIRST + 2}: no row after @data'),
    (HEADER.encode() + b'1,r\xe9d,0\n', f':{FIRST}: not UTF-8'),
    (HEADER.encode('utf-16'), ':1: not UTF-8'),
  ],
)
def test_an_empty_or_undecodable_file_is_refused(tmp_path, content, message):
  with pytest.raises(DatasetError, match=message):
    read(tmp_path, content)


@pytest.mark.parametrize(
  'rows',
  [
    '1.25,red,0\n2.25,"dark blue",1\n3.25,red,1\n',
    '{0 1.25}\n{1 "dark blue",2 1}\n{0 3.25, 2 1}\n',
  ],
)
def test_a_file_cut_anywhere_is_refused_or_loses_whole_rows_only(
  tmp_path, rows
):
  whole = HEADER + rows
  _, full = read(tmp_path, whole)
  for length in range(len(whole)):
    try:
      _, table = read(tmp_path, whole[:length])
    except DatasetError:
      continue
    kept = len(table.lines)
    assert kept >= 1
    np.testing.assert_array_equal(dense(table), dense(full)[:kept])


def test_a_missing_file_is_refused(tmp_path):
  with pytest.raises(DatasetError, match=r'cannot read .*No such file'):
    arff.read_text(str(tmp_path / 'none.arff'))


def test_a_numeric_label_holds_0_or_1(tmp_path):
  header = HEADER.replace('label {0,1}', 'label numeric')
  _, table = read(tmp_path, header + '7,red,1.0\n7,red,?\n7,red,0\n')
  np.testing.assert_array_equal(dense(table)[:, 2], [1, np.nan, 0])
  with pytest.raises(DatasetError, match=f':{FIRST}: .* 0 or 1, since it is a'):
    read(tmp_path, header + '7,red,2\n')
