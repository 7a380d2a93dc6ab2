"""Decodes a finished run again, with other decoders, without training.

    python -m experiments.evaluate --run=runs/dependence/yeast-... \
      --decoders=top_k --decoder.k=3

The parameters that training selected are read from the run directory; decoders
are fitted on its validation rows. Numbers go to `<run>/evaluations/NAME.json`;
results.json is left as it is, and so is what a study reports. Takes seconds.
"""

import json
import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from experiments import edge
from experiments import flags as experiment_flags
from experiments.config import experiment_from
from experiments.experiment import build_model, count_label_sets, plan
from experiments.flags import Option
from experiments.judgement import MODEL, judge, stacked_shapes
from mlc.data import sources
from mlc.data.arrays import to_device
from mlc.run_directory import (
  RunDirectory,
  RunDirectoryError,
  write_atomic,
)
from mlc.training.checkpoint import Checkpoints

FLAGS = flags.FLAGS


def evaluate(
  directory: RunDirectory,
  decoders: Sequence[str],
  options: dict[str, object],
  *,
  data_dir: str = '',
) -> list[dict[str, object]]:
  """Rows as in results.json, for other decoders on a finished run.

  Args:
    directory: of a run that is done.
    decoders: names.
    options: of the decoders, such as {'decoder.k': 3}.
    data_dir: where data sets are looked for by name.

  Raises:
    RunDirectoryError: the run is not done, or the data set is not the one that
      it was trained on.
  """
  if not directory.is_done:
    state = directory.status()
    raise RunDirectoryError(
      f'{directory.path} is not done ({state.state}: {state.reason}). Finish '
      f'it first: python -m experiments.train --flagfile='
      f'{directory.flags_path}'
    )
  config = directory.read_config()
  trained = experiment_from(config)
  dataset = sources.load(trained.data.dataset, data_dir=data_dir)
  if dataset.content_hash != config['content_hash']:
    raise RunDirectoryError(
      f'data set {dataset.name} is not the one that {directory.path} was '
      f'trained on: its content hash is {dataset.content_hash[:12]}, the run '
      f'has {config["content_hash"][:12]}. Give its --data_dir.'
    )
  trial = plan(trained, dataset)
  experiment = experiment_flags.with_decoders(trained, decoders, options)
  model = build_model(experiment, dataset, count_label_sets(dataset, trial))
  data = to_device(dataset)
  selected = [
    index
    for index, run in enumerate(directory.read_results()['runs'])
    if run['selected']
  ]
  found = Checkpoints(directory.checkpoints_path / MODEL, config).restore(
    stacked_shapes(model, data, trial, selected)
  )
  if found is None:
    raise RunDirectoryError(
      f'{directory.checkpoints_path / MODEL} holds no parameters; train the '
      'run again.'
    )
  rows, _ = judge(model, dataset, data, trial, selected, found[1])
  return rows


def main(argv: Sequence[str]) -> int:
  edge.no_arguments(argv)
  directory = RunDirectory(FLAGS.run)
  options = {
    name: FLAGS[name].value
    for name in FLAGS
    if name.startswith('decoder.') and FLAGS[name].value is not None
  }
  rows = evaluate(directory, FLAGS.decoders, options, data_dir=FLAGS.data_dir)
  said = [f'{name.removeprefix("decoder.")}={v}' for name, v in options.items()]
  path = directory.path / 'evaluations' / ('-'.join([*FLAGS.decoders, *said]))
  path = pathlib.Path(f'{path}.json')
  path.parent.mkdir(exist_ok=True)
  write_atomic(path, (json.dumps(rows, indent=1) + '\n').encode())
  edge.show_rows(str(directory.path), rows)
  print(f'Written to {path}')
  return 0


def parse(argv: Sequence[str]) -> list[str]:
  chosen = experiment_flags.first_stage(argv, ('decoders',))
  names = tuple(filter(None, chosen.get('decoders', '').split(',')))
  if not names:
    raise ValueError(
      'name what to decode with, such as --decoders=subset,f_beta.'
    )
  for option in (
    Option('run', str, None, 'directory of a finished run.'),
    Option('decoders', tuple[str, ...], (), 'how to decide.'),
  ):
    experiment_flags.define(option, FLAGS)
  experiment_flags.define_places(FLAGS)
  for option in experiment_flags.decoder_options(names):
    experiment_flags.define(option, FLAGS, optional=True)
  flags.mark_flag_as_required('run')
  return FLAGS(list(argv))


if __name__ == '__main__':
  sys.exit(edge.start(main, parse))
