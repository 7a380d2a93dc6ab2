"""How fast mlc is beside what one would write without it, in one run.

    pip install -e '.[benchmark]'
    python -m experiments.benchmark

A suite puts a question and times its contestants in turn (A B A B), so that
all meet the same machine. The first is mlc; a ratio says how many times its
seconds another takes, round by round. Compiling is timed apart. What each
contestant reached stands beside: a ratio compares equal work only where these
agree. The data are drawn, as large as yeast: 2,417 rows, 103 features, 14
labels.

On a busy machine the numbers mean little, and threads that wait for each other
suffer most: the load before the start is printed with them.
"""

import dataclasses
import importlib.metadata
import json
import logging
import os
import pathlib
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import rich.box
from absl import flags
from rich.console import Console
from rich.table import Table

from experiments import edge
from experiments import flags as experiment_flags
from experiments.contestants import decisions, training
from experiments.contestants.task import Outcome, Sizes, Task, Work, draw
from experiments.flags import Option
from mlc.base import lookup
from mlc.run_directory import environment

_log = logging.getLogger(__name__)

FLAGS = flags.FLAGS

# What may be missing: modules, and the packages of the extra `benchmark`.
_EXTRA = {'torch': 'torch', 'sklearn': 'scikit-learn'}
_INSTALL = "pip install -e '.[benchmark]'"
_CORES = os.cpu_count() or 1


class Contestant(NamedTuple):
  """One way to do the work of a suite.

  Attributes:
    name: in the table.
    prepare: (task) -> work; see `contestants`.
  """

  name: str
  prepare: Callable[[Task], Work]


class Suite(NamedTuple):
  """A question, and who answers it.

  Attributes:
    question: what is done; fields of `Sizes` may stand in braces.
    contestants: whoever stands first is the 1 of the ratios.
  """

  question: str
  contestants: Sequence[Contestant]


def _threads(count: int) -> str:
  return f'{count} thread{"s" if count > 1 else ""}'


SUITES: Mapping[str, Suite] = {
  'training': Suite(
    '{seeds} seeds of an MLP of width {width}, {epochs} epochs of AdamW, '
    'batches of {batch_size}',
    [
      Contestant('mlc, one program', training.mlc_training),
      *(
        Contestant(f'PyTorch {name}, {_threads(n)}', partial(way, threads=n))
        for name, way in (
          ('loop', training.torch_loop),
          ('batched', training.torch_batched),
        )
        for n in sorted({1, _CORES})
      ),
    ],
  ),
  'convex': Suite(
    '{seeds} seeds of a linear chain at its optimum (L2, C = 1)',
    [
      Contestant('mlc L-BFGS, one program', training.mlc_convex),
      Contestant('scikit-learn chain', training.sklearn_convex),
    ],
  ),
  'greedy': Suite(
    'greedy decisions of a chain, {rows} rows, {labels} labels',
    [
      Contestant('mlc', decisions.mlc_greedy),
      Contestant('scikit-learn predict', decisions.sklearn_greedy),
    ],
  ),
  'exact': Suite(
    'joint modes of a chain, {rows} rows, 2^{labels} label vectors',
    [
      Contestant('mlc, prefix tree', decisions.mlc_exact),
      Contestant('every vector alone', decisions.exact_vectors),
    ],
  ),
  'many_labels': Suite(
    'greedy decisions of a chain, {rows} rows, {many_labels} labels',
    [
      Contestant('mlc, blocks of labels', decisions.mlc_many_labels),
      Contestant('label by label', decisions.label_by_label),
    ],
  ),
}

OPTIONS = (
  Option(
    'suite',
    tuple[str, ...],
    tuple(SUITES),
    f'what is measured: some of {", ".join(SUITES)}.',
  ),
  Option('repeats', int, 5, 'rounds in which every contestant works once.'),
  Option(
    'host_devices',
    int,
    1,
    'devices that JAX makes of the CPU; the runs of a program are dealt out.',
  ),
  Option('out', str, '', 'JSON file for all that was measured.'),
)


def measure(suite: Suite, task: Task, repeats: int) -> list[dict[str, Any]]:
  """Times the contestants of a suite in turn, `repeats` times.

  Returns:
    For each contestant its name and what `summary` says, or why it is
    `left_out`, as JSON.
  """
  ready: dict[str, Work] = {}
  left_out: dict[str, str] = {}
  for name, prepare in suite.contestants:
    try:
      ready[name] = prepare(task)
    except ModuleNotFoundError as error:
      if error.name not in _EXTRA:
        raise
      left_out[name] = f'{_EXTRA[error.name]} is not installed ({_INSTALL})'
  rounds: dict[str, list[Outcome]] = {name: [] for name in ready}
  for repeat in range(repeats):
    for name, work in ready.items():
      _log.info('round %d of %d: %s', repeat + 1, repeats, name)
      rounds[name].append(work())
  first = rounds[suite.contestants[0].name]
  return [
    {'name': name, 'left_out': left_out[name]}
    if name in left_out
    else {'name': name, **summary(rounds[name], first)}
    for name, _ in suite.contestants
  ]


