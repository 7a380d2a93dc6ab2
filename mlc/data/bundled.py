"""Real data sets that come with pip packages, read without importing those.

The packages are wanted for their files only: importing river or
bokeh-sampledata would load pandas and more. Each file is checked against the
SHA-256 of the release it is known from.
"""

import csv
import gzip
import hashlib
import importlib.metadata
import importlib.util
import os
import pathlib
import re
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import scipy.sparse

from mlc.data.dataset import Dataset, DatasetError

_YEAST_SHA256 = (
  '2969cb4bab877a27adcbe17871fa0b378a1e54b98816cd6106b542ee450a1c09'
)
_MOVIES_SHA256 = (
  '1d9c6a02e488d0354b2309e16130c58820a91ac2ce417e814c5964f9579a65ac'
)
# Module: package, and the release of which the file is known.
_PACKAGES = {
  'river': ('river', '0.26.0'),
  'bokeh_sampledata': ('bokeh-sampledata', '2026.1'),
  'sklearn': ('scikit-learn', '1.9.1'),
}
MOVIE_TOKENS = 4096
# Of 22 tokens on average; the few rows with more lose actors. In a random
# 80/20 split mean average precision is the same without the limit, where the
# longest row, to which all are padded on the device, has 118.
TOKENS_A_MOVIE = 32


def yeast() -> Dataset:
  """Gene functions: 2,417 genes, 103 features, 14 labels.

  The rows are MULAN's in the same order, without a given split.

  References:
    Elisseeff, Weston, A kernel method for multi-labelled classification,
    NeurIPS 2001.
  """
  path = _find('river', 'datasets/yeast.csv.gz', _YEAST_SHA256)
  with gzip.open(path, 'rt', encoding='utf-8') as file:
    lines = file.read().splitlines()
  names = tuple(next(csv.reader(lines)))
  table = np.loadtxt(lines, np.float32, delimiter=',', skiprows=1)
  num_features = sum(name.startswith('Att') for name in names)
  return Dataset(
    name='yeast',
    x=table[:, :num_features],
    y=table[:, num_features:],
    label_names=names[num_features:],
    feature_names=names[:num_features],
    source='yeast.csv.gz of the package river; MULAN; licence not stated',
  )


def movies() -> Dataset:
  """Genres of films: 17,029 films, 4,096 hashed tokens, 21 labels.

  A film is the set of the tokens `field:value` made of its title (a token a
  word), director, writer, language, country, decade, runtime (to 15 minutes),
  share of good reviews (to 20 points) and cast: the first 32 in this order,
  each of value 1 in column crc32(token) mod 4096. Films without a genre are
  left out; no token is made of the genre.
  """
  path = _find('bokeh_sampledata', '_data/movies.db', _MOVIES_SHA256)
  # Immutable: sqlite takes no lock and leaves no file beside the data base.
  uri = f'{pathlib.Path(path).resolve().as_uri()}?mode=ro&immutable=1'
  connection = sqlite3.connect(uri, uri=True)
  try:
    films = connection.execute(
      'SELECT Genre, Title, Director, Writer, Language, Country, Year, '
      'Runtime, Meter, "Cast" FROM omdb JOIN tomatoes USING (ID) '
      "WHERE Genre <> '' ORDER BY ID"
    ).fetchall()
  finally:
    connection.close()
  genres = [set(_parts(film[0])) for film in films]
  names = sorted(set().union(*genres))
  columns = [_columns(film[1:]) for film in films]
  ends = np.cumsum([0, *map(len, columns)])
  indices = np.concatenate(columns)
  return Dataset(
    name='movies',
    x=scipy.sparse.csr_array(
      (np.ones(len(indices), np.float32), indices, ends),
      shape=(len(films), MOVIE_TOKENS),
    ),
    y=np.asarray([[name in genre for name in names] for genre in genres]),
    label_names=tuple(names),
    source='movies.db of bokeh_sampledata 2026.1; Wikidata; CC0',
    notes=(
      f'features are words and names hashed to {MOVIE_TOKENS} columns, at most '
      f'{TOKENS_A_MOVIE} a film',
    ),
  )


def digits() -> Dataset:
  """Handwritten digits: 1,797 images of 8 x 8, 10 classes: multi-class.

  The pixels are divided by 16, their largest value.
  """
  _package_folder('sklearn')
  from sklearn.datasets import load_digits

  bunch = load_digits()
  return Dataset(
    name='digits',
    x=bunch.data / 16.0,
    y=np.eye(10, dtype=np.uint8)[bunch.target],
    label_names=tuple(str(digit) for digit in range(10)),
    feature_names=tuple(bunch.feature_names),
    source='scikit-learn; UCI optical recognition of digits; CC BY 4.0',
  )


BUNDLED: Mapping[str, Callable[[], Dataset]] = {
  'yeast': yeast,
  'movies': movies,
  'digits': digits,
}


def _parts(text: str | None) -> list[str]:
  return [part.strip() for part in (text or '').split(',') if part.strip()]


def _columns(film) -> np.ndarray:
  hashed = (zlib.crc32(t.encode()) % MOVIE_TOKENS for t in _tokens(*film))
  # A dictionary keeps the order, and two tokens in one column are one.
  return np.sort(list(dict.fromkeys(hashed))[:TOKENS_A_MOVIE])


def _tokens(
  title, director, writer, language, country, year, runtime, meter, cast
) -> Iterator[str]:
  for word in re.findall(r'\w+', title.lower()):
    yield f'title:{word}'
  fields = {
    'director': director,
    'writer': writer,
    'language': language,
    'country': country,
  }
  for field, value in fields.items():
    for part in _parts(value) or ['none']:
      yield f'{field}:{part.lower()}'
  yield f'decade:{year // 10}'
  yield 'runtime:none' if runtime is None else f'runtime:{int(runtime // 15)}'
  yield 'score:none' if meter is None else f'score:{meter // 20}'
  for part in _parts(cast):
    yield f'cast:{part.lower()}'


def _package_folder(module: str) -> str:
  """Where a package lies; finding it does not run any of its code."""
  spec = importlib.util.find_spec(module)
  if spec is None or not spec.submodule_search_locations:
    package, _ = _PACKAGES[module]
    raise DatasetError(
      f'this data set comes with the package {package}, which is not '
      "installed. Install the extra `data`: pip install 'mlc[data]'."
    )
  return next(iter(spec.submodule_search_locations))


def _find(module: str, file: str, sha256: str) -> str:
  """The path of a file of a package, with the content that is expected."""
  path = os.path.join(_package_folder(module), *file.split('/'))
  try:
    with open(path, 'rb') as content:
      digest = hashlib.file_digest(content, 'sha256').hexdigest()
  except OSError as error:
    what = f'cannot read {path}: {error.strerror}'
    raise DatasetError(f'{what}. {_advice(module)}') from None
  if digest != sha256:
    raise DatasetError(
      f'{path} has SHA-256 {digest}; {sha256} is expected. {_advice(module)}'
    )
  return path


def _advice(module: str) -> str:
  package, version = _PACKAGES[module]
  try:
    found = importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    found = 'of unknown number'
  return (
    f'Version {found} of {package} is installed; the file is known from '
    f'version {version}: pip install --no-deps {package}=={version}.'
  )
