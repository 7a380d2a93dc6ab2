"""RunDirectory: `<workdir>/<study>/<run_id>/`."""

import contextlib
import datetime
import json
import logging
import os
import pathlib
import traceback
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from mlc.run_directory import files, lock
from mlc.run_directory.config import (
  ConfigChangedError,
  canonical_json,
  config_diff,
  refuse_change,
)
from mlc.run_directory.environment import environment
from mlc.run_directory.files import RunDirectoryError

_log = logging.getLogger(__name__)

State = Literal['absent', 'partial', 'running', 'failed', 'done']
_TAIL_BYTES = 1 << 16


class Status(NamedTuple):
  """How far a run is, and why we think so."""

  state: State
  reason: str


class RunDirectory:
  """The files of one run.

  Making the object touches nothing; everything but `open` and what is called
  inside it only reads. A run that was killed at any moment is `partial`, and
  the same command continues it.

  Attributes:
    path: the directory.
  """

  def __init__(self, path: str | os.PathLike[str]):
    self.path = pathlib.Path(path)
    self.config_path = self.path / 'config.json'
    self.flags_path = self.path / 'flags.txt'
    self.env_path = self.path / 'env.json'
    self.metrics_path = self.path / 'metrics.jsonl'
    self.predictions_path = self.path / 'predictions.npz'
    self.results_path = self.path / 'results.json'
    self.checkpoints_path = self.path / 'checkpoints'
    self.log_path = self.path / 'log.txt'
    self.failed_path = self.path / 'FAILED'
    self.done_path = self.path / 'DONE'
    self.lock_path = self.path / 'lock'

  # Reading.

  @property
  def run_id(self) -> str:
    """The name of the directory."""
    return self.path.name

  @property
  def is_done(self) -> bool:
    """True when DONE stands and all that it vouches for is there."""
    return not self._doubt()

  def status(self) -> Status:
    """The state of the run: absent, partial, running, failed or done."""
    doubt = self._doubt()
    if not doubt:
      return Status('done', 'DONE')
    who = lock.holder(self.lock_path)
    if who is not None:
      name = f'process {who.pid} on {who.host}' if who.pid else 'a process'
      return Status('running', f'held by {name}')
    if self.failed_path.exists():
      return Status('failed', self.read_failure().get('error', ''))
    if not self.config_path.exists():
      return Status('absent', 'never started')
    return Status('partial', doubt)

  def _doubt(self) -> str:
    """Why the run is not done; empty when it is."""
    if not self.done_path.exists():
      return 'not finished'
    try:
      vouched = files.read_object(self.done_path)['files']
      for name, known in vouched.items():
        path = self.path / name
        if not path.exists():
          return f'DONE stands but {name} is missing'
        # Predictions may be large: of them the size must do.
        if path.stat().st_size != known['bytes'] or (
          path.suffix == '.json' and files.sha256(path) != known['sha256']
        ):
          return f'DONE stands but {name} is not the file it vouches for'
    except (RunDirectoryError, OSError, KeyError, TypeError, AttributeError):
      return 'DONE stands but is damaged'
    return '' if self.results_path.name in vouched else 'DONE is damaged'

  def read_config(self) -> dict[str, Any]:
    """The config that the run was started with."""
    return files.read_object(self.config_path)

  def read_results(self) -> dict[str, Any]:
    """results.json."""
    return files.read_object(self.results_path)

  def read_failure(self) -> dict[str, Any]:
    """FAILED: error, hint, traceback and time; `error` is always there."""
    try:
      return {'error': 'unknown', **files.read_object(self.failed_path)}
    except RunDirectoryError:
      return {'error': 'FAILED cannot be read'}

  def read_metrics(self) -> list[dict[str, Any]]:
    """All records of metrics.jsonl; a last line without end is left out."""
    try:
      lines = self.metrics_path.read_bytes().split(b'\n')[:-1]
    except FileNotFoundError:
      return []
    try:
      return [json.loads(line) for line in lines]
    except ValueError as error:
      raise RunDirectoryError(
        f'{self.metrics_path} is damaged: {error}. Restore it from a copy, or '
        'remove the run directory to compute the run again.'
      ) from error

  def last_metrics(self) -> dict[str, Any] | None:
    """The last whole record of metrics.jsonl, read from its end only."""
    try:
      with open(self.metrics_path, 'rb') as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL_BYTES))
        lines = file.read().split(b'\n')
      last = json.loads(lines[-2]) if len(lines) > 1 else None
    except (FileNotFoundError, ValueError):
      return None
    return last if isinstance(last, dict) else None

  def read_predictions(self) -> dict[str, np.ndarray]:
    """The arrays of predictions.npz by name."""
    with np.load(self.predictions_path, allow_pickle=False) as archive:
      return {name: archive[name] for name in archive.files}

  # Writing: inside `open` only.

  @contextlib.contextmanager
  def open(
    self, config: Mapping[str, Any], *, flags: str = ''
  ) -> Iterator['RunDirectory']:
    """Takes the directory for writing, as its only writer.

    An exception that leaves the block is noted in FAILED and raised on; a
    KeyboardInterrupt is not a failure, and leaves the run partial.

    Args:
      config: JSON object; on a second start it must equal the first.
      flags: text of flags.txt, which `--flagfile=` replays.

    Yields:
      This object.

    Raises:
      ConfigChangedError: the run was started with another config (a diff).
      HeldError: another process is writing (pid and host).
      StorageError: the directory cannot be written.
    """
    text = canonical_json(config)
    self._refuse_changed(config)
    with files.naming_path(self.path):
      self.path.mkdir(parents=True, exist_ok=True)
    with lock.exclusive(self.lock_path):
      self._refuse_changed(config)
      self._prepare(json.loads(text), flags)
      try:
        yield self
      except Exception as error:
        self.mark_failed(error)
        raise

  def _refuse_changed(self, config: Mapping[str, Any]) -> None:
    if not self.config_path.exists():
      return
    try:
      old = self.read_config()
    except RunDirectoryError as error:
      raise ConfigChangedError(
        f'{error} Move it away to have it written again; the checkpoints '
        'carry their own copy of the config and will be held against it.'
      ) from error
    refuse_change(old, config, str(self.path))

  def _prepare(self, config: dict[str, Any], flags: str) -> None:
    with files.naming_path(self.path):
      for leftover in self.path.glob(files.TEMPORARY):
        leftover.unlink()
    if not self.config_path.exists():
      _write_json(self.config_path, config)
    if flags and not self.flags_path.exists():
      files.write_atomic(self.flags_path, flags.encode())
    self._note_environment()
    self._drop_torn_line()
    with files.naming_path(self.path):
      if self.done_path.exists() and self._doubt():
        _log.warning('%s: %s; finishing it again.', self.path, self._doubt())
        self.done_path.unlink()
      self.failed_path.unlink(missing_ok=True)

  def _note_environment(self) -> None:
    now = environment()
    try:
      before = files.read_object(self.env_path)
    except RunDirectoryError:
      before = now
    if before != now:
      changed = '; '.join(config_diff(before, now))
      _log.warning(
        '%s was started in another environment (%s): results may differ in '
        'the last digits from an uninterrupted run.',
        self.path,
        changed,
      )
    if before != now or not self.env_path.exists():
      _write_json(self.env_path, now)

  def _drop_torn_line(self) -> None:
    if self.metrics_path.exists():
      content = self.metrics_path.read_bytes()
      whole = content.rfind(b'\n') + 1
      if whole < len(content):
        files.truncate(self.metrics_path, whole)

  def append_metrics(self, *records: Mapping[str, Any]) -> None:
    """Appends records to metrics.jsonl, all or none of them.

    For a resumed file to equal an uninterrupted one byte for byte, a record
    holds no clock time. Append an epoch before its checkpoint is saved.

    Args:
      *records: JSON objects; NaN and inf are written as null.
    """
    lines = [json.dumps(_finite(record)) + '\n' for record in records]
    files.append(self.metrics_path, ''.join(lines).encode())

  def truncate_metrics(self, epoch: int) -> None:
    """Drops the records of metrics.jsonl after `epoch`.

    `training.checkpoint.Checkpoints` with `log=metrics_path` does it on its
    own, to the byte.

    Args:
      epoch: the last one kept, as the key `epoch` of the records counts.
    """
    if not self.metrics_path.exists():
      return
    kept = 0
    for line in self.metrics_path.read_bytes().splitlines(keepends=True):
      if not line.endswith(b'\n') or json.loads(line)['epoch'] > epoch:
        break
      kept += len(line)
    files.truncate(self.metrics_path, kept)

  def write_results(self, results: Mapping[str, Any]) -> None:
    """Writes results.json; NaN and inf become null."""
    _write_json(self.results_path, _finite(results))

  def write_predictions(self, **arrays: Any) -> None:
    """Writes predictions.npz.

    Args:
      **arrays: numeric or text arrays by name; not object arrays, since what
        is loaded must not execute.
    """
    plain: dict[str, Any] = {
      name: np.asarray(array) for name, array in arrays.items()
    }
    for name, array in plain.items():
      if array.dtype.hasobject:
        raise ValueError(
          f'{name} is an object array; predictions.npz holds numbers and text.'
        )
    files.write_atomic(
      self.predictions_path, lambda file: np.savez_compressed(file, **plain)
    )

  def mark_done(self) -> None:
    """Writes DONE, which vouches for the files of the run.

    Raises:
      RunDirectoryError: results.json is missing or damaged.
    """
    self.read_results()
    vouched = {
      path.name: {'bytes': path.stat().st_size, 'sha256': files.sha256(path)}
      for path in (
        self.config_path,
        self.metrics_path,
        self.predictions_path,
        self.results_path,
      )
      if path.exists()
    }
    files.sync_tree(self.path)
    _write_json(self.done_path, {'files': vouched, 'finished': _now()})

  def mark_failed(self, error: BaseException, hint: str = '') -> None:
    """Writes FAILED; on a full disk the log has to do.

    Args:
      error: what ended the run.
      hint: what to do; by default the attribute `hint` of the error.
    """
    trace = traceback.extract_tb(error.__traceback__)[-8:]
    failure = {
      'error': f'{type(error).__name__}: {error}',
      'hint': hint or str(getattr(error, 'hint', '')),
      'traceback': [
        f'{os.path.basename(f.filename)}:{f.lineno} {f.name}' for f in trace
      ],
      'time': _now(),
    }
    try:
      _write_json(self.failed_path, failure)
    except RunDirectoryError as second:
      _log.error('%s', second)


def _write_json(path: pathlib.Path, value: Any) -> None:
  text = json.dumps(value, indent=1, allow_nan=False)
  files.write_atomic(path, (text + '\n').encode())


def _finite(value: Any) -> Any:
  """NaN and inf, which JSON lacks, as None; numpy's numbers as Python's."""
  if isinstance(value, np.generic | np.ndarray):
    value = value.tolist()
  if isinstance(value, Mapping):
    return {key: _finite(item) for key, item in value.items()}
  if isinstance(value, list | tuple):
    return [_finite(item) for item in value]
  if isinstance(value, float) and not np.isfinite(value):
    return None
  return value


def _now() -> str:
  return datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
