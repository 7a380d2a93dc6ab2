"""A data set in memory, checked once, at the door."""

import dataclasses
import functools
import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import scipy.sparse

from mlc.data.hierarchy import count_orphans, on_cycles
from mlc.data.repeated_rows import count_repeated

TRAIN, VALIDATION, TEST = 0, 1, 2


class DatasetError(ValueError):
  """Data that cannot be used, with what, where and what to do."""


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
  """Features and labels of N examples, D features and L labels.

  The fields are validated and brought to the dtypes below. What is odd but
  usable (constant labels, rows without any label or with one that lacks its
  parent, test rows that stand in the training part too) is not refused, nor
  changed, but added to `notes`. Dense arrays are
  read-only, so that `content_hash` stays true.

  Attributes:
    name: as in the results table.
    x: features, float32, [N, D], dense or CSR without duplicate entries.
    y: labels, uint8, 0 or 1, [N, L]; 0 where unknown.
    label_names: L names, all different.
    feature_names: D names, or None.
    where: bool [N, L], True where the label is known; None when all are.
    split: int8 [N], the given split: 0 train, 1 validation, 2 test; None when
      the source gives none.
    log_joint: float32 [N, 2^L], of a synthetic set the true log p(y | x), in
      the order of `distribution.label_vectors`.
    hierarchy: bool [L, L], entry [child, parent], True where a label is a kind
      of another, without cycles; None when there is none.
    source: where the data came from, and their licence.
    notes: what a user must know.

  Raises:
    DatasetError: features that are not finite numbers, labels other than 0
      and 1, no rows, no labels, names or shapes that do not agree.
  """

  name: str
  x: np.ndarray | scipy.sparse.csr_array
  y: np.ndarray
  label_names: tuple[str, ...]
  feature_names: tuple[str, ...] | None = None
  where: np.ndarray | None = None
  split: np.ndarray | None = None
  log_joint: np.ndarray | None = None
  hierarchy: np.ndarray | None = None
  source: str = ''
  notes: tuple[str, ...] = ()

  def __post_init__(self):
    say = f'data set {self.name!r}: '
    put = functools.partial(object.__setattr__, self)
    put('x', _features(self.x, say))
    shape = (self.x.shape[0], _label_shape(self.y, say)[1])
    if self.where is not None:
      put('where', _known(self.where, shape, say))
    put('y', _labels(self.y, self.where, self.x.shape[0], say))
    put('label_names', _names(self.label_names, shape[1], 'label', say))
    if self.feature_names is not None:
      names = _names(self.feature_names, self.x.shape[1], 'feature', say)
      put('feature_names', names)
    if self.split is not None:
      put('split', _split(self.split, shape[0], say))
    if self.log_joint is not None:
      put('log_joint', _log_joint(self.log_joint, shape, say))
    if self.hierarchy is not None:
      put('hierarchy', _hierarchy(self.hierarchy, self.label_names, say))
    put('notes', tuple(dict.fromkeys((*self.notes, *_findings(self)))))

  @property
  def num_examples(self) -> int:
    return self.y.shape[0]

  @property
  def num_features(self) -> int:
    return self.x.shape[1]

  @property
  def num_labels(self) -> int:
    return self.y.shape[1]

  @functools.cached_property
  def is_multiclass(self) -> bool:
    """True when there are 2+ labels and every row has exactly one."""
    known = self.where is None or bool(self.where.all())
    one = bool((self.y.sum(axis=1) == 1).all())
    return known and one and self.num_labels >= 2

  @functools.cached_property
  def content_hash(self) -> str:
    """Hex SHA-256 over all arrays and names, but not name, source or notes."""
    digest = hashlib.sha256()
    fields = ['x', 'y', 'where', 'split', 'log_joint']
    # It came later, and the hashes of what has none are to stay.
    fields += [] if self.hierarchy is None else ['hierarchy']
    for field in fields:
      value = getattr(self, field)
      parts = [value]
      if isinstance(value, scipy.sparse.csr_array):
        digest.update(f'csr {value.shape};'.encode())
        parts = [value.indptr, value.indices, value.data]
      for part in parts:
        if part is None:
          digest.update(f'{field} none;'.encode())
          continue
        digest.update(f'{field} {part.dtype.str} {part.shape};'.encode())
        digest.update(np.ascontiguousarray(part).data)
    for names in (self.label_names, self.feature_names or ()):
      digest.update(f'{len(names)} {names!r};'.encode())
    return digest.hexdigest()


