r"""Decodes a finished run again, with other decoders, without training.

    python -m experiments.evaluate --run=runs/dependence/yeast-... \
      --decoders=top_k --decoder.k=3
    python -m experiments.evaluate --run=runs/dependence/yeast-... \
      --calibration=temperature
    python -m experiments.evaluate --run=runs/dependence/yeast-... \
      --decoders=hamming,subset --rules=mined --constraints=repair,decode
    python -m experiments.evaluate --run=... --metric_convention=mulan
    python -m experiments.evaluate --run=... --output=ranking --top=5

The parameters that training selected are read from the run directory;
calibration and decoders are fitted on its validation rows, the same for both.
Under another calibration than the run's the same decoders stand beside each
other, as the run is calibrated and as it is asked here. Numbers go to
`<run>/evaluations/NAME.json`, what rules did to the folder
`<run>/evaluations/NAME/constraints/`; results.json is left as it is, and so is
what a study reports. Takes seconds. Ranked lists of the test rows go to
`<run>/ranking.csv`, see experiments/ranked_lists.py; alone they need neither
data nor model.
"""

import dataclasses
import json
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from experiments import constraints, edge
from experiments import flags as experiment_flags
from experiments.config import Experiment, RuleOptions, experiment_from
from experiments.experiment import (
  build_model,
  count_label_sets,
  plan,
  rehearse,
)
from experiments.flags import DECODER, Option
from experiments.ranked_lists import OUTPUT, TOP, write_ranked_lists
from experiments.resampling import on_device
from experiments.selected_model import read_model, stacked_shapes
from mlc.data import sources
from mlc.data.dataset import Dataset
from mlc.evaluation import UNCALIBRATED
from mlc.methods import CALIBRATORS, DECODERS
from mlc.run_directory import (
  RunDirectory,
  RunDirectoryError,
  naming_path,
  write_atomic,
)

FLAGS = flags.FLAGS
_log = logging.getLogger(__name__)


def evaluate(
  directory: RunDirectory,
  decoders: Sequence[str],
  options: Mapping[str, Any],
  *,
  calibration: str = '',
  data_dir: str = '',
  rules: Mapping[str, Any] | None = None,
  convention: str = '',
) -> list[dict[str, Any]]:
  """Rows as in results.json, by other decoders on a finished run: `judged`."""
  found, _ = judged(
    directory,
    decoders,
    options,
    calibration=calibration,
    data_dir=data_dir,
    rules=rules,
    convention=convention,
  )
  return found.rows


def judged(
  directory: RunDirectory,
  decoders: Sequence[str],
  options: Mapping[str, Any],
  *,
  calibration: str = '',
  data_dir: str = '',
  rules: Mapping[str, Any] | None = None,
  convention: str = '',
) -> tuple[constraints.Outcome, dict[str, str]]:
  """Decodes a finished run with other decoders.

  Args:
    directory: of a run that is done.
    decoders: names; none for those of the run.
    options: of the decoders, such as {'decoder.k': 3}.
    calibration: name; empty for that of the run.
    data_dir: where data sets are looked for by name.
    rules: fields of RuleOptions that differ from those of the run.
    convention: of the metrics; empty for that of the run.

  Returns:
    What was found, and the rules as files, name -> text; none without rules.

  Raises:
    RunDirectoryError: the run is not done, or the data set is not the one that
      it was trained on.
  """
  if not directory.is_done:
    refuse_unfinished(directory)
  config = directory.read_config()
  trained = experiment_from(config)
  with edge.refusing():
    dataset = sources.load(trained.data.dataset, data_dir=data_dir)
    refuse_other_data(directory, config, dataset)
    experiment = trained
    if decoders:
      experiment = experiment_flags.with_decoders(trained, decoders, options)
    if calibration:
      experiment = dataclasses.replace(experiment, calibration=calibration)
    if convention:
      changes: dict[str, Any] = {'metric_convention': convention}
      experiment = dataclasses.replace(experiment, **changes)
    ruled = _rules(directory, trained.constrain, rules or {})
    rehearse(build_model(experiment, dataset, num_label_sets=1), dataset)
    trial = plan(trained, dataset)
    model = build_model(experiment, dataset, count_label_sets(trial))
    if not len(trial.splits[0].validation):
      rehearse(model, dataset, validation_rows=0)
    model, constrained = constraints.prepare(ruled, model, dataset, trial)
  data = on_device(trial.training)
  selected = [
    index
    for index, run in enumerate(directory.read_results()['runs'])
    if run['selected']
  ]
  if not selected:
    raise RunDirectoryError(
      f'every run of {directory.path} diverged: there is nothing to decode. '
      'Train again with a lower learning rate.'
    )
  params = read_model(
    directory, config, stacked_shapes(model, data, trial, selected)
  )
  found = constraints.judge(
    model,
    dataset,
    data,
    trial,
    selected,
    params,
    constrained,
    regrets=experiment.regrets,
    convention=experiment.metric_convention,
  )
  for note in found.notes:
    _log.info('note: %s', note)
  return found, constrained.text(trial.splits) if constrained else {}


