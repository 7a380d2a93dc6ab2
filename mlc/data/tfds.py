"""Any data set as a TFDS data set in array_record files, without TensorFlow.

Importing this module imports tensorflow_datasets, half a second; nothing else
imports it before a data set is asked for.
"""

import dataclasses
import difflib
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse
import tensorflow_datasets as tfds

from mlc.data.dataset import TEST, TRAIN, VALIDATION, Dataset, DatasetError

_SPLITS = {'train': TRAIN, 'validation': VALIDATION, 'test': TEST}


@dataclasses.dataclass(eq=False)
class MultiLabelConfig(tfds.core.BuilderConfig):
  """A data set to be written; its name is the name of the configuration."""

  # TFDS logs the configuration: without the numbers.
  dataset: Dataset | None = dataclasses.field(default=None, repr=False)


class _Info(tfds.core.DatasetInfo):
  def initialize_from_bucket(self) -> None:
    """Nothing: TFDS has no copy, and would leave a temporary folder."""


class Mlc(tfds.core.GeneratorBasedBuilder):
  """Multi-label data: a configuration a data set, `mlc/<name>`.

  An example holds `index` (the row in the data set), `features` (float32 [D],
  or of sparse data `indices` and `values` of what is not 0), `labels` (uint8
  [L]) and, when the data set has them, `known` (bool [L], False where a label
  is unknown) and `log_joint` (float32 [2^L]). Splits are those given with the
  data set; without any, `train` holds all rows. The names of labels and
  features are in `info.metadata`, and with them the edges of a hierarchy.
  """

  VERSION = tfds.core.Version('1.0.0')

  def _info(self) -> tfds.core.DatasetInfo:
    dataset = self._dataset()
    return _Info(
      builder=self,
      description=dataset.source or f'The multi-label set {dataset.name}.',
      features=_features(dataset),
      metadata=tfds.core.MetadataDict(_metadata(dataset)),
      # Rows stay in order within a split; `index` says which they are.
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    dataset = self._dataset()
    if dataset.split is None:
      return {'train': self._generate_examples(np.arange(dataset.num_examples))}
    rows = {
      name: np.flatnonzero(dataset.split == part)
      for name, part in _SPLITS.items()
    }
    return {
      name: self._generate_examples(index)
      for name, index in rows.items()
      if len(index)
    }

  def _generate_examples(self, index):
    dataset = self._dataset()
    for row, example in zip(index, _examples(dataset, index), strict=True):
      yield int(row), example

  def _dataset(self) -> Dataset:
    dataset = getattr(self.builder_config, 'dataset', None)
    if dataset is None:
      raise DatasetError(
        'the builder Mlc writes a data set in memory. Call '
        'mlc.data.tfds.write(dataset, directory).'
      )
    return dataset


def write(dataset: Dataset, directory: str) -> str:
  """Writes a data set as `<directory>/mlc/<name>/1.0.0/`, array_record files.

  `tfds.data_source('mlc/<name>', data_dir=directory)` reads it. Characters of
  the name other than letters, digits and _.- become -. Writing the same
  content again does nothing.

  Args:
    dataset: any data set.
    directory: a TFDS data directory; '' for the default one of TFDS.

  Returns:
    The folder of the files.

  Raises:
    DatasetError: another data set of this name stands there.
  """
  config = MultiLabelConfig(name=_config_name(dataset.name), dataset=dataset)
  builder = Mlc(config=config, data_dir=directory or None)
  if os.path.isdir(builder.data_dir):
    _refuse_another(dataset, builder.data_dir)
    return str(builder.data_dir)
  if not sys.stderr.isatty():
    tfds.disable_progress_bar()
  # TFDS makes a folder for downloads; nothing is downloaded.
  with tempfile.TemporaryDirectory() as downloads:
    builder.download_and_prepare(
      file_format='array_record',
      download_dir=downloads,
      download_config=tfds.download.DownloadConfig(try_download_gcs=False),
    )
  return str(builder.data_dir)


def load(name: str, directory: str) -> Dataset:
  """Reads what `write` has written.

  Args:
    name: of the data set.
    directory: as given to `write`.

  Returns:
    The data set, its rows in their first order: content, name, source and
    notes are those that were written.

  Raises:
    DatasetError: no such data set there, or its files are damaged.
  """
  root = os.path.join(directory or str(tfds.core.constants.DATA_DIR), Mlc.name)
  path = os.path.join(root, _config_name(name), str(Mlc.VERSION))
  if not os.path.isdir(path):
    raise DatasetError(_missing(name, root))
  try:
    builder = tfds.builder_from_directory(path)
    metadata = dict(builder.info.metadata)
    examples = {
      split: source.__getitems__(range(len(source)))
      for split, source in builder.as_data_source().items()
    }
    dataset = _assemble(metadata, examples)
  except Exception as error:
    raise DatasetError(
      f'{path!r} cannot be read: {error}. Remove the folder and write the data '
      'set again.'
    ) from error
  if dataset.content_hash != metadata['content_hash']:
    raise DatasetError(
      f'{path!r} is damaged: its content has hash {dataset.content_hash[:10]}, '
      f'{metadata["content_hash"][:10]} was written. Remove the folder and '
      'write the data set again.'
    )
  return dataset


def _features(dataset: Dataset) -> tfds.features.FeaturesDict:
  def tensor(dtype, *shape):
    # As bytes: exact, and faster than a list of numbers in a proto.
    return tfds.features.Tensor(
      shape=shape, dtype=dtype, encoding=tfds.features.Encoding.BYTES
    )

  if scipy.sparse.issparse(dataset.x):
    x = tfds.features.FeaturesDict(
      {'indices': tensor(np.int32, None), 'values': tensor(np.float32, None)}
    )
  else:
    x = tensor(np.float32, dataset.num_features)
  features = {
    'index': tfds.features.Scalar(np.int64),
    'features': x,
    'labels': tensor(np.uint8, dataset.num_labels),
  }
  if dataset.where is not None:
    features['known'] = tensor(np.bool_, dataset.num_labels)
  if dataset.log_joint is not None:
    features['log_joint'] = tensor(np.float32, 2**dataset.num_labels)
  return tfds.features.FeaturesDict(features)


def _metadata(dataset: Dataset) -> dict[str, Any]:
  names = dataset.feature_names
  return {
    'name': dataset.name,
    'label_names': list(dataset.label_names),
    'feature_names': None if names is None else list(names),
    'num_features': dataset.num_features,
    'given_split': dataset.split is not None,
    'hierarchy': _edges(dataset.hierarchy),
    'source': dataset.source,
    'notes': list(dataset.notes),
    'content_hash': dataset.content_hash,
  }


def _edges(hierarchy: np.ndarray | None) -> list[list[int]] | None:
  return None if hierarchy is None else np.argwhere(hierarchy).tolist()


def _hierarchy(metadata: Mapping[str, Any]) -> np.ndarray | None:
  # Files that were written before there were hierarchies do not say.
  edges = metadata.get('hierarchy')
  if edges is None:
    return None
  num_labels = len(metadata['label_names'])
  hierarchy = np.zeros((num_labels, num_labels), bool)
  hierarchy[tuple(np.transpose(edges))] = True
  return hierarchy


def _examples(dataset: Dataset, index: np.ndarray) -> Iterator[dict[str, Any]]:
  x = dataset.x
  for row in index:
    example = {'index': row, 'labels': dataset.y[row]}
    if isinstance(x, scipy.sparse.csr_array):
      entries = slice(x.indptr[row], x.indptr[row + 1])
      indices = x.indices[entries].astype(np.int32)
      example['features'] = {'indices': indices, 'values': x.data[entries]}
    else:
      example['features'] = x[row]
    if dataset.where is not None:
      example['known'] = dataset.where[row]
    if dataset.log_joint is not None:
      example['log_joint'] = dataset.log_joint[row]
    yield example


def _assemble(
  metadata: Mapping[str, Any], examples: Mapping[str, Sequence[Any]]
) -> Dataset:
  """The data set of the examples of each split."""
  rows = [row for part in examples.values() for row in part]
  order = np.argsort([row['index'] for row in rows], kind='stable')
  rows = [rows[i] for i in order]
  split = None
  if metadata['given_split']:
    counts = [len(part) for part in examples.values()]
    split = np.repeat([_SPLITS[name] for name in examples], counts)[order]

  def stacked(field):
    if field not in rows[0]:
      return None
    return np.stack([row[field] for row in rows])

  names = metadata['feature_names']
  return Dataset(
    name=metadata['name'],
    x=_joined_features(rows, metadata['num_features']),
    y=stacked('labels'),
    label_names=tuple(metadata['label_names']),
    feature_names=None if names is None else tuple(names),
    where=stacked('known'),
    split=split,
    log_joint=stacked('log_joint'),
    hierarchy=_hierarchy(metadata),
    source=metadata['source'],
    notes=tuple(metadata['notes']),
  )


def _joined_features(rows, num_features):
  x = [row['features'] for row in rows]
  if not isinstance(x[0], Mapping):
    return np.stack(x)
  ends = np.cumsum([0, *(len(row['indices']) for row in x)])
  indices = np.concatenate([row['indices'] for row in x])
  values = np.concatenate([row['values'] for row in x])
  shape = (len(x), num_features)
  return scipy.sparse.csr_array((values, indices, ends), shape=shape)


def _config_name(name: str) -> str:
  return re.sub(r'[^A-Za-z0-9_.-]+', '-', name).strip('-.') or 'unnamed'


def _refuse_another(dataset: Dataset, path: str) -> None:
  metadata = tfds.builder_from_directory(path).info.metadata
  stands = (metadata.get('name'), metadata.get('content_hash'))
  if stands != (dataset.name, dataset.content_hash):
    raise DatasetError(
      f'{path!r} holds the data set {stands[0]!r} with content hash '
      f'{str(stands[1])[:10]}, not {dataset.name!r} with '
      f'{dataset.content_hash[:10]}. Remove the folder, or write to another '
      'directory.'
    )


def _missing(name: str, root: str) -> str:
  known = sorted(os.listdir(root)) if os.path.isdir(root) else []
  near = difflib.get_close_matches(_config_name(name), known, n=1)
  hint = f' Did you mean {near[0]!r}?' if near else ''
  return (
    f'no TFDS data set {name!r} in {root!r}.{hint} It holds: '
    f'{", ".join(known) or "nothing"}. Write one with '
    'mlc.data.tfds.write(dataset, directory), and name the same directory '
    'as data_dir.'
  )
