"""From a name to a data set."""

import difflib
import os
import re
from collections.abc import Callable

from mlc.data import bundled, mulan, synthetic
from mlc.data.dataset import Dataset, DatasetError, listed

_ARFF, _TFDS = 'arff:', 'tfds:'
HOW_TO_BRING_DATA = (
  'To bring your own: a folder DATA_DIR/NAME with NAME-train.arff and '
  'NAME-test.arff, or one .arff, and a MULAN .xml unless the relation says '
  '-C q; or arff:PATH, tfds:NAME, synthetic:KIND,option=value.'
)


def load(name: str, *, data_dir: str = '') -> Dataset:
  """Loads the data set of a name.

  Tried in this order: `arff:PATH`, a file or folder; `tfds:NAME`, what the
  builder of this project has prepared; `synthetic:KIND,option=value,...`; a
  folder of this name in data_dir; the bundled sets yeast, movies and digits.

  Args:
    name: of the data set.
    data_dir: folder of data sets, one folder each; '' for none.

  Returns:
    The data set.

  Raises:
    DatasetError: no such data set, or one that cannot be used.
  """
  return find(name, data_dir=data_dir)()


def find(name: str, *, data_dir: str = '') -> Callable[[], Dataset]:
  """What loads the data set of a name, without reading it yet.

  Raises:
    DatasetError: no data set has this name.
  """
  if name.startswith(_ARFF):
    path = os.path.expanduser(name.removeprefix(_ARFF))
    if not os.path.exists(path):
      raise DatasetError(f'no file or folder {path!r}. {HOW_TO_BRING_DATA}')
    return lambda: _arff(path)
  if name.startswith(_TFDS):
    return lambda: _tfds(name.removeprefix(_TFDS), data_dir)
  if name.startswith(synthetic.PREFIX):
    synthetic.parse(name)
    return lambda: synthetic.parse_and_make(name)
  folders = _folders(data_dir)
  if name in folders:
    return lambda: _folder(name, os.path.join(data_dir, name))
  if name in bundled.BUNDLED:
    return bundled.BUNDLED[name]
  raise DatasetError(_unknown(name, data_dir, folders))


def _tfds(name: str, data_dir: str) -> Dataset:
  # It takes a second to import, which nobody else should wait for.
  from mlc.data import tfds

  return tfds.load(name, data_dir)


def _folders(data_dir: str) -> list[str]:
  if not data_dir:
    return []
  try:
    with os.scandir(data_dir) as entries:
      return sorted(e.name for e in entries if e.is_dir())
  except OSError as error:
    raise DatasetError(
      f'cannot read data_dir {data_dir!r}: {error.strerror}. Give a folder '
      'that holds one folder a data set, or none.'
    ) from None


def _unknown(name: str, data_dir: str, folders: list[str]) -> str:
  known = [
    *bundled.BUNDLED,
    *folders,
    *(f'{synthetic.PREFIX}{kind}' for kind in synthetic.KINDS),
  ]
  lower = {candidate.lower(): candidate for candidate in reversed(known)}
  near = difflib.get_close_matches(name.lower(), lower, n=1)
  hint = f' Did you mean {lower[near[0]]!r}?' if near else ''
  where = f'{data_dir!r} has the folders {listed(folders, 30)}'
  if not data_dir:
    where = 'no data_dir is given'
  elif not folders:
    where = f'{data_dir!r} has no folder'
  return (
    f'unknown data set {name!r}.{hint} Bundled: {", ".join(bundled.BUNDLED)}; '
    f'synthetic: {", ".join(synthetic.KINDS)}; {where}. {HOW_TO_BRING_DATA}'
  )


def _arff(path: str) -> Dataset:
  if os.path.isdir(path):
    return _folder(os.path.basename(os.path.abspath(path)), path)
  stem = os.path.splitext(os.path.basename(path))[0]
  folder = os.path.dirname(path)
  return mulan.load(stem, path, xml_path=_xml(folder, stem))


def _folder(name: str, folder: str) -> Dataset:
  files = _files(folder, '.arff')
  train = [f for f in files if f.lower().endswith('-train.arff')]
  test = [f for f in files if f.lower().endswith('-test.arff')]
  if len(train) == len(test) == 1:
    xml = _xml(folder, name)
    paths = [os.path.join(folder, f) for f in (*train, *test)]
    return mulan.load(name, *paths, xml_path=xml)
  if len(files) == 1:
    path = os.path.join(folder, files[0])
    return mulan.load(name, path, xml_path=_xml(folder, name))
  raise DatasetError(
    f'{folder!r} holds {len(files)} .arff files ({listed(files) or "none"}); '
    'one *-train.arff and one *-test.arff, or exactly one .arff, are '
    'expected. Name a file: arff:PATH.'
  )


def _files(folder: str, ending: str) -> list[str]:
  names = sorted(os.listdir(folder or '.'))
  # A copy made by a Mac leaves ._name beside each file.
  return [
    n for n in names if n.lower().endswith(ending) and not n.startswith('.')
  ]


def _xml(folder: str, stem: str) -> str | None:
  """The XML of the labels: of the same name, or the only one in the folder."""
  files = _files(folder, '.xml')
  wanted = {stem.lower(), re.sub(r'-(train|test)$', '', stem.lower())}
  same = [f for f in files if os.path.splitext(f)[0].lower() in wanted]
  found = same if len(same) == 1 else files
  if len(found) > 1:
    raise DatasetError(
      f'{folder!r} holds {len(found)} .xml files ({listed(found)}). Keep the '
      f'one that names the labels, or call it {stem}.xml.'
    )
  return os.path.join(folder, found[0]) if found else None
