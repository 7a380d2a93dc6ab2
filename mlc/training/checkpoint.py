"""Checkpoints that notice damage, on Orbax.

Orbax writes atomically but restores a flipped bit without a word, and never
falls back to an older checkpoint. So each checkpoint is a directory

    <step>-<hash8>/arrays/         the leaves, as Orbax wrote them
    <step>-<hash8>/manifest.json   config, and SHA-256 of all there is

made under a name that nobody reads, read back, forced to the disk and renamed.
Restoring checks the newest first, says what it passes over and why, and
refuses when none is left: training never starts from zero over a checkpoint.
"""

import json
import logging
import os
import pathlib
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from mlc.run_directory import RunDirectoryError, canonical_json, refuse_change
from mlc.run_directory import files as storage
from mlc.training import checkpoint_manifest as manifests
from mlc.training import stored_state
from mlc.training.checkpoint_manifest import DamagedError
from mlc.training.quiet import OrbaxError, quietly
from mlc.training.stored_state import Leaf

_log = logging.getLogger(__name__)

_TEMPORARY = '.tmp-'
_TRASH = '.trash-'
_REJECTED = 'rejected-'
_ARRAYS = 'arrays'


class CheckpointError(RunDirectoryError):
  """A checkpoint cannot be written or none can be trusted."""


