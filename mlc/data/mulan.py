"""Data sets in ARFF: which columns are labels, how the others are features.

MULAN names the labels in an XML file beside the ARFF. MEKA states them in the
relation: `-C q` for the first q columns, `-C -q` for the last q.
"""

import difflib
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal
from xml.etree import ElementTree

import numpy as np
import scipy.sparse

from mlc.data import arff
from mlc.data.arff import Attribute, Header
from mlc.data.dataset import TEST, TRAIN, Dataset, DatasetError, listed

Missing = Literal['indicator', 'refuse']

# The values of a nominal label: first those that mean 0, then 1.
_NO, _YES = ('0', 'false', 'no'), ('1', 'true', 'yes')
_MEKA = re.compile(r'(?:^|\s)-C\s+(-?\d+)')
_MOVED = re.compile(r'weka\.filters\.\w+\.attribute\.(Remove|Reorder|Add)')
_ESCAPE = re.compile(r'\\(.)')


def load(
  name: str,
  path: str,
  test_path: str | None = None,
  *,
  xml_path: str | None = None,
  missing: Missing = 'indicator',
) -> Dataset:
  """Loads one ARFF file, or two with the split that they give.

  Labels stand in the order of the columns, whatever the order in the XML. A
  label nested in another is a label like all others, and its child in the
  hierarchy. A label is numeric
  or nominal with 0 and 1, false and true, or no and yes; `?` is unknown. A
  nominal feature becomes a column a value (`location=PC4`), except that of 0
  and 1, which stays one column.

  Args:
    name: of the data set.
    path: the file, or the training part.
    test_path: the test part.
    xml_path: the labels; None when the relation states them (`-C q`).
    missing: what `?` in a feature does. `indicator`: it becomes 0, and the
      feature gets a further column (`age=?`) that is 1 there; no value is
      estimated, so that nothing passes from test to training. `refuse`: an
      error.

  Returns:
    The data set; sparse when all files are.

  Raises:
    DatasetError: whatever cannot be read without guessing, with file and line.
  """
  paths = [path] if test_path is None else [path, test_path]
  files = [(p, arff.read_text(p)) for p in paths]
  headers = [arff.read_header(*file) for file in files]
  _refuse_different_headers(headers)
  parents = [_label_parents(header, xml_path) for header in headers]
  labels = [set(of_each) for of_each in parents]
  if labels[0] != labels[-1]:
    raise DatasetError(
      f'{paths[0]} and {paths[-1]} state different labels in their relations '
      f'({headers[0].relation!r}, {headers[-1].relation!r}). Make them agree.'
    )
  attributes = headers[0].attributes
  for attribute in attributes:
    if attribute.name in labels[0]:
      _refuse_not_binary(headers[0].path, attribute)
  tables = [
    arff.read_rows(header, lines, labels[0])
    for header, (_, lines) in zip(headers, files, strict=True)
  ]
  is_label = np.asarray([a.name in labels[0] for a in attributes])
  if missing == 'refuse':
    _refuse_missing(headers, tables, is_label)
  codes = _stack(tables)
  y, where = _labels(codes, attributes, is_label)
  x, feature_names, notes = _features(codes, attributes, is_label)
  split = None
  if test_path is not None:
    sizes = [len(table.lines) for table in tables]
    split = np.repeat([TRAIN, TEST], sizes)
  label_names = tuple(a.name for a in attributes if a.name in labels[0])
  return Dataset(
    name=name,
    x=x,
    y=y,
    where=where,
    label_names=label_names,
    feature_names=feature_names,
    split=split,
    hierarchy=_hierarchy(parents[0], label_names),
    source='ARFF: ' + ', '.join(os.path.basename(p) for p in paths),
    notes=(*notes, *_open_ends(headers, tables)),
  )


def read_xml(path: str) -> dict[str, list[str]]:
  """The labels of a MULAN XML file, each with the names of its parents.

  The parent of a <label> is the <label> in which it is nested. One with several
  parents stands once in each; MULAN itself knows trees only.

  Raises:
    DatasetError: not XML, or not of this kind.
  """
  try:
    with open(path, 'rb') as file:
      content = file.read()
    if b'<!DOCTYPE' in content:
      raise DatasetError(f'{path}: a DOCTYPE is not expected. Remove it.')
    root = ElementTree.fromstring(content)
  except OSError as error:
    raise DatasetError(
      f'cannot read {path}: {error.strerror}. Check the path and its rights.'
    ) from None
  except ElementTree.ParseError as error:
    raise DatasetError(
      f'{path}:{error.position[0]}: not XML ({error}). Is it cut off?'
    ) from None
  pairs = list(_nested_labels(root))
  names = [name for name, _ in pairs]
  if not names or '' in names:
    raise DatasetError(
      f'{path}: {names.count("")} labels without a name, {len(names)} in all. '
      'MULAN\'s form is <labels><label name="..."/>...</labels>.'
    )
  parents: dict[str, list[str]] = {name: [] for name in names}
  times = Counter(names)
  for name, parent in pairs:
    if parent is not None and parent not in parents[name]:
      parents[name].append(parent)
    elif times[name] > 1:
      raise DatasetError(
        f'{path}: label {name!r} twice. Remove one of them; only one with '
        'several parents may stand once in each.'
      )
  return parents


