"""Trains and judges one method on one data set.

    python -m experiments.train --method=classifier_chain --dataset=yeast

All seeds and the whole search train in one compiled program, dealt out to the
cores of the machine; the run directory is `<workdir>/<study>/<run_id>/`. The
same command continues a run that was cut off at any moment and does nothing for
one that is done. On yeast, five seeds of a linear chain take about 20 s on two
cores.

`--output=ranking --top=5` also writes the labels of every test row by falling
score to `ranking.csv` in the run directory, see experiments/ranked_lists.py.

`--method=classifier_chain --helpshort` lists the flags that apply to it.
"""

import logging
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from absl import flags

from experiments import constraints, edge
from experiments import flags as experiment_flags
from experiments.config import Experiment, config_of
from experiments.constraints import Constraints
from experiments.dependence import measured
from experiments.experiment import (
  Model,
  Trial,
  build_model,
  check_links,
  count_label_sets,
  plan,
  rehearse,
  select,
  standardizes,
)
from experiments.progress import Progress
from experiments.ranked_lists import OUTPUT, TOP, write_ranked_lists
from experiments.resampling import check_made, of_splits, on_device, summary
from experiments.selected_model import parameter_count, save_model
from mlc.base import Batch
from mlc.data import sources
from mlc.data.dataset import Dataset
from mlc.data.profile import profile
from mlc.numerics import jit_once, take_rows
from mlc.run_directory import (
  RunDirectory,
  refuse_change,
  refuse_held,
  run_id,
)
from mlc.training.checkpoint import Checkpoints
from mlc.training.loop import Fitted, fit

_log = logging.getLogger(__name__)

FLAGS = flags.FLAGS


class Prepared(NamedTuple):
  """Everything that was looked at before the first file is written."""

  config: Mapping[str, Any]
  dataset: Dataset
  data: Batch
  trial: Trial
  model: Model
  constraints: Constraints | None = None


def run(
  experiment: Experiment, *, workdir: str, data_dir: str = ''
) -> RunDirectory:
  """Runs an experiment to its end, from wherever it stands.

  Everything that can be refused is refused before anything is written or
  compiled.

  Args:
    experiment: what to do.
    workdir: where run directories live.
    data_dir: where data sets are looked for by name.

  Returns:
    The finished run directory.
  """
  began = time.perf_counter()
  with edge.refusing():
    directory = RunDirectory(
      pathlib.Path(workdir) / experiment.study / run_id(config_of(experiment))
    )
    if directory.is_done:
      _log.info('%s is done; nothing to do.', directory.path)
      return directory
    prepared = prepare(experiment, directory, data_dir)
  replay = [
    *experiment_flags.flags_of(experiment),
    f'--workdir={workdir}',
    f'--data_dir={data_dir}',
  ]
  flags_text = '\n'.join(replay) + '\n'
  with (
    directory.open(prepared.config, flags=flags_text),
    edge.logged(directory),
  ):
    for note in said_before(experiment, prepared):
      _log.info('note: %s', note)
    fitted = train(experiment, directory, prepared)
    conclude(experiment, directory, prepared, fitted, began)
    directory.mark_done()
    _log.info('done in %.1f s: %s', time.perf_counter() - began, directory.path)
  return directory


def prepare(
  experiment: Experiment, directory: RunDirectory, data_dir: str
) -> Prepared:
  """Loads the data, lays out the runs and builds the model, or refuses."""
  refuse_held(directory.lock_path)
  dataset = sources.load(experiment.data.dataset, data_dir=data_dir)
  config = {**config_of(experiment), 'content_hash': dataset.content_hash}
  if directory.config_path.exists():
    refuse_change(directory.read_config(), config, str(directory.path))
  # Splitting may take longer than anyone wants to wait for a refusal.
  model = build_model(experiment, dataset, num_label_sets=1)
  check_links(experiment, rehearse(model, dataset))
  trial = plan(experiment, dataset)
  model = build_model(experiment, dataset, count_label_sets(trial))
  if not len(trial.splits[0].validation):
    rehearse(model, dataset, validation_rows=0)
  check_made(experiment, model.head, dataset, trial.training)
  model, found = constraints.prepare(
    experiment.constrain, model, dataset, trial
  )
  data = on_device(trial.training)
  return Prepared(config, dataset, data, trial, model, found)