def _rules(
  directory: RunDirectory, trained: RuleOptions, changes: Mapping[str, Any]
) -> RuleOptions:
  """The rules of the run with some options changed.

  A file of rules may have gone since: the run has kept what it said.
  """
  kept = directory.path / constraints.FOLDER / constraints.RULES
  if trained.path is not None and kept.exists():
    trained = dataclasses.replace(trained, rules=str(kept))
  return dataclasses.replace(trained, **changes)


def refuse_unfinished(directory: RunDirectory) -> None:
  """Says how far a run is and how to finish it."""
  if not directory.config_path.exists():
    raise RunDirectoryError(
      f'{directory.path} is no run directory: it has no config.json. Runs are '
      'in <workdir>/<study>/.'
    )
  state = directory.status()
  raise RunDirectoryError(
    f'{directory.path} is not done ({state.state}: {state.reason}). Finish '
    f'it first: python -m experiments.train --flagfile={directory.flags_path}'
  )


def refuse_other_data(
  directory: RunDirectory, config: Mapping[str, Any], dataset: Dataset
) -> None:
  """Refuses data that are not those on which a run was trained."""
  if dataset.content_hash != config['content_hash']:
    raise RunDirectoryError(
      f'data set {dataset.name} is not the one that {directory.path} was '
      f'trained on: its content hash is {dataset.content_hash[:12]}, the run '
      f'has {config["content_hash"][:12]}. Give the --data_dir of that time, '
      'or train on these data in another --workdir.'
    )


def main(argv: Sequence[str]) -> int:
  edge.no_arguments(argv)
  ranking = FLAGS.output == 'ranking'
  asked = FLAGS.decoders or FLAGS.calibration or FLAGS.rules
  numbers = asked or FLAGS.constraints or FLAGS.metric_convention
  if not FLAGS.run or not (numbers or ranking):
    raise edge.Refusal(
      'name a finished run and what to decode or calibrate it with, such as '
      '--run=runs/dependence/yeast-... --decoders=subset,f_beta, '
      '--calibration=temperature or --rules=mined --constraints=repair; or ask '
      'for --metric_convention=sklearn, or for --output=ranking.'
    )
  directory = RunDirectory(FLAGS.run)
  if not directory.is_done:
    refuse_unfinished(directory)
  if ranking:
    with edge.refusing():
      path = write_ranked_lists(directory, FLAGS.top)
    print(f'Written to {path}')
  return show_numbers(directory) if numbers else 0


