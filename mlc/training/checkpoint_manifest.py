"""The manifest of a checkpoint: SHA-256 of everything that it consists of.

format, step, config
leaves   path, dtype, shape and SHA-256 of each array of the state
log      length and SHA-256 of the file of lines that grows beside
state    SHA-256 of all above: equal for two trainings that agree
files    SHA-256 of each file that Orbax wrote
digest   SHA-256 of all above
"""

import hashlib
import json
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlc.run_directory import canonical_json
from mlc.run_directory import files as storage
from mlc.training import stored_state
from mlc.training.stored_state import Leaf

FILE = 'manifest.json'
_FORMAT = 1
_NAME = re.compile(r'(\d{8,})-[0-9a-f]{8}')


class DamagedError(Exception):
  """Why a checkpoint is not to be trusted."""


def describe(
  step: int,
  config: Mapping[str, Any],
  leaves: Sequence[Leaf],
  arrays: Mapping[str, np.ndarray],
  log: Mapping[str, Any] | None,
) -> dict[str, Any]:
  """The manifest up to `state`: what does not depend on Orbax."""
  manifest = {
    'format': _FORMAT,
    'step': step,
    'config': config,
    'leaves': [
      {
        **leaf._asdict(),
        'sha256': stored_state.digest(leaf, arrays[leaf.path]),
      }
      for leaf in leaves
    ],
    'log': log,
  }
  return {**manifest, 'state': _hash(manifest)}


def seal(manifest: Mapping[str, Any], path: pathlib.Path) -> None:
  """Writes the manifest of the files that are below `path`."""
  written = [file for file in path.rglob('*') if file.is_file()]
  files = {
    str(file.relative_to(path)): storage.sha256(file) for file in written
  }
  sealed = {**manifest, 'files': files}
  sealed['digest'] = _hash(sealed)
  storage.write_atomic(path / FILE, canonical_json(sealed).encode())


def name(manifest: Mapping[str, Any]) -> str:
  """The name of the checkpoint's directory."""
  return f'{manifest["step"]:08d}-{manifest["state"][:8]}'


def step_of(directory_name: str) -> int | None:
  """The step that a name states; None when no checkpoint is called so."""
  match = _NAME.fullmatch(directory_name)
  return int(match.group(1)) if match else None


def read(path: pathlib.Path) -> dict[str, Any]:
  """The manifest in a checkpoint, or DamagedError."""
  try:
    manifest = json.loads((path / FILE).read_bytes())
    intact = manifest['digest'] == _hash(manifest)
  except OSError as error:
    raise DamagedError(
      f'{FILE} cannot be read ({os.strerror(error.errno or 0)})'
    ) from error
  except (ValueError, KeyError, TypeError, RecursionError) as error:
    raise DamagedError(f'{FILE} is damaged ({error})') from error
  if not intact:
    raise DamagedError(f'{FILE} is damaged (its digest is another)')
  if manifest['format'] != _FORMAT:
    raise DamagedError(
      f'it has format {manifest["format"]}, and this version reads {_FORMAT}'
    )
  if name(manifest) != path.name:
    raise DamagedError(f'it was renamed; its manifest says {name(manifest)}')
  return manifest


def leaves_of(manifest: Mapping[str, Any]) -> list[Leaf]:
  """The description of each array."""
  return [
    Leaf(e['path'], e['dtype'], tuple(e['shape']), e['key_impl'])
    for e in manifest['leaves']
  ]


def check_files(path: pathlib.Path, manifest: Mapping[str, Any]) -> None:
  """Raises DamagedError unless each file is as it was written.

  To be called before Orbax reads them: a flipped bit in its own index could
  have it follow a wild offset or ask for terabytes.
  """
  for file, digest in manifest['files'].items():
    try:
      intact = storage.sha256(path / file) == digest
    except OSError as error:
      raise DamagedError(
        f'{file} cannot be read ({os.strerror(error.errno or 0)})'
      ) from error
    if not intact:
      raise DamagedError(f'{file} is not the file that was written')


def check_arrays(
  manifest: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
  """Raises DamagedError unless each array is the one that was saved."""
  for leaf, entry in zip(leaves_of(manifest), manifest['leaves'], strict=True):
    if stored_state.digest(leaf, arrays[leaf.path]) != entry['sha256']:
      raise DamagedError(f'the bytes of {leaf.path} are not those saved')


def _hash(manifest: Mapping[str, Any]) -> str:
  rest = {key: value for key, value in manifest.items() if key != 'digest'}
  return hashlib.sha256(canonical_json(rest).encode()).hexdigest()
