"""ARFF files, read strictly: what is refused is named by file and line.

liac-arff splits the rows into values; their meaning is settled here, since it
lets through what must not pass: a column twice in a sparse row, `nan`, `1_0`,
sparse rows among dense ones. The header is read here as well: liac-arff keeps
the escapes in names, fails on tabs, and takes exponential time over a nominal
list without its closing brace.
"""

import re
from collections import Counter
from collections.abc import Container, Iterator
from typing import NamedTuple, NoReturn

import arff as liac
import numpy as np
import scipy.sparse

from mlc.data.dataset import DatasetError, listed

_QUOTED = r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\''
_NAME = re.compile(rf'({_QUOTED}|[^\s{{}}%,"\'][^\s{{}}%,]*)\s+(\S.*)')
_VALUE = re.compile(rf'\s*({_QUOTED}|[^\s{{}}%,"\']+)\s*(,|$)')
_ESCAPE = re.compile(r'\\(.)')
_STRINGS = re.compile(_QUOTED)
_COLUMN = re.compile(r'[{,]\s*(\d+)\s')


class Attribute(NamedTuple):
  """A column: its name, and its values if it is nominal.

  Attributes:
    name: without quotes and escapes.
    values: of a nominal attribute, in the order of the declaration; None when
      the attribute is numeric.
    line: where it is declared.
  """

  name: str
  values: tuple[str, ...] | None
  line: int


class Header(NamedTuple):
  path: str
  relation: str
  attributes: tuple[Attribute, ...]
  data_line: int


class Table(NamedTuple):
  """The rows of a file as numbers.

  Attributes:
    codes: float64 [rows, attributes], dense or CSR with explicit zeros. A
      nominal value is its place in the declaration, from 0; missing is NaN.
      What a sparse row leaves out is 0, of a nominal attribute thus the first
      value, as the format defines.
    lines: the line of each row.
    ends_open: True when the file does not end with a line break.
  """

  codes: np.ndarray | scipy.sparse.csr_array
  lines: np.ndarray
  ends_open: bool


def refuse(path: str, line: int, what: str) -> NoReturn:
  """Raises a DatasetError that begins with `path:line`."""
  raise DatasetError(f'{path}:{line}: {what}')


def read_text(path: str) -> list[str]:
  """The lines of a UTF-8 file, with or without BOM, CRLF or LF."""
  try:
    with open(path, 'rb') as file:
      content = file.read()
  except OSError as error:
    raise DatasetError(
      f'cannot read {path}: {error.strerror}. Check the path and its rights.'
    ) from None
  try:
    text = content.decode('utf-8-sig')
  except UnicodeDecodeError as error:
    line = content.count(b'\n', 0, error.start) + 1
    refuse(path, line, 'not UTF-8. Convert it, e.g. iconv -f latin1 -t utf-8.')
  return text.replace('\r\n', '\n').replace('\r', '\n').split('\n')


def read_header(path: str, lines: list[str]) -> Header:
  """Reads everything up to `@data`.

  Args:
    path: for the messages.
    lines: of the file, from `read_text`.

  Returns:
    The header.

  Raises:
    DatasetError: a declaration that is not numeric or nominal, a name or a
      nominal value given twice, a header without end.
  """
  relation = None
  attributes: list[Attribute] = []
  for number, line in enumerate(lines, 1):
    keyword, _, rest = line.strip().replace('\t', ' ').partition(' ')
    if not keyword or keyword.startswith('%'):
      continue
    match keyword.lower():
      case '@relation':
        relation = _unquote(rest.strip())
      case '@attribute' if relation is not None:
        attributes.append(_attribute(path, number, rest.strip()))
      case '@data' if attributes:
        _refuse_repeated_names(path, attributes)
        return Header(path, relation or '', tuple(attributes), number)
      case _:
        refuse(
          path,
          number,
          f'{line.strip()[:60]!r} in the header, where @relation, '
          '@attribute or @data is expected, in this order.',
        )
  refuse(path, len(lines), 'the file ends before @data. Is it cut off?')