def show_numbers(directory: RunDirectory) -> int:
  """Evaluates as the flags say, writes the rows and prints them."""
  convention = FLAGS.metric_convention or ''
  options = {
    name: FLAGS[name].value
    for name in FLAGS
    if name.startswith(DECODER) and FLAGS[name].value is not None
  }
  if options and not FLAGS.decoders:
    raise edge.Refusal(
      f'{", ".join(f"--{name}" for name in options)} without --decoders: the '
      'decoders of the run keep their own options. Name those that are meant.'
    )
  rules = {
    option.name: FLAGS[option.name].value
    for option in experiment_flags.options_of(RuleOptions)
    if FLAGS[option.name].value is not None
  }
  found, text = judged(
    directory,
    FLAGS.decoders,
    options,
    calibration=FLAGS.calibration,
    data_dir=FLAGS.data_dir,
    rules=rules,
    convention=convention,
  )
  said = [f'{name.removeprefix(DECODER)}={v}' for name, v in options.items()]
  shown = found.rows
  if FLAGS.calibration:
    said.append(f'calibration={FLAGS.calibration}')
    shown = beside(directory, found.rows, options, rules)
  said += [f'{name}={_plain(value)}' for name, value in rules.items()]
  name = '-'.join([*FLAGS.decoders, *said, *filter(None, [convention])])
  path = directory.path / 'evaluations' / f'{name}.json'
  with naming_path(path):
    path.parent.mkdir(exist_ok=True)
  write_atomic(path, (json.dumps(found.rows, indent=1) + '\n').encode())
  if text:
    constraints.write(path.with_suffix(''), found.files | text)
  edge.show_rows(str(directory.path), shown)
  print(f'Written to {path}')
  return 0


def beside(
  directory: RunDirectory,
  rows: Sequence[Mapping[str, Any]],
  options: Mapping[str, Any],
  rules: Mapping[str, Any],
) -> list[dict[str, Any]]:
  """The rows after those of the same decoders as the run is calibrated.

  Read from results.json where the run has them, else decided again.
  """
  own = experiment_from(directory.read_config()).calibration
  if own == FLAGS.calibration:
    return [dict(row) for row in rows]
  before = directory.read_results()['rows']
  convention = FLAGS.metric_convention or ''
  there = {row['decoder'] for row in before}
  if convention or not {row['decoder'] for row in rows} <= there:
    before = evaluate(
      directory,
      FLAGS.decoders,
      options,
      data_dir=FLAGS.data_dir,
      rules=rules,
      convention=convention,
    )
  shown = {row['decoder'] for row in rows}
  return [
    {**row, 'decoder': f'{row["decoder"]} {calibration}'}
    for calibration, some in ((own, before), (FLAGS.calibration, rows))
    for row in some
    if row['decoder'] in shown and not row['metric'].startswith(UNCALIBRATED)
  ]


def _plain(value: Any) -> str:
  """A value of a flag as a part of a file name."""
  said = '+'.join(value) if isinstance(value, tuple) else str(value)
  return re.sub(r'[^\w.+-]+', '_', said)[-40:]


def parse(argv: Sequence[str]) -> list[str]:
  chosen = experiment_flags.first_stage(argv, ('decoders',))
  names = experiment_flags.names(chosen.get('decoders', '')) or DECODERS
  known = ', '.join(DECODERS)
  for option in (
    Option('run', str, '', 'directory of a finished run.'),
    Option('decoders', tuple[str, ...], (), f'how to decide. Known: {known}.'),
    Option(
      'calibration',
      str,
      '',
      "how probabilities are mended first; empty for the run's own. Known: "
      f'{", ".join(CALIBRATORS)}.',
    ),
    OUTPUT,
    TOP,
  ):
    experiment_flags.define(option, FLAGS)
  experiment_flags.define_places(FLAGS)
  options = {o.name: o for o in experiment_flags.options_of(Experiment)}
  for option in experiment_flags.merged(
    (
      options['metric_convention'],
      *experiment_flags.decoder_options(names),
      *experiment_flags.options_of(RuleOptions),
    )
  ):
    experiment_flags.define(option, FLAGS, optional=True)
  return FLAGS(list(argv))


if __name__ == '__main__':
  sys.exit(edge.start(main, parse))