def listed(items: Sequence[object], most: int = 5) -> str:
  """The first few items, and how many more there are."""
  head = ', '.join(str(item) for item in items[:most])
  more = len(items) - most
  return f'{head} and {more} more' if more > 0 else head


def _array(value, what, say):
  try:
    array = np.asarray(value)
  except ValueError as error:
    raise DatasetError(
      f'{say}the {what} are ragged: rows of different lengths ({error}). '
      'Give every row the same number of columns.'
    ) from None
  if array.dtype == object:
    raise DatasetError(
      f'{say}the {what} are ragged or not numbers (an array of Python '
      'objects). Give a rectangular array of numbers.'
    )
  if array.dtype.kind not in 'biuf':
    raise DatasetError(
      f'{say}the {what} have dtype {array.dtype}; numbers are expected. '
      'Encode text and categories first, e.g. one-hot.'
    )
  return array


def _two_dimensional(array, what, say):
  if array.ndim != 2:
    raise DatasetError(
      f'{say}the {what} have shape {array.shape}; [examples, {what}] is '
      f'expected. A single column is written x[:, None].'
    )
  for axis, count in (('rows', 0), ('columns', 1)):
    if array.shape[count] == 0:
      raise DatasetError(
        f'{say}the {what} have shape {array.shape}: no {axis}. '
        'At least one is needed.'
      )


def _frozen(array, dtype):
  # A view, so that the caller's own array stays writable.
  view = np.ascontiguousarray(array, dtype).view()
  view.setflags(write=False)
  return view


def _features(x, say):
  if scipy.sparse.issparse(x):
    return _sparse_features(x, say)
  x = _array(x, 'features', say)
  _two_dimensional(x, 'features', say)
  with np.errstate(over='ignore'):
    single = _frozen(x, np.float32)
  if not np.isfinite(single).all():
    row, column = np.argwhere(~np.isfinite(single))[0]
    _refuse_value(x[row, column], row, column, say)
  return single


def _sparse_features(x, say):
  given = scipy.sparse.csr_array(x)
  _two_dimensional(given, 'features', say)
  with np.errstate(over='ignore'):
    data = _array(given.data, 'features', say).astype(np.float32)
  # Copies, so that the caller's matrix is not sorted; and not by csr.astype,
  # which adds duplicates up in silence.
  parts = (data, given.indices.copy(), given.indptr.copy())
  csr = scipy.sparse.csr_array(parts, shape=given.shape)
  csr.sort_indices()
  rows = np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr))
  same = (np.diff(rows) == 0) & (np.diff(csr.indices) == 0)
  if same.any():
    entry = int(np.argmax(same))
    raise DatasetError(
      f'{say}row {rows[entry]} of the sparse features holds column '
      f'{csr.indices[entry]} twice. Sum or drop duplicates first '
      '(x.sum_duplicates()).'
    )
  bad = ~np.isfinite(csr.data)
  if bad.any():
    entry = int(np.argmax(bad))
    _refuse_value(csr.data[entry], rows[entry], csr.indices[entry], say)
  csr.eliminate_zeros()
  if csr.nnz < 2**31:  # scikit-learn's solvers ask for 32 bits
    csr.indices = csr.indices.astype(np.int32)
    csr.indptr = csr.indptr.astype(np.int32)
  return csr


def _refuse_value(value, row, column, say):
  raise DatasetError(
    f'{say}feature value {value} in row {row}, column {column} (counted from '
    '0); a finite float32 number is expected. Impute, rescale or drop it.'
  )


def _label_shape(y, say):
  y = _array(y, 'labels', say)
  _two_dimensional(y, 'labels', say)
  return y.shape


def _labels(y, where, num_rows, say):
  y = np.asarray(y)
  if y.shape[0] != num_rows:
    raise DatasetError(
      f'{say}{num_rows} rows of features but {y.shape[0]} rows of labels. '
      'Both need one row an example.'
    )
  if where is not None:
    y = np.where(where, y, 0)
  bad = (y != 0) & (y != 1)
  if bad.any():
    row, column = np.argwhere(bad)[0]
    raise DatasetError(
      f'{say}label value {y[row, column]} in row {row}, column {column} '
      '(counted from 0); 0 or 1 is expected. Mark an unknown label in '
      '`where`; give classes one column each.'
    )
  return _frozen(y, np.uint8)


def _known(where, shape, say):
  where = np.asarray(where)
  if where.dtype != bool or where.shape != shape:
    raise DatasetError(
      f'{say}`where` is {where.dtype} {where.shape}; bool {shape} is '
      'expected, True where the label is known.'
    )
  return None if where.all() else _frozen(where, bool)


