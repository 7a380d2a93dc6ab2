r"""Follows errors from label to label in a finished run.

    python -m experiments.explain --run=runs/single/scene-classifier_chain-...

For a chain: accuracy at each position, teacher-forced and on its own; what
every other decision does when one is forced; greedy and beams against the mode;
for an ensemble of chains how far their orders agree. For every head that tells
conditionals: how one label moves the probability of another. Parameters and
splits come from the run directory, and the test rows are looked at. Numbers go
to `<run>/explain/`: propagation.json, positions.csv, labels.csv, searches.csv,
and a figure as SVG and PDF. On scene it takes 10 s.
"""

import contextlib
import hashlib
import json
import sys
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from absl import flags

from experiments import edge
from experiments import flags as experiment_flags
from experiments.config import experiment_from
from experiments.deciding import padded
from experiments.evaluate import refuse_other_data, refuse_unfinished
from experiments.experiment import build_model, count_label_sets, plan
from experiments.explanation import Explained, as_json, figure_of, show, tables
from experiments.flags import Option
from experiments.resampling import on_device
from experiments.selected_model import read_model, stacked_shapes
from mlc.base import Batch, Head, Params
from mlc.data import sources
from mlc.explain import propagation, search
from mlc.explain.propagation import of_members
from mlc.explain.rows import Count, over_rows
from mlc.numerics import jit_once, take_rows
from mlc.report.figures import saved
from mlc.run_directory import (
  RunDirectory,
  RunDirectoryError,
  naming_path,
  write_atomic,
)

FLAGS = flags.FLAGS
QUESTIONS = ('positions', 'flips', 'orders', 'searches', 'direct', 'total')
# Past these a matrix takes minutes, and nobody reads it.
MAX_FLIPS, MAX_INFLUENCE, MAX_BEAM = 256, 64, 256


def explain(
  directory: RunDirectory,
  *,
  data_dir: str = '',
  rows: int = 2000,
  about: Sequence[str] = QUESTIONS,
) -> Explained:
  """Asks the selected parameters of a finished run about its test rows.

  Args:
    directory: of a run that is done.
    data_dir: where data sets are looked for by name.
    rows: the first so many test rows of each seed and fold are looked at.
    about: some of QUESTIONS.

  Raises:
    RunDirectoryError: the run is not done, diverged, or had other data.
  """
  if not directory.is_done:
    refuse_unfinished(directory)
  config = directory.read_config()
  trained = experiment_from(config)
  with edge.refusing():
    if rows < 1:
      raise ValueError(f'rows is {rows}; give at least 1.')
    dataset = sources.load(trained.data.dataset, data_dir=data_dir)
    refuse_other_data(directory, config, dataset)
    trial = plan(trained, dataset)
    model = build_model(trained, dataset, count_label_sets(trial))
  done = directory.read_results()['runs']
  selected = [index for index, run in enumerate(done) if run['selected']]
  if not selected:
    raise RunDirectoryError(
      f'every run of {directory.path} diverged: there is nothing to explain.'
    )
  data = on_device(trial.training)
  params = read_model(
    directory, config, stacked_shapes(model, data, trial, selected)
  )
  parts = [trial.splits[done[run]['split']].test[:rows] for run in selected]
  if not len(parts[0]):
    raise RunDirectoryError(f'{directory.path} has no test rows to look at.')
  notes: list[str] = []

  @jit_once
  def asked(data, params, index, weight):
    def one(run):
      params, index, weight = run
      batch = take_rows(data, index)._replace(weight=weight)
      h = model.encoder.apply(params['encoder'], batch.x)
      return ask(model.head, params['head'], h, batch, notes, about)

    return jax.lax.map(one, (params, index, weight))

  index, weight = padded(parts, max(map(len, parts)))
  found = jax.device_get(asked(data, params, index, weight))
  ranks = propagation.rank_of(params['head'])
  rank = None
  if ranks is not None:
    rank = np.asarray(ranks).reshape(len(selected), -1, dataset.num_labels)
  return Explained(
    units=[
      {key: done[run][key] for key in ('seed', 'fold')} for run in selected
    ],
    names=dataset.label_names,
    rank=rank,
    found=found,
    exactness=dict(model.head.exactness),
    notes=list(dict.fromkeys(notes)),
  )


def ask(
  head: Head,
  params: Params,
  h: jax.Array,
  batch: Batch,
  notes: list[str],
  about: Sequence[str] = QUESTIONS,
) -> dict[str, Any]:
  """All that can be asked of a head: name -> NamedTuples of arrays.

  `positions` and `flips` have a leading axis of members, 1 for a single chain.
  """
  counts = {
    name: count
    for name, count in {
      **_along_the_order(head, params, notes),
      **_of_any_head(head, params, notes),
    }.items()
    if name in about
  }
  return over_rows(counts, h, batch.y, where=batch.where, weight=batch.weight)


