"""Progress of one run: a bar on a terminal, else lines with an estimate."""

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlc.run_directory import RunDirectory

_log = logging.getLogger(__name__)
_LINE_SECONDS = 5.0


class Progress:
  """Writes each epoch to metrics.jsonl and tells the user how far it is."""

  def __init__(
    self, directory: RunDirectory, described: Sequence[Mapping[str, Any]]
  ):
    self._directory = directory
    self._described = described
    self._said = -_LINE_SECONDS
    self._diverged = np.zeros(len(described), bool)
    self._bar: Any = None

  def __enter__(self) -> 'Progress':
    if sys.stderr.isatty():
      from rich import progress

      self._bar = progress.Progress(
        progress.TextColumn('{task.description}'),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        transient=True,
      )
      self._bar.start()
      self._task = self._bar.add_task('compiling', total=None)
    else:
      _log.info('compiling for %d runs', len(self._described))
    return self

  def __exit__(self, *error: object) -> None:
    if self._bar is not None:
      self._bar.stop()

  def on_epoch(self, record: Mapping[str, Any]) -> None:
    """What `training.loop.fit` calls after each epoch."""
    self._directory.append_metrics(
      {
        'epoch': record['epoch'],
        'train_loss': record['train_loss'],
        'validation_loss': record['validation_loss'],
        'active': record['active'],
        'diverged': record['diverged'],
      }
    )
    for run in map(int, np.flatnonzero(record['diverged'] & ~self._diverged)):
      _log.warning(
        'run %d (%s) diverged in epoch %d and is left out; the others go on',
        run,
        ', '.join(
          f'{key}={self._described[run][key]}'
          for key in ('seed', 'fold', 'learning_rate', 'l2', 'link_l2')
          if self._described[run].get(key) not in (None, -1)
        ),
        record['epoch'],
      )
    self._diverged = np.asarray(record['diverged'])
    self._tell(record)

  def _tell(self, record: Mapping[str, Any]) -> None:
    active = int(np.sum(record['active']))
    text = (
      f'epoch {record["epoch"]}/{record["epochs"]}, {active} of '
      f'{len(self._described)} runs training'
    )
    if self._bar is not None:
      self._bar.update(
        self._task,
        description=text,
        completed=record['epoch'],
        total=record['epochs'],
      )
    elif time.monotonic() - self._said > _LINE_SECONDS:
      self._said = time.monotonic()
      _log.info('%s, at most %.0f s left', text, record['remaining_seconds'])
