"""What a finished run says of the test rows as lists of labels."""

import csv
import io
import pathlib
from typing import Literal

import numpy as np

from experiments.flags import Option
from mlc.run_directory import RunDirectory, RunDirectoryError, write_atomic

COLUMNS = ('seed', 'fold', 'row', 'rank', 'label', 'score', 'truth')
RANKING = 'ranking.csv'
OUTPUT = Option(
  'output',
  Literal['numbers', 'ranking'],
  'numbers',
  'ranking also writes the labels of every test row by falling score.',
)
TOP = Option(
  'top', int, 10, 'length of the lists of --output=ranking; 0 for all labels.'
)


def write_ranked_lists(directory: RunDirectory, top: int) -> pathlib.Path:
  """Writes `ranking.csv`: the labels of highest score of every test row.

  One line a label: seed, fold (-1 without folds), row in the data set (from 0),
  rank (from 1), label, score (its marginal), truth (1, 0, or nothing where it
  is unknown). Of labels of equal score the first in the data set goes first.

  Args:
    directory: of a run that is done.
    top: how many labels a row; 0 for all.

  Returns:
    The path of the file.

  Raises:
    ValueError: top is below 0.
    RunDirectoryError: every run diverged, so that nothing was predicted.
  """
  if top < 0:
    raise ValueError(f'top is {top}; give a number of labels, or 0 for all.')
  found = directory.read_predictions()
  if 'marginals' not in found:
    raise RunDirectoryError(
      f'every run of {directory.path} diverged: there is nothing to rank. '
      'Train again with a lower learning rate.'
    )
  scores = found['marginals']
  order = np.argsort(-scores, axis=-1, kind='stable')
  order = order[..., : top or scores.shape[-1]]
  truth = found['y'].astype(int).astype('U1')
  if 'where' in found:
    truth = np.where(found['where'], truth, '')
  # Rows of -1 fill up seeds and folds that have fewer.
  kept = np.broadcast_to(found['row'][..., None] >= 0, order.shape)
  run, row, place = np.nonzero(kept)
  label = order[kept]
  columns = (
    found['seed'][run],
    found['fold'][run],
    found['row'][run, row],
    place + 1,
    found['label_names'][label],
    scores[run, row, label].astype('U'),
    truth[run, row, label],
  )
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(COLUMNS)
  writer.writerows(zip(*(c.tolist() for c in columns), strict=True))
  path = directory.path / RANKING
  write_atomic(path, text.getvalue().encode())
  return path