def _along_the_order(
  head: Head, params: Params, notes: list[str]
) -> dict[str, Count]:
  """What is asked of chains; of independent labels only how right they are."""
  chain, members = head.member or head, params
  if head.member is None:
    members = jax.tree.map(lambda leaf: leaf[None], params)
  counts: dict[str, Count] = {}
  decides = chain.logits is not None and chain.greedy is not None
  ordered = decides and propagation.rank_of(params) is not None
  if ordered or (decides and head.independent):
    counts['positions'] = of_members(propagation.positions, chain, members)
  if not ordered:
    notes.append(f'head {head.name} has no label order to follow.')
  elif head.num_labels > MAX_FLIPS:
    notes.append(
      f'no flips: {head.num_labels} labels are more than {MAX_FLIPS}.'
    )
  else:
    counts['flips'] = of_members(propagation.flips, chain, members)
  if ordered and head.member is not None:
    counts['orders'] = propagation.orders(chain, params)
  return counts


def _of_any_head(
  head: Head, params: Params, notes: list[str]
) -> dict[str, Count]:
  """What a search finds, and how labels move the probabilities of others."""
  labels, counts = head.num_labels, {}
  if head.greedy and head.mode and head.log_prob:
    widths = (2, 5, 10) if labels <= MAX_BEAM else ()
    counts['searches'] = search.searches(head, params, widths=widths)
  for name, capability in (('direct', 'conditional'), ('total', 'partial')):
    if getattr(head, capability) is None:
      notes.append(f'no {name} influence: {head.name} has no `{capability}`.')
    elif labels > MAX_INFLUENCE:
      notes.append(
        f'no {name} influence: {labels} labels are more than {MAX_INFLUENCE}.'
      )
    else:
      counts[name] = propagation.influence(
        head, params, given_others=name == 'direct'
      )
  return counts


def remembered(
  directory: RunDirectory, about: Sequence[str], *, rows: int = 2000
) -> dict[str, Any]:
  """What `explain` finds, as JSON, computed once and kept beside the run.

  The data set is looked for where the run found it.

  Args:
    directory: of a run that is done.
    about: some of QUESTIONS.
    rows: test rows of each seed and fold.

  Returns:
    The fields of an `Explained`, NaN as None.

  Raises:
    RunDirectoryError: as `explain`.
  """
  if not directory.is_done:
    refuse_unfinished(directory)
  path = directory.path / 'explain' / 'asked.json'
  # A run that was trained again says so in its results.
  results = hashlib.sha256(directory.results_path.read_bytes()).hexdigest()
  asked = {'about': list(about), 'rows': rows, 'results': results}
  if path.exists():
    with contextlib.suppress(ValueError, KeyError, TypeError):
      kept = json.loads(path.read_text())
      if kept['asked'] == asked:
        return kept['told']
  found_in = experiment_flags.first_stage(
    ['', f'--flagfile={directory.flags_path}'], ('data_dir',)
  )
  told = as_json(
    explain(
      directory, data_dir=found_in.get('data_dir', ''), rows=rows, about=about
    )
  )
  with naming_path(path):
    path.parent.mkdir(exist_ok=True)
  content = json.dumps({'asked': asked, 'told': told}, indent=1) + '\n'
  write_atomic(path, content.encode())
  return told


def write(directory: RunDirectory, told: Explained) -> list[str]:
  """Writes `<run>/explain/`; returns the paths."""
  folder = directory.path / 'explain'
  with naming_path(folder):
    folder.mkdir(exist_ok=True)
  content = {
    'propagation.json': (json.dumps(as_json(told), indent=1) + '\n').encode(),
    **{name: text.encode() for name, text in tables(told).items()},
  }
  figure = figure_of(told)
  if figure is not None:
    for ending, drawn in saved(figure).items():
      content[f'propagation.{ending}'] = drawn
  for name, written in content.items():
    write_atomic(folder / name, written)
  return [str(folder / name) for name in content]


def main(argv: Sequence[str]) -> int:
  edge.no_arguments(argv)
  if not FLAGS.run:
    raise edge.Refusal(
      'name a finished run, such as --run=runs/single/scene-...'
    )
  directory = RunDirectory(FLAGS.run)
  told = explain(directory, data_dir=FLAGS.data_dir, rows=FLAGS.rows)
  paths = write(directory, told)
  show(str(directory.path), told)
  for path in paths:
    print(f'Written to {path}')
  return 0


def parse(argv: Sequence[str]) -> list[str]:
  for option in (
    Option('run', str, '', 'directory of a finished run.'),
    Option('rows', int, 2000, 'test rows to look at, of each seed and fold.'),
  ):
    experiment_flags.define(option, FLAGS)
  experiment_flags.define_places(FLAGS)
  return FLAGS(list(argv))


if __name__ == '__main__':
  sys.exit(edge.start(main, parse))
