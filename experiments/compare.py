r"""Compares finished runs, wherever they come from, in tables and a page.

    python -m experiments.compare --runs=runs/a/yeast-...,runs/b/yeast-... \
      --out=comparison

Nothing is trained. The page is `<out>/report.html`.
"""

import pathlib
import shlex
import sys
from collections.abc import Sequence

from absl import flags

from experiments import edge
from experiments import flags as experiment_flags
from experiments.config import Experiment
from experiments.flags import Option
from experiments.reporting import report
from experiments.studies.study import Study
from mlc import metrics
from mlc.base import lookup
from mlc.evaluation import PROBABILISTIC, UNCALIBRATED
from mlc.metrics.decomposition import Components
from mlc.metrics.regret import criteria
from mlc.report.vocabulary import DEFAULT_METRICS
from mlc.run_directory import RunDirectory, RunDirectoryError, naming_path

FLAGS = flags.FLAGS
KNOWN_METRICS = {
  **metrics.multilabel(),
  **metrics.multiclass(),
  **{f'{UNCALIBRATED}{name}': None for name in PROBABILISTIC},
  **{
    f'regret_{name}{part}': criterion
    for name, criterion in criteria().items()
    for part in ('', *(f'_{field}' for field in Components._fields))
  },
}

OPTIONS = (
  Option('runs', tuple[str, ...], (), 'run directories, or folders of them.'),
  Option('out', str, 'comparison', 'where the tables and the page go.'),
  Option('metrics', tuple[str, ...], DEFAULT_METRICS, 'columns of the tables.'),
)


def main(argv: Sequence[str]) -> int:
  edge.no_arguments(argv)
  paths = [path for name in FLAGS.runs for path in run_directories(name)]
  if not paths:
    raise edge.Refusal('name the runs to compare: --runs=DIR,DIR.')
  with edge.refusing():
    for name in FLAGS.metrics:
      lookup(name, KNOWN_METRICS, 'metric')
  study = Study(
    question='How do these runs compare?',
    datasets=(),
    methods=(),
    conditions=lambda dataset, method: Experiment(method=method),
    metrics=FLAGS.metrics,
  )
  out = pathlib.Path(FLAGS.out)
  with naming_path(out):
    out.mkdir(parents=True, exist_ok=True)
  command = shlex.join(['python', '-m', 'experiments.compare', *sys.argv[1:]])
  report(study, out, {str(path.resolve()): {} for path in paths}, {}, command)
  return 0


def run_directories(name: str) -> list[pathlib.Path]:
  """The run directory of a name, or every one in the folder of that name."""
  path = pathlib.Path(name)
  if not path.is_dir():
    raise RunDirectoryError(f'{name} is no directory.')
  if RunDirectory(path).config_path.exists():
    return [path]
  found = sorted(p.parent for p in path.glob('*/config.json'))
  if not found:
    raise RunDirectoryError(
      f'{name} is no run directory (it has no config.json) and holds none.'
    )
  return found


def parse(argv: Sequence[str]) -> list[str]:
  for option in OPTIONS:
    experiment_flags.define(option, FLAGS)
  return FLAGS(list(argv))


if __name__ == '__main__':
  sys.exit(edge.start(main, parse))