class Checkpoints:
  """The checkpoints of one run, in one directory.

  To be used by the holder of the run directory's lock: call `restore` once,
  then `maybe_save` after each epoch and `save` after the last.

  Attributes:
    directory: where they are.
  """

  def __init__(
    self,
    directory: str | os.PathLike[str],
    config: Mapping[str, Any],
    *,
    keep: int = 2,
    interval_secs: float | int = 60.0,
    log: str | os.PathLike[str] | None = None,
  ):
    """Touches nothing.

    Args:
      directory: made by the first save.
      config: JSON object; a checkpoint of another config is refused.
      keep: how many of the newest stay. With 1 a damaged one has no successor.
      interval_secs: least time between two saves of `maybe_save`; 0 saves
        each time. A save costs 0.1 to 0.5 s.
      log: a file of lines that grows with the training (metrics.jsonl). A
        checkpoint notes its length and SHA-256, and restoring cuts the file to
        them, so that a resumed file equals an uninterrupted one. Append the
        lines of an epoch before saving it. None: no file, and restoring
        writes nothing at all.
    """
    if keep < 1:
      raise ValueError(f'keep is {keep}; at least 1 checkpoint has to stay.')
    self.directory = pathlib.Path(os.path.abspath(directory))
    self._config = json.loads(canonical_json(config))
    self._keep = keep
    self._interval_secs = interval_secs
    self._log_path = None if log is None else pathlib.Path(log)
    self._last_save = time.monotonic()
    self._rejected: list[pathlib.Path] | None = None

  def maybe_save(self, step: int, state: Any) -> bool:
    """Saves when `interval_secs` have passed since the last time.

    Returns:
      True when it saved.
    """
    if time.monotonic() - self._last_save < self._interval_secs:
      return False
    self.save(step, state)
    return True

  def save(self, step: int, state: Any) -> None:
    """Writes a checkpoint and drops those beyond `keep`.

    Args:
      step: how far the training is; the newest checkpoint has the largest,
        and others that are as far are superseded.
      state: pytree of arrays; of key arrays too.

    Raises:
      StorageError: the disk refused; older checkpoints are untouched.
      CheckpointError: what was written does not read back as it was, or
        `restore` was not called although there are checkpoints.
    """
    with storage.naming_path(self.directory):
      there = self._names()
    if self._rejected is None and there:
      raise CheckpointError(
        f'{self.directory} holds checkpoints that this run did not look at: '
        'call restore before the first save, or they would be overwritten.'
      )
    if jax.process_count() > 1:
      raise CheckpointError(
        'checkpoints are written by one process, and this training has '
        f'{jax.process_count()}: gather the state on the first and save there.'
      )
    leaves, arrays = stored_state.to_host(state)
    with storage.naming_path(self.directory):
      self.directory.mkdir(parents=True, exist_ok=True)
      self._sweep()
      manifest = manifests.describe(
        int(step), self._config, leaves, arrays, self._mark_log()
      )
      self._write(manifest, leaves, arrays)
      self._prune(self.directory / manifests.name(manifest))
    self._last_save = time.monotonic()

  def restore(self, abstract_state: Any) -> tuple[int, Any] | None:
    """Reads the newest checkpoint that can be trusted.

    Args:
      abstract_state: pytree of arrays or of jax.ShapeDtypeStruct, as saved;
        each leaf is put where its `sharding` says.

    Returns:
      (step, state), or None when there is no checkpoint at all.

    Raises:
      ConfigChangedError: a checkpoint was made with another config (a diff).
      CheckpointError: there are checkpoints and none can be trusted, or the
        state has another structure now.
    """
    self._last_save = time.monotonic()
    rejected: list[pathlib.Path] = []
    reasons = []
    for path in reversed(self._names()):
      try:
        manifest = manifests.read(path)
        refuse_change(manifest['config'], self._config, str(path))
        manifests.check_files(path, manifest)
        self._check_log(manifest['log'])
        state = _load(path, manifest, abstract_state)
      except DamagedError as error:
        _log.warning('checkpoint %s is passed over: %s', path, error)
        rejected.append(path)
        reasons.append(f'\n  {path.name}: {error}')
        continue
      if rejected:
        _log.warning('continuing from the older checkpoint %s', path)
      self._cut_log(manifest['log'])
      self._rejected = rejected
      return manifest['step'], state
    for path in self._aside() if not reasons else []:
      reasons.append(f'\n  {path.name}: passed over by an earlier start')
    if reasons:
      raise CheckpointError(
        f'no checkpoint in {self.directory} can be trusted:{"".join(reasons)}\n'
        'Nothing was changed, and the run was not started from zero. Restore '
        'the directory from a copy, or remove it to train this run anew.'
      )
    self._cut_log({'bytes': 0})
    self._rejected = []
    return None

  def discard(self) -> None:
    """Removes every checkpoint, of a state that can be computed again."""
    with storage.naming_path(self.directory):
      for path in [*self._names(), *self._aside()]:
        self._remove(path)
    self._rejected = []

  # Names.

  def _names(self) -> list[pathlib.Path]:
    """Finished checkpoints, oldest first."""
    try:
      names = [path.name for path in self.directory.iterdir()]
    except FileNotFoundError:
      return []
    steps = {name: manifests.step_of(name) for name in names}
    found = [(step, name) for name, step in steps.items() if step is not None]
    return [self.directory / name for _, name in sorted(found)]

  def _aside(self) -> list[pathlib.Path]:
    return sorted(self.directory.glob(_REJECTED + '*'))

  def _sweep(self) -> None:
    """Removes what a killed process left half-made or half-removed."""
    for path in self.directory.iterdir():
      if path.name.startswith((_TEMPORARY, _TRASH)):
        shutil.rmtree(path)

  def _prune(self, kept: pathlib.Path) -> None:
    # A checkpoint that was passed over would, being newer, push out good ones.
    for path in self._rejected or []:
      if path != kept and path.exists():
        self._set_aside(path)
    self._rejected = []
    step = manifests.step_of(kept.name) or 0
    others = [path for path in self._names() if path != kept]
    older = [p for p in others if (manifests.step_of(p.name) or 0) < step]
    for path in others:
      if path not in older[max(0, len(older) - self._keep + 1) :]:
        self._remove(path)

  def _set_aside(self, path: pathlib.Path) -> None:
    aside = path.with_name(_REJECTED + path.name)
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)

  def _remove(self, path: pathlib.Path) -> None:
    # Renamed first: killed halfway, it must not look like a damaged one.
    trash = path.with_name(_TRASH + path.name)
    path.rename(trash)
    shutil.rmtree(trash)

  # Writing.

  def _write(
    self,
    manifest: Mapping[str, Any],
    leaves: Sequence[Leaf],
    arrays: Mapping[str, np.ndarray],
  ) -> None:
    final = self.directory / manifests.name(manifest)
    if _holds(final, manifest):
      return
    temporary = self.directory / f'{_TEMPORARY}{final.name}'
    try:
      temporary.mkdir()
      _orbax_save(temporary / _ARRAYS, arrays)
      # What does not read back now will not do so when it is needed.
      manifests.check_arrays(manifest, _orbax_load(temporary / _ARRAYS, leaves))
      manifests.seal(manifest, temporary)
      storage.sync_tree(temporary)
      if final.exists():
        self._set_aside(final)
      temporary.rename(final)
      storage.sync_directory(self.directory)
    except DamagedError as error:
      raise CheckpointError(
        f'the checkpoint written to {temporary} does not read back: {error}. '
        'Its disk or memory cannot be trusted; older checkpoints are untouched.'
      ) from error
    finally:
      shutil.rmtree(temporary, ignore_errors=True)

  # The file of lines that grows beside.

  def _mark_log(self) -> dict[str, Any] | None:
    return None if self._log_path is None else storage.mark(self._log_path)

  def _check_log(self, mark: dict[str, Any] | None) -> None:
    if self._log_path is None or mark is None:
      return
    if not storage.begins_with(self._log_path, mark):
      raise DamagedError(
        f'{self._log_path.name} does not begin with the {mark["bytes"]} bytes '
        'that this checkpoint saw: one of the two is damaged or comes from '
        'another copy of the run'
      )

  def _cut_log(self, mark: dict[str, Any] | None) -> None:
    if self._log_path is None or mark is None or not self._log_path.exists():
      return
    surplus = self._log_path.stat().st_size - mark['bytes']
    if surplus > 0:
      _log.warning(
        '%s: dropping %d bytes written after the last checkpoint; they will '
        'be computed again.',
        self._log_path,
        surplus,
      )
      storage.truncate(self._log_path, mark['bytes'])