def read_rows(
  header: Header, lines: list[str], labels: Container[str]
) -> Table:
  """Reads everything after `@data`.

  Args:
    header: of the file.
    lines: of the file.
    labels: names of the attributes that are labels: numeric ones hold 0 or 1.

  Returns:
    The rows.

  Raises:
    DatasetError: no row, a row with more or fewer values than attributes, a
      value that is not declared or not a finite number, a sparse row with a
      column twice or out of range.
  """
  rows = _Rows(header, lines)
  convert = [_converter(a, a.name in labels) for a in header.attributes]
  values: list[float] = []
  columns: list[int] = []
  ends = [0]
  numbers = []
  for row in rows:
    cells = row.items() if rows.sparse else enumerate(row)
    try:
      # One pass without a test a cell; an offending cell is sought after.
      values.extend([convert[column](cell) for column, cell in cells])
    except (KeyError, TypeError, ValueError):
      values.extend(_careful(rows, row, convert))
    if rows.sparse:
      columns.extend(row)
      ends.append(len(columns))
    numbers.append(rows.number)
  if not numbers:
    refuse(header.path, len(lines), 'no row after @data. Is it cut off?')
  codes: np.ndarray | scipy.sparse.csr_array
  shape = (len(numbers), len(header.attributes))
  if rows.sparse:
    codes = scipy.sparse.csr_array((values, columns, ends), shape, np.float64)
  else:
    codes = np.reshape(values, shape).astype(np.float64)
  return Table(codes, np.asarray(numbers), ends_open=bool(lines[-1]))


def _attribute(path, number, declaration):
  match = _NAME.fullmatch(declaration)
  if not match:
    refuse(
      path,
      number,
      f'@attribute {declaration[:60]!r} is not a name and a type. Quote a '
      'name with spaces or commas.',
    )
  name, kind = _unquote(match[1]), match[2].strip()
  if kind.startswith('{'):
    return Attribute(name, _nominal_values(path, number, name, kind), number)
  if kind.lower() not in ('numeric', 'real', 'integer'):
    refuse(
      path,
      number,
      f'attribute {name!r} has type {kind[:40]!r}; numeric, real, integer or '
      'nominal {...} is expected. Drop the column or make it numeric.',
    )
  return Attribute(name, None, number)


def _nominal_values(path, number, name, kind):
  inner, values, place = kind[1:-1].strip(), [], 0
  while kind.endswith('}') and (match := _VALUE.match(inner, place)):
    values.append(_unquote(match[1]))
    place = match.end()
    if place == len(inner) and match[2] != ',':
      break
  else:
    refuse(
      path,
      number,
      f'the values {kind[:60]!r} of attribute {name!r} are not '
      '{value, value, ...}. Quote a value with spaces, commas or braces.',
    )
  twice = [value for value, times in Counter(values).items() if times > 1]
  if twice:
    refuse(path, number, f'attribute {name!r} declares {twice[0]!r} twice.')
  return tuple(values)


def _refuse_repeated_names(path, attributes):
  first = {}
  for attribute in attributes:
    if attribute.name in first:
      refuse(
        path,
        attribute.line,
        f'attribute {attribute.name!r} was declared in line '
        f'{first[attribute.name]} already. Rename one of them.',
      )
    first[attribute.name] = attribute.line


def _unquote(text):
  # Outside quotes a backslash is a character like any other, as in Weka.
  if len(text) < 2 or text[0] not in '"\'' or text[0] != text[-1]:
    return text
  control = {'n': '\n', 't': '\t', 'r': '\r'}
  return _ESCAPE.sub(lambda m: control.get(m[1], m[1]), text[1:-1])