def summary(
  outcomes: Sequence[Outcome], first: Sequence[Outcome]
) -> dict[str, Any]:
  """Medians of a contestant over its rounds, beside those of the first.

  `ratio` is the median of its seconds over those of the first in the same
  round; for `ratio_with_compile` both had to compile, without any cache.
  """
  pairs = list(zip(outcomes, first, strict=True))
  cold, cold_first = outcomes[0].compile_seconds, first[0].compile_seconds
  return {
    'seconds': statistics.median(o.seconds for o in outcomes),
    'ratio': statistics.median(o.seconds / f.seconds for o, f in pairs),
    'ratio_with_compile': statistics.median(
      (o.seconds + cold) / (f.seconds + cold_first) for o, f in pairs
    ),
    'reached': outcomes[-1].reached,
    'recompiled': max(o.recompiled for o in outcomes),
    'rounds': [o._asdict() for o in outcomes],
  }


def show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
  """Prints a suite; below a median stand the fastest and the slowest round."""
  there = [row for row in rows if 'left_out' not in row]
  unit, scale = ('ms', 1e3) if there[0]['seconds'] < 0.1 else ('s', 1.0)
  table = Table(title=title, title_justify='left', box=rich.box.SIMPLE_HEAD)
  table.add_column('')
  reached = list(there[0]['reached'])
  for column in (unit, 'ratio', 'compile, s', 'ratio with it', *reached):
    table.add_column(column, justify='right')
  for row in there:
    seconds = [scale * outcome['seconds'] for outcome in row['rounds']]
    cold, *again = [outcome['compile_seconds'] for outcome in row['rounds']]
    cached = (
      f'\n[dim]cached {again[-1]:.2f}' if again and cold > again[-1] else ''
    )
    table.add_row(
      row['name'],
      f'{scale * row["seconds"]:.3g}\n'
      f'[dim]{min(seconds):.3g} - {max(seconds):.3g}',
      f'{row["ratio"]:.2f}',
      f'{cold:.2f}{cached}' if cold else '-',
      f'{row["ratio_with_compile"]:.2f}',
      *(f'{row["reached"][name]:.4f}' for name in reached),
    )
  Console(highlight=False).print(table)
  for row in rows:
    if 'left_out' in row:
      print(f'  Left out: {row["name"]}; {row["left_out"]}')


def run(
  names: Sequence[str], sizes: Sizes, repeats: int
) -> dict[str, list[dict[str, Any]]]:
  """Measures and prints suites; returns them as JSON, by name."""
  suites = {name: lookup(name, SUITES, 'suite') for name in names}
  task = draw(sizes)
  results = {}
  for name, suite in suites.items():
    results[name] = measure(suite, task, repeats)
    question = suite.question.format_map(dataclasses.asdict(sizes))
    show(f'{name}: {question}', results[name])
  return results


def machine() -> dict[str, Any]:
  """What the numbers hold for: cores, versions, and how busy it was."""
  found = environment()
  for package in _EXTRA.values():
    try:
      found['versions'][package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      found['versions'][package] = 'absent'
  return {**found, 'load_before': os.getloadavg()[0]}


def main(argv: Sequence[str]) -> int:
  edge.no_arguments(argv)
  options = experiment_flags.options_of(Sizes)
  sizes = Sizes(**{o.name: FLAGS[o.name].value for o in options})
  for name in ('repeats', 'host_devices'):
    if FLAGS[name].value < 1:
      raise ValueError(f'--{name} is {FLAGS[name].value}; give at least 1.')
  if FLAGS.host_devices > 1:
    jax.config.update('jax_num_cpu_devices', FLAGS.host_devices)
  before = machine()
  versions = ', '.join(f'{k} {v}' for k, v in before['versions'].items())
  print(
    f'{before["cpu_count"]} cores ({before["machine"]}, {before["system"]}), '
    f'load before {before["load_before"]:.2f}; JAX sees '
    f'{before["device_count"]} {before["platform"]} device(s); '
    f'Python {before["python"]}, {versions}'
  )
  # A cache of its own, so that the first round compiles all.
  with tempfile.TemporaryDirectory() as cache:
    jax.config.update('jax_compilation_cache_dir', cache)
    results = run(FLAGS.suite, sizes, FLAGS.repeats)
  if FLAGS.out:
    everything = {
      'machine': before,
      'sizes': dataclasses.asdict(sizes),
      'suites': results,
    }
    pathlib.Path(FLAGS.out).write_text(json.dumps(everything, indent=2) + '\n')
  again = [
    row['name']
    for rows in results.values()
    for row in rows
    if row.get('recompiled')
  ]
  if again:
    print(f'Compiled after the first epoch: {", ".join(again)}.')
    return 1
  print('Nothing was compiled after the first epoch.')
  return 0


def parse(argv: Sequence[str]) -> list[str]:
  for option in (*OPTIONS, *experiment_flags.options_of(Sizes)):
    experiment_flags.define(option, FLAGS)
  experiment_flags.define_places(FLAGS)
  return FLAGS(list(argv))


if __name__ == '__main__':
  sys.exit(edge.start(main, parse))