def _nested_labels(
  root: ElementTree.Element,
) -> Iterator[tuple[str, str | None]]:
  """The name of each label, and of the label in which it is nested."""
  # A stack and no recursion, whose depth a file could exhaust.
  left: list[tuple[ElementTree.Element, str | None]] = [(root, None)]
  while left:
    element, parent = left.pop()
    if element.tag.rpartition('}')[2] == 'label':
      name = element.get('name') or ''
      yield name, parent
      parent = name
    left += [(child, parent) for child in reversed(element)]


def _hierarchy(
  parents: Mapping[str, Sequence[str]], label_names: Sequence[str]
) -> np.ndarray | None:
  """Entry [child, parent]; None when no label has a parent."""
  hierarchy = [
    [p in parents[name] for p in label_names] for name in label_names
  ]
  return np.array(hierarchy) if any(parents.values()) else None


def _label_parents(
  header: Header, xml_path: str | None
) -> Mapping[str, Sequence[str]]:
  """The columns that are labels, each with those of its parents."""
  if xml_path is None:
    return {name: () for name in _meka_labels(header)}
  columns = {a.name: a.name for a in header.attributes}
  # One of the two files may have escaped what the other has not.
  plain = Counter(_ESCAPE.sub(r'\1', name) for name in columns)
  for name in list(columns):
    bare = _ESCAPE.sub(r'\1', name)
    if plain[bare] == 1:
      columns.setdefault(bare, name)
  column_of, parents = {}, read_xml(xml_path)
  for name in parents:
    found = columns.get(name) or columns.get(_ESCAPE.sub(r'\1', name))
    if found is None:
      near = difflib.get_close_matches(name, columns, n=1)
      hint = f' Did you mean {near[0]!r}?' if near else ''
      raise DatasetError(
        f'{xml_path}: label {name!r} is no attribute of {header.path}.{hint} '
        'Both must name it alike.'
      )
    column_of[name] = found
  names = {*column_of.values()}
  if len(names) == len(header.attributes):
    raise DatasetError(
      f'{xml_path}: all {len(names)} attributes of {header.path} are labels. '
      'At least one feature is needed.'
    )
  return {
    column_of[name]: [column_of[parent] for parent in of_name]
    for name, of_name in parents.items()
  }


def _meka_labels(header: Header) -> Sequence[str]:
  say = f'{header.path}: relation {header.relation[:80]!r} '
  match = _MEKA.search(header.relation.partition('-weka.filters')[0])
  if match is None:
    raise DatasetError(
      f'{say}does not state which columns are labels. Put a MULAN .xml file '
      'beside it, or write `-C q` into the relation (the first q columns, or '
      'the last with -q).'
    )
  if _MOVED.search(header.relation):
    raise DatasetError(
      f'{say}states {match[0].strip()}, but a filter moved columns since. Put '
      'a MULAN .xml file beside it, or correct the relation.'
    )
  count, names = int(match[1]), [a.name for a in header.attributes]
  if not 0 < abs(count) < len(names):
    raise DatasetError(
      f'{say}states {abs(count)} labels among {len(names)} attributes; at '
      'least one label and one feature are needed.'
    )
  return names[:count] if count > 0 else names[count:]


def _refuse_different_headers(headers: Sequence[Header]) -> None:
  one, two = headers[0], headers[-1]
  if len(one.attributes) != len(two.attributes):
    raise DatasetError(
      f'{one.path} has {len(one.attributes)} attributes, {two.path} has '
      f'{len(two.attributes)}. Both must have the same header.'
    )
  for a, b in zip(one.attributes, two.attributes, strict=True):
    if (a.name, a.values) != (b.name, b.values):
      raise DatasetError(
        f'{one.path}:{a.line} declares {_described(a)}, {two.path}:{b.line} '
        f'{_described(b)}. Both must have the same header.'
      )


def _described(attribute: Attribute) -> str:
  values = attribute.values
  kind = 'numeric' if values is None else f'{{{listed(values)}}}'
  return f'{attribute.name!r} {kind}'


def _refuse_not_binary(path: str, attribute: Attribute) -> None:
  if attribute.values is None:
    return
  values = {value.lower() for value in attribute.values}
  if not any(values <= set(pair) for pair in zip(_NO, _YES, strict=True)):
    arff.refuse(
      path,
      attribute.line,
      f'label {_described(attribute)}: {{0,1}} is expected (also false and '
      'true, no and yes). Give each class a column of its own.',
    )