class _Rows:
  """Iterates over the data rows as liac-arff splits them.

  A dense row comes as a list of texts, a sparse one as a dictionary from
  column to text; None is a missing value. `number` and `line` are those of
  the row that came last.
  """

  def __init__(self, header, lines):
    self.header = header
    self.number = header.data_line
    self.line = ''
    body = enumerate(lines[header.data_line :], header.data_line + 1)
    self._body = [
      (number, line.strip())
      for number, line in body
      if line.strip() and not line.lstrip().startswith('%')
    ]
    self.sparse = bool(self._body) and self._body[0][1].startswith('{')

  def __iter__(self) -> Iterator:
    decoder = liac.ArffDecoder()
    kind = liac.LOD_GEN if self.sparse else liac.DENSE_GEN
    try:
      decoded = decoder.decode(self._lines(), return_type=kind)
      for row in decoded['data']:
        if self.sparse:
          self._refuse_repeated_columns(row)
        yield row
    except (liac.ArffException, ValueError) as error:
      if isinstance(error, DatasetError):
        raise
      self._refuse_column_out_of_range()
      kind = '{column value, column value, ...}' if self.sparse else 'values'
      self.refuse(
        f'cannot be read as a row of {kind}. Is it cut off, or a value with '
        f'a space, quote or brace not quoted? {self.line[:60]!r}'
      )

  def _lines(self) -> Iterator[str]:
    # Every attribute is announced as a string: liac-arff is to split only.
    yield '@RELATION rows'
    for column in range(len(self.header.attributes)):
      yield f'@ATTRIBUTE a{column} STRING'
    yield '@DATA'
    for number, line in self._body:
      self.number, self.line = number, line
      if self.line.startswith('{') != self.sparse:
        self.refuse('dense and sparse rows in one file. Write all as one kind.')
      if not self.sparse:
        self._refuse_wrong_count()
      yield self.line

  def _refuse_wrong_count(self):
    count, width = self._bare().count(',') + 1, len(self.header.attributes)
    if count != width:
      self.refuse(
        f'{count} values for {width} attributes. Is the row cut off, or a '
        'value with a comma not quoted?'
      )

  def _refuse_column_out_of_range(self):
    width = len(self.header.attributes)
    columns = _COLUMN.findall(self._bare()) if self.sparse else []
    for column in map(int, columns):
      if column >= width:
        self.refuse(
          f'column {column} in a sparse row; the {width} attributes of the '
          f'header are columns 0 to {width - 1}.'
        )

  def _bare(self):
    """The line, with a placeholder for each quoted string."""
    quoted = '"' in self.line or "'" in self.line
    return _STRINGS.sub('x', self.line) if quoted else self.line

  def _refuse_repeated_columns(self, row):
    bare = self._bare()
    entries = bare.count(',') + 1 if row else 0
    if entries != len(row):
      counts = Counter(_COLUMN.findall(bare))
      column = int(counts.most_common(1)[0][0])
      name = self.header.attributes[column].name
      self.refuse(f'column {column} ({name!r}) stands twice in a sparse row.')

  def refuse(self, what: str) -> NoReturn:
    refuse(self.header.path, self.number, what)


def _converter(attribute, is_label):
  """A function from a text to its code, which raises for any other text."""
  if attribute.values is None:
    return _label_number if is_label else _finite
  return {v: float(i) for i, v in enumerate(attribute.values)}.__getitem__


def _finite(text):
  value = float(text)
  # Python reads 1_0 as 10, and inf and nan as numbers.
  if '_' in text or value - value != 0.0:
    raise ValueError(text)
  return value


def _label_number(text):
  value = _finite(text)
  if value not in (0.0, 1.0):
    raise ValueError(text)
  return value


def _careful(rows, row, convert):
  """As the fast pass, with NaN for `?` and a message for what is wrong."""
  missing = 0
  values = []
  for column, cell in row.items() if rows.sparse else enumerate(row):
    if cell is None:
      missing += 1
      values.append(np.nan)
      continue
    try:
      values.append(convert[column](cell))
    except (KeyError, ValueError):
      attribute = rows.header.attributes[column]
      expected = 'a finite number'
      if attribute.values is not None:
        expected = f'one of {{{listed(attribute.values)}}}'
      elif convert[column] is _label_number:
        expected = '0 or 1, since it is a label,'
      rows.refuse(
        f'attribute {attribute.name!r} has value {cell[:40]!r}; {expected} is '
        'expected, or ? where it is missing.'
      )
  # liac-arff returns None for an empty value as well.
  if rows.line.count('?') < missing:
    rows.refuse('an empty value. Write ? where a value is missing.')
  return values
