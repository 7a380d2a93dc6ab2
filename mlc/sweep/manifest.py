"""The manifest of a study: the configs of its runs, written down and hashed."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from mlc.run_directory import (
  RunDirectory,
  RunDirectoryError,
  canonical_json,
  config_diff,
  read_json,
  run_id,
  write_atomic,
)

FILE = 'manifest.json'
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Manifest:
  """What a study consists of.

  Attributes:
    study: its name.
    configs: one JSON object a run, in the order in which they are run; no
      two are equal.
  """

  study: str
  configs: tuple[Mapping[str, Any], ...]

  def __post_init__(self) -> None:
    # Through JSON: what is read back must equal what was given.
    plain = tuple(json.loads(canonical_json(c)) for c in self.configs)
    object.__setattr__(self, 'configs', plain)
    ids = self.run_ids
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
      raise ValueError(
        f'study {self.study} has the same config twice: {", ".join(twice)}.'
      )

  @property
  def run_ids(self) -> tuple[str, ...]:
    """The name of each run's directory."""
    return tuple(run_id(config) for config in self.configs)

  @property
  def hash(self) -> str:
    """SHA-256 of study and configs, in hexadecimal."""
    text = canonical_json([self.study, list(self.configs)])
    return hashlib.sha256(text.encode()).hexdigest()


def read(directory: pathlib.Path) -> Manifest | None:
  """The manifest of a study's directory; None when there is none.

  Raises:
    RunDirectoryError: it is damaged.
  """
  path = directory / FILE
  if not path.exists():
    return None
  content = read_json(path)
  try:
    configs = tuple(run['config'] for run in content['runs'])
    manifest = Manifest(study=content['study'], configs=configs)
    intact = manifest.hash == content['hash']
  except (KeyError, TypeError, ValueError):
    intact = False
  if not intact:
    raise RunDirectoryError(
      f'{path} is damaged: its hash is another. Remove it to have it written '
      'again; the run directories do not depend on it.'
    )
  return manifest


def freeze(directory: pathlib.Path, manifest: Manifest) -> list[str]:
  """Writes the manifest of a study, and says how it differs from the last.

  Runs are told apart by the hash of their config, so a changed grid harms
  nothing that stands: an earlier manifest is kept as `manifest-<hash10>.json`
  and the runs that are only in it keep their directories. But what was begun
  with other settings would be trained anew, which must not happen unsaid.

  Args:
    directory: `<workdir>/<study>/`; made when missing.
    manifest: what is about to be run.

  Returns:
    Sentences for the user; empty when nothing changed.
  """
  old = read(directory)
  if old is not None and old.hash == manifest.hash:
    return []
  if old is not None:
    _write(directory / f'manifest-{old.hash[:10]}.json', old)
  directory.mkdir(parents=True, exist_ok=True)
  _write(directory / FILE, manifest)
  return [] if old is None else changes(directory, old, manifest)


def changes(directory: pathlib.Path, old: Manifest, new: Manifest) -> list[str]:
  """What the runs that are only in `new` change of begun ones only in `old`.

  Returns:
    For each of them: the new run, the nearest old one of the same data set and
    method, how far that one is, and lines `key: old -> new`.
  """
  begun = {
    name: config
    for name, config in zip(old.run_ids, old.configs, strict=True)
    if name not in new.run_ids
    and RunDirectory(directory / name).config_path.exists()
  }
  sentences = []
  for name, config in zip(new.run_ids, new.configs, strict=True):
    if name in old.run_ids:
      continue
    near = _nearest(config, begun)
    if near is not None:
      state = RunDirectory(directory / near).status().state
      diff = '; '.join(config_diff(begun[near], config))
      sentences.append(
        f'{name} is another run than {near} ({state}), which stays: {diff}'
      )
  return sentences


def _nearest(
  config: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]
) -> str | None:
  """The other run of the same data set and method with the shortest diff."""
  same = [
    name
    for name, other in others.items()
    if all(other.get(key) == config.get(key) for key in ('dataset', 'method'))
  ]
  length = lambda name: len(config_diff(others[name], config))
  return min(same, key=length, default=None)


def _write(path: pathlib.Path, manifest: Manifest) -> None:
  runs: Sequence[Mapping[str, Any]] = [
    {'run_id': name, 'config': config}
    for name, config in zip(manifest.run_ids, manifest.configs, strict=True)
  ]
  content = {
    'format': _FORMAT,
    'study': manifest.study,
    'hash': manifest.hash,
    'runs': runs,
  }
  write_atomic(path, (json.dumps(content, indent=1) + '\n').encode())