def _refuse_missing(headers, tables, is_label):
  for header, table in zip(headers, tables, strict=True):
    codes = table.codes
    if isinstance(codes, scipy.sparse.csr_array):
      rows = np.repeat(np.arange(codes.shape[0]), np.diff(codes.indptr))
      nan = np.isnan(codes.data)
      places = np.stack([rows[nan], codes.indices[nan]], axis=1)
    else:
      places = np.argwhere(np.isnan(codes))
    places = places[~is_label[places[:, 1]]]
    if len(places):
      row, column = places[0]
      arff.refuse(
        header.path,
        int(table.lines[row]),
        f'feature {header.attributes[column].name!r} is missing '
        f'({len(places)} such values in all). Impute them, or load with '
        "missing='indicator'.",
      )


def _stack(tables):
  """The codes of all files, one below the other: dense, or CSC if all are."""
  codes = [table.codes for table in tables]
  if all(scipy.sparse.issparse(c) for c in codes):
    return scipy.sparse.vstack(codes, format='csc')
  dense = [c.toarray() if scipy.sparse.issparse(c) else c for c in codes]
  return np.concatenate(dense)


def _labels(codes, attributes, is_label):
  """Labels [N, L], and where they are known; None when everywhere."""
  y = codes[:, np.flatnonzero(is_label)]
  y = y.toarray() if scipy.sparse.issparse(y) else y
  # {1,0}: the code, which is the place in the declaration, is 0 for 1.
  flipped = [
    a.values is not None and a.values[0].lower() in _YES
    for a, label in zip(attributes, is_label, strict=True)
    if label
  ]
  known = ~np.isnan(y)
  y = np.where(flipped, 1.0 - y, y)
  return np.where(known, y, 0.0), None if known.all() else known


def _features(codes, attributes, is_label):
  """Features [N, D], their names, and what was done to the columns."""
  sparse = scipy.sparse.issparse(codes)
  missing = _has_missing(codes)
  kept = [
    _is_number(a) and (a.values or '0')[0] == '0' and not missing[j]
    for j, a in enumerate(attributes)
  ]
  features = np.flatnonzero(~is_label).tolist()
  blocks, names = [], []
  # Runs of columns that stay as they are need no look at each.
  for is_kept, run in itertools.groupby(features, kept.__getitem__):
    columns = list(run)
    if is_kept:
      blocks.append(codes[:, columns])
      names += [attributes[j].name for j in columns]
      continue
    for j in columns:
      column = codes[:, [j]].toarray() if sparse else codes[:, [j]]
      block, block_names = _encoded(column, attributes[j])
      blocks.append(block)
      names += block_names
  notes = []
  if nominal := [
    attributes[j].name for j in features if not _is_number(attributes[j])
  ]:
    notes.append(f'{len(nominal)} nominal features one-hot: {listed(nominal)}')
  if filled := [attributes[j].name for j in features if missing[j]]:
    notes.append(
      f'{len(filled)} features with missing values, which became 0 beside a '
      f'column that marks them: {listed(filled)}'
    )
  if sparse:
    return scipy.sparse.hstack(blocks, format='csr'), tuple(names), notes
  return np.concatenate(blocks, axis=1), tuple(names), notes


def _is_number(attribute: Attribute) -> bool:
  return set(attribute.values or ()) <= {'0', '1'}


def _has_missing(codes) -> np.ndarray:
  """For each column whether a value is missing."""
  if not scipy.sparse.issparse(codes):
    return np.isnan(codes).any(axis=0)
  columns = np.repeat(np.arange(codes.shape[1]), np.diff(codes.indptr))
  return np.bincount(columns[np.isnan(codes.data)], None, codes.shape[1]) > 0


def _encoded(column, attribute):
  """The columns [N, 1 or more] that a feature becomes, and their names."""
  name, values = attribute.name, attribute.values
  unknown = np.isnan(column)
  if _is_number(attribute):
    flipped = values is not None and values[0] == '1'
    column = 1.0 - column if flipped else column
    block, names = np.where(unknown, 0.0, column), [name]
  else:
    block = (column == np.arange(len(values))).astype(np.float64)
    names = [f'{name}={value}' for value in values]
  if unknown.any():
    block = np.concatenate([block, unknown], axis=1)
    names.append(f'{name}=?')
  return block, names


def _open_ends(headers, tables):
  """A number that is cut off is a number still: say where it could be."""
  return [
    f'{os.path.basename(header.path)} does not end with a line break: its last '
    'value may be cut off'
    for header, table in zip(headers, tables, strict=True)
    if table.ends_open
    and header.attributes[-1].values is None
    and not scipy.sparse.issparse(table.codes)
  ]
