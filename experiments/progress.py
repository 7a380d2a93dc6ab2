"""Progress of one run: a bar on a terminal, else lines with an estimate."""

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from mlc.run_directory import RunDirectory

_log = logging.getLogger(__name__)
# Between two lines; a twentieth of the time so far, where that is more.
_LINE_SECONDS = 5.0


class _Shown:
  """How far something is; to be entered."""

  def __init__(self, first: str):
    self._first = first
    self._said = -_LINE_SECONDS
    self._bar: Any = None

  def __enter__(self) -> Self:
    self._entered = time.monotonic()
    if sys.stderr.isatty():
      from rich import console, progress

      self._bar = progress.Progress(
        progress.TextColumn('{task.description}'),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        console=console.Console(stderr=True),
        transient=True,
      )
      self._bar.start()
      self._task = self._bar.add_task(self._first, total=None)
    else:
      _log.info('%s', self._first)
    return self

  def __exit__(self, *error: object) -> None:
    if self._bar is not None:
      self._bar.stop()

  def tell(self, text: str, done: int, total: int, left: str) -> None:
    """Shows it: `left` says how long it still takes, where there is no bar."""
    if self._bar is not None:
      self._bar.update(
        self._task, description=text, completed=done, total=total
      )
      return
    now = time.monotonic()
    if now - self._said > max(_LINE_SECONDS, (now - self._entered) / 20):
      self._said = now
      _log.info('%s, %s', text, left)


class Progress(_Shown):
  """Writes each epoch to metrics.jsonl and tells the user how far it is."""

  def __init__(
    self, directory: RunDirectory, described: Sequence[Mapping[str, Any]]
  ):
    super().__init__(f'compiling for {len(described)} runs')
    self._directory = directory
    self._described = described
    self._diverged = np.zeros(len(described), bool)

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
    epoch, epochs = record['epoch'], record['epochs']
    self.tell(
      f'epoch {epoch}/{epochs}, {int(np.sum(record["active"]))} of '
      f'{len(self._described)} runs training',
      epoch,
      epochs,
      f'at most {record["remaining_seconds"]:.0f} s left',
    )


class Judging(_Shown):
  """Tells the user how many rows are judged."""

  def __init__(self, runs: int, decoders: Sequence[str]):
    super().__init__(f'judging {runs} runs with {", ".join(decoders)}')
    self._stage = ''

  def on_rows(self, stage: str, done: int, total: int) -> None:
    """What `judgement.judge` calls after each block of rows."""
    now = time.monotonic()
    if stage != self._stage:
      # Until the first block it was compiled, which says nothing of the others.
      self._stage, self._began, self._first_done = stage, now, done
      self._said = now
    each = (now - self._began) / max(done - self._first_done, 1)
    self.tell(
      f'{stage} {done:,} of {total:,} rows',
      done,
      total,
      f'about {each * (total - done):.0f} s left',
    )