def _names(names, count, what, say):
  names = tuple(str(name) for name in names)
  if len(names) != count:
    raise DatasetError(
      f'{say}{len(names)} {what} names for {count} {what} columns. Give one '
      'name a column.'
    )
  twice = [name for name, times in Counter(names).items() if times > 1]
  if twice:
    raise DatasetError(
      f'{say}duplicate {what} names: {listed([repr(n) for n in twice])}. '
      'Rename them, so that each column can be told apart.'
    )
  return names


def _split(split, num_rows, say):
  split = np.asarray(split)
  if split.shape != (num_rows,) or not np.isin(split, (0, 1, 2)).all():
    raise DatasetError(
      f'{say}the given split has shape {split.shape} and values '
      f'{listed(np.unique(split).tolist())}; shape ({num_rows},) and 0 '
      '(train), 1 (validation) or 2 (test) are expected.'
    )
  for part, name in ((TRAIN, 'train'), (TEST, 'test')):
    if not (split == part).any():
      raise DatasetError(
        f'{say}the given split has no {name} row. Leave `split` None and '
        'split by holdout or kfold.'
      )
  return _frozen(split, np.int8)


def _log_joint(log_joint, shape, say):
  num_rows, num_labels = shape
  log_joint = np.asarray(log_joint)
  if log_joint.shape != (num_rows, 2**num_labels):
    raise DatasetError(
      f'{say}log_joint has shape {log_joint.shape}; ({num_rows}, '
      f'2^{num_labels}) is expected: a column for each label vector.'
    )
  total = np.exp(log_joint).sum(axis=1, dtype=np.float64)
  # Not `> 1e-3`, which NaN would pass.
  bad = ~(np.abs(total - 1.0) <= 1e-3)
  if bad.any():
    row = int(np.argmax(bad))
    raise DatasetError(
      f'{say}row {row} of log_joint has probabilities that sum to '
      f'{total[row]:.6g}; 1 is expected. Normalise with log_softmax.'
    )
  return _frozen(log_joint, np.float32)


def _hierarchy(hierarchy, label_names, say):
  hierarchy, shape = np.asarray(hierarchy), (len(label_names),) * 2
  if hierarchy.dtype != bool or hierarchy.shape != shape:
    raise DatasetError(
      f'{say}the hierarchy is {hierarchy.dtype} {hierarchy.shape}; bool '
      f'{shape} is expected, True in [child, parent].'
    )
  cyclic = on_cycles(hierarchy)
  if len(cyclic):
    raise DatasetError(
      f'{say}the hierarchy has a cycle: each of the labels '
      f'{listed([label_names[j] for j in cyclic])} is its own ancestor. '
      'Remove a parent of one of them.'
    )
  return _frozen(hierarchy, bool) if hierarchy.any() else None


def _findings(dataset):
  """What a user must know of data that are usable all the same."""
  notes = _constant_labels(dataset, None, 'in all rows')
  if dataset.split is not None:
    train = dataset.split == TRAIN
    notes += _constant_labels(dataset, train, 'in the given training part')
  empty = int((dataset.y.sum(axis=1) == 0).sum())
  if empty:
    notes.append(f'{empty} of {dataset.num_examples} rows have no label')
  hierarchy = dataset.hierarchy
  if hierarchy is not None and (
    orphans := count_orphans(dataset.y, dataset.where, hierarchy)
  ):
    notes.append(
      f'{orphans} of {dataset.num_examples} rows have a label without its '
      'parent in the hierarchy'
    )
  if dataset.split is not None:
    test = np.flatnonzero(dataset.split == TEST)
    train = np.flatnonzero(dataset.split == TRAIN)
    if repeated := count_repeated(dataset.x, train, test):
      notes.append(
        f'{repeated} of {len(test)} test rows of the given split have the '
        'features of a training row'
      )
  return notes


def _constant_labels(dataset, rows, part):
  where = dataset.where
  y = dataset.y if rows is None else dataset.y[rows]
  if where is None:
    known = np.full(dataset.num_labels, y.shape[0])
  else:
    known = (where if rows is None else where[rows]).sum(axis=0)
  ones = y.sum(axis=0, dtype=np.int64)
  notes = []
  cases = (
    ('unknown', known == 0),
    ('always 0', (ones == 0) & (known > 0)),
    ('always 1', (ones == known) & (known > 0)),
  )
  for value, constant in cases:
    names = [dataset.label_names[j] for j in np.flatnonzero(constant)]
    if names:
      notes.append(
        f'{len(names)} of {dataset.num_labels} labels are {value} {part}: '
        f'{listed(names)}'
      )
  return notes
