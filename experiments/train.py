"""Trains and judges one method on one data set.

    python -m experiments.train --method=classifier_chain --dataset=yeast

All seeds and the whole search train in one compiled program; the run directory
is `<workdir>/<study>/<run_id>/`. The same command continues a run that was cut
off at any moment and does nothing for one that is done. On yeast, five seeds of
a linear chain take about 20 s on two cores.

`--method=classifier_chain --helpshort` lists the flags that apply to it.
"""

import logging
import pathlib
import sys
import time
from collections.abc import Sequence

import numpy as np
from absl import flags

from experiments import edge
from experiments import flags as experiment_flags
from experiments.config import Experiment, config_of
from experiments.experiment import (
  build_model,
  count_label_sets,
  plan,
  select,
)
from experiments.judgement import judge, parameter_count, save_model
from experiments.progress import Progress
from mlc.data import sources
from mlc.data.arrays import to_device
from mlc.data.profile import profile
from mlc.numerics import take_rows
from mlc.run_directory import RunDirectory, run_id
from mlc.training.checkpoint import Checkpoints
from mlc.training.loop import fit

_log = logging.getLogger(__name__)

FLAGS = flags.FLAGS


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
  config = config_of(experiment)
  directory = RunDirectory(
    pathlib.Path(workdir) / experiment.study / run_id(config)
  )
  if directory.is_done:
    _log.info('%s is done; nothing to do.', directory.path)
    return directory
  dataset = sources.load(experiment.data.dataset, data_dir=data_dir)
  trial = plan(experiment, dataset)
  model = build_model(experiment, dataset, count_label_sets(dataset, trial))
  config['content_hash'] = dataset.content_hash
  replay = [
    *experiment_flags.flags_of(experiment),
    f'--workdir={workdir}',
    f'--data_dir={data_dir}',
  ]
  with directory.open(config, flags='\n'.join(replay) + '\n'):
    for note in dataset.notes:
      _log.info('note: %s', note)
    data = to_device(dataset)
    progress = Progress(directory, trial.described)
    checkpoints = Checkpoints(
      directory.checkpoints_path,
      config,
      interval_secs=experiment.train.save_interval_secs,
      log=directory.metrics_path,
    )
    with progress:
      fitted = fit(
        model.init,
        model.losses,
        data,
        trial.runs,
        experiment.train,
        checkpoints=checkpoints,
        on_epoch=progress.on_epoch,
      )
    selected = select(trial, fitted.best_validation_loss, fitted.diverged)
    params = take_rows(fitted.params, np.asarray(selected, np.int32))
    save_model(directory, config, params)
    judged_at = time.perf_counter()
    rows, arrays = judge(model, dataset, data, trial, selected, params)
    directory.write_predictions(**arrays)
    directory.write_results(
      {
        'study': experiment.study,
        'run_id': directory.run_id,
        'dataset': experiment.data.dataset,
        'method': experiment.method,
        'encoder': model.encoder.name,
        'head': model.head.name,
        'loss': model.loss.name,
        'settings': config,
        'rows': rows,
        'runs': [
          {
            **described,
            'best_epoch': int(fitted.best_epoch[r]),
            'validation_loss': float(fitted.best_validation_loss[r]),
            'train_loss': float(fitted.last_train_loss[r]),
            'diverged': bool(fitted.diverged[r]),
            'converged': None
            if fitted.converged is None
            else bool(fitted.converged[r]),
            'selected': r in selected,
          }
          for r, described in enumerate(trial.described)
        ],
        'profile': profile(dataset),
        'notes': list(dataset.notes),
        'parameters': parameter_count(params),
        'seconds': {
          'compile': fitted.compile_seconds,
          'train': fitted.train_seconds,
          'evaluate': time.perf_counter() - judged_at,
          'total': time.perf_counter() - began,
        },
      }
    )
    directory.mark_done()
    _log.info('done in %.1f s: %s', time.perf_counter() - began, directory.path)
  return directory


def main(argv: Sequence[str]) -> int:
  edge.no_arguments(argv)
  directory = run(
    experiment_flags.experiment_of(FLAGS),
    workdir=FLAGS.workdir,
    data_dir=FLAGS.data_dir,
  )
  edge.show(directory)
  return 0


def parse(argv: Sequence[str]) -> list[str]:
  experiment_flags.define_experiment(argv, FLAGS)
  experiment_flags.define_places(FLAGS)
  return FLAGS(list(argv), known_only=False)


if __name__ == '__main__':
  sys.exit(edge.start(main, parse))