def _holds(path: pathlib.Path, manifest: Mapping[str, Any]) -> bool:
  """True when `path` is an intact checkpoint of this very state."""
  try:
    there = manifests.read(path)
    manifests.check_files(path, there)
  except DamagedError:
    return False
  return there['state'] == manifest['state']


def _load(
  path: pathlib.Path, manifest: Mapping[str, Any], abstract_state: Any
) -> Any:
  leaves = manifests.leaves_of(manifest)
  now, _, _ = stored_state.describe(abstract_state)
  stored_state.refuse_structure(leaves, now, str(path))
  arrays = _orbax_load(path / _ARRAYS, leaves)
  manifests.check_arrays(manifest, arrays)
  return stored_state.from_host(leaves, arrays, abstract_state)


# Orbax, imported when first used: it takes 0.2 to 0.5 s.


def _orbax_save(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
  # Orbax refuses arrays without elements; their shape says all.
  stored = {name: a for name, a in arrays.items() if a.size}

  def save() -> None:
    from orbax.checkpoint import v1

    v1.save(path, stored)

  try:
    quietly(save)
  except OrbaxError as error:
    if error.errno:
      reason = os.strerror(error.errno)
      raise storage.storage_error(path, reason) from error
    raise CheckpointError(f'Orbax cannot write {path}: {error}') from error


def _orbax_load(
  path: pathlib.Path, leaves: Sequence[Leaf]
) -> dict[str, np.ndarray]:
  """The leaves on the host, from files that are known to be intact."""
  arrays = stored_state.empty(leaves)
  stored = {name: a for name, a in arrays.items() if a.size}

  def load() -> dict[str, np.ndarray]:
    from orbax.checkpoint import v1

    return v1.load(path, stored)

  try:
    return arrays | quietly(load)
  except OrbaxError as error:
    raise CheckpointError(
      f'Orbax cannot read {path}, whose files are as they were written: '
      f'{error}. Nothing was changed; use the version that wrote it (env.json).'
    ) from error