def said_before(experiment: Experiment, prepared: Prepared) -> list[str]:
  """What a user must know of the data, and of what is trained on."""
  said = list(prepared.dataset.notes)
  scaled = standardizes(experiment, prepared.dataset)
  if experiment.data.standardize == 'auto' and not scaled:
    said.append('the features are sparse and left as they are (--standardize)')
  return said + summary(experiment, prepared.trial.training)


def train(
  experiment: Experiment, directory: RunDirectory, prepared: Prepared
) -> Fitted:
  """Trains all runs, from the newest checkpoint on."""
  checkpoints = Checkpoints(
    directory.checkpoints_path,
    prepared.config,
    interval_secs=experiment.train.save_interval_secs,
    log=directory.metrics_path,
  )
  with Progress(directory, prepared.trial.described) as progress:
    return fit(
      prepared.model.init,
      prepared.model.losses,
      prepared.data,
      prepared.trial.runs,
      experiment.train,
      checkpoints=checkpoints,
      on_epoch=progress.on_epoch,
    )


def conclude(
  experiment: Experiment,
  directory: RunDirectory,
  prepared: Prepared,
  fitted: Fitted,
  began: float,
) -> None:
  """Judges the selected runs and writes what was found."""
  config, dataset, data, trial, model, found = prepared
  scaled = 'true' if standardizes(experiment, dataset) else 'false'
  selected = select(trial, fitted.best_validation_loss, fitted.diverged)
  params = jit_once(take_rows, light=True)(
    fitted.params, jnp.asarray(selected, jnp.int32)
  )
  if selected:
    save_model(directory, config, params)
  judged_at = time.perf_counter()
  rows, arrays, learnt, files = constraints.judge(
    model,
    dataset,
    data,
    trial,
    selected,
    params,
    found,
    regrets=experiment.regrets,
    convention=experiment.metric_convention,
  )
  directory.write_predictions(**arrays)
  if found is not None:
    constraints.write(directory.path, files | found.text(trial.splits))
  for note in learnt:
    _log.info('note: %s', note)
  directory.write_results(
    {
      'study': experiment.study,
      'run_id': directory.run_id,
      'dataset': experiment.data.dataset,
      'method': experiment.method,
      'encoder': model.encoder.name,
      'head': model.head.name,
      'loss': model.loss.name,
      'settings': {**config, 'standardize': scaled},
      'rows': rows,
      'runs': [
        described_run(described, fitted, r, r in selected)
        for r, described in enumerate(trial.described)
      ],
      'profile': profile(dataset),
      'dependence': measured(
        model, dataset, data, trial, selected, params, arrays
      ),
      'notes': [*said_before(experiment, prepared), *learnt],
      **of_splits(experiment, trial.splits, trial.training),
      'parameters': parameter_count(fitted.params),
      'seconds': {
        'compile': fitted.compile_seconds,
        'train': fitted.train_seconds,
        'evaluate': time.perf_counter() - judged_at,
        'total': time.perf_counter() - began,
      },
    }
  )


def described_run(
  described: Mapping[str, Any], fitted: Fitted, r: int, selected: bool
) -> dict[str, Any]:
  """What results.json says of run r."""
  converged = fitted.converged
  return {
    **described,
    'best_epoch': int(fitted.best_epoch[r]),
    'validation_loss': float(fitted.best_validation_loss[r]),
    'train_loss': float(fitted.last_train_loss[r]),
    'diverged': bool(fitted.diverged[r]),
    'converged': None if converged is None else bool(converged[r]),
    'selected': selected,
  }


def main(argv: Sequence[str]) -> int:
  edge.no_arguments(argv)
  edge.make_devices(FLAGS.host_devices)
  with edge.refusing():
    experiment = experiment_flags.experiment_of(FLAGS)
    if FLAGS.top < 0:
      raise edge.Refusal(f'top is {FLAGS.top}; give 0 or more.')
  directory = run(experiment, workdir=FLAGS.workdir, data_dir=FLAGS.data_dir)
  edge.show(directory)
  if FLAGS.output == 'ranking':
    print(f'Ranked labels: {write_ranked_lists(directory, FLAGS.top)}')
  return 0


def parse(argv: Sequence[str]) -> list[str]:
  experiment_flags.define_experiment(argv, FLAGS)
  experiment_flags.define_places(FLAGS)
  for option in (experiment_flags.HOST_DEVICES, OUTPUT, TOP):
    experiment_flags.define(option, FLAGS)
  return FLAGS(list(argv), known_only=False)


if __name__ == '__main__':
  sys.exit(edge.start(main, parse))
