"""What launch.py does: lay out a study, run what is missing, report."""

import contextlib
import os
import pathlib
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from experiments import edge
from experiments import flags as experiment_flags
from experiments.config import Experiment, config_of
from experiments.flags import PARTS, Option
from experiments.studies import STUDIES
from experiments.studies.study import Study, replace
from mlc import side_by_side, sweep
from mlc.base import lookup
from mlc.data import sources
from mlc.methods import METHODS, build_head
from mlc.run_directory import RunDirectory, exclusive, naming_path, run_id

FLAGS = flags.FLAGS
# What every run imports, and where it is installed scikit-learn, by which rows
# are stratified.
_PRELOAD = ('experiments.train', 'iterstrat.ml_stratifiers')
_FIXED = {'study', 'method', 'dataset'}

OPTIONS = (
  Option(
    'study', str, 'dependence', f'what to run. Known: {", ".join(STUDIES)}.'
  ),
  Option(
    'datasets',
    tuple[str, ...],
    (),
    "instead of the study's own, named as for experiments/train.py.",
  ),
  Option(
    'methods',
    tuple[str, ...],
    (),
    "instead of the study's own; `all` for every one that labels suffice for. "
    f'Known: {", ".join(METHODS)}.',
  ),
  Option('dry_run', bool, False, 'say what would be run, and write nothing.'),
  Option('status', bool, False, 'say how far the runs are.'),
  Option(
    'max_parallel',
    int,
    0,
    'runs at a time; 0 for one a core on CPU (8 at most), one elsewhere.',
  ),
)


def parse(argv: Sequence[str]) -> list[str]:
  """Defines the flags of the study and of every method in it, then parses."""
  chosen = experiment_flags.first_stage(
    argv,
    (
      'study',
      'datasets',
      'methods',
      'encoder',
      'loss',
      'resampling',
      'decoders',
    ),
  )
  name = chosen.get('study', 'dependence')
  study = lookup(name, STUDIES, 'study')
  names = experiment_flags.names
  for option in OPTIONS:
    experiment_flags.define(option, FLAGS)
  experiment_flags.define_places(FLAGS)
  experiment_flags.define(experiment_flags.HOST_DEVICES, FLAGS)
  for part in (Experiment, *PARTS.values()):
    for option in experiment_flags.options_of(part):
      if option.name not in _FIXED:
        experiment_flags.define(option, FLAGS, optional=True)
  selected: dict[str, Any] = dict(chosen)
  for key in ('study', 'datasets', 'methods'):
    selected.pop(key, None)
  if 'decoders' in selected:
    selected['decoders'] = names(selected['decoders'])
  planned = lay_out(
    name,
    study,
    names(chosen.get('datasets', '')) or study.datasets,
    methods_of(names(chosen.get('methods', '')), study),
    selected,
  )
  options = (experiment_flags.options_for_experiment(e) for e in planned)
  for option in experiment_flags.merged(o for part in options for o in part):
    experiment_flags.define(option, FLAGS, optional=True)
  return FLAGS(list(argv))


def main(argv: Sequence[str]) -> int:
  edge.no_arguments(argv)
  with edge.refusing():
    study = lookup(FLAGS.study, STUDIES, 'study')
    experiments = lay_out(
      FLAGS.study,
      study,
      FLAGS.datasets or study.datasets,
      methods_of(FLAGS.methods, study),
      given(),
    )
    for sentence in experiment_flags.passed_over(experiments, given()):
      print(sentence)
    for dataset in dict.fromkeys(e.data.dataset for e in experiments):
      sources.find(dataset, data_dir=FLAGS.data_dir)
    directory = pathlib.Path(FLAGS.workdir) / FLAGS.study
    manifest = sweep.Manifest(
      FLAGS.study, tuple(config_of(e) for e in experiments)
    )
    if FLAGS.max_parallel < 0:
      raise ValueError(f'max_parallel is {FLAGS.max_parallel}; 0 is automatic.')
  if FLAGS.dry_run:
    return say_plan(directory, manifest, experiments)
  if FLAGS.status:
    print(sweep.table(sweep.rows(directory, manifest.run_ids)))
    return 0
  with naming_path(directory):
    directory.mkdir(parents=True, exist_ok=True)
  with exclusive(directory / 'lock'):
    for sentence in sweep.freeze(directory, manifest):
      print(sentence)
    failures = run_missing(directory, manifest, experiments)
    command = shlex.join(
      [
        'python',
        os.path.basename(sys.argv[0]),
        *(a for a in sys.argv[1:] if not a.startswith('--max_parallel')),
      ]
    )
    configs = dict(zip(manifest.run_ids, manifest.configs, strict=True))
    # Only now: what draws takes seconds to import.
    from experiments.findings import FINDINGS
    from experiments.reporting import report

    found = FINDINGS.get(FLAGS.study)
    report(study, directory, configs, failures, command, findings=found)
  if failures:
    print(
      f'{len(failures)} of {len(experiments)} runs failed; the same command '
      'tries them again.',
      file=sys.stderr,
    )
  return 1 if failures else 0


def methods_of(names: Sequence[str], study: Study) -> tuple[str, ...]:
  """The methods that --methods names; `all` are those that labels suffice for.

  Softmax, which is for multi-class sets, and heads that ask for more than the
  labels (a hierarchy) have to be named.
  """
  if tuple(names) != ('all',):
    return tuple(names) or study.methods
  # Two labels: nothing that a factory refuses for their number.
  facts = {'num_labels': 2, 'num_label_sets': 4, 'hierarchy': None}
  heads = {}
  for name in METHODS:
    with contextlib.suppress(ValueError):
      heads[name] = build_head(name, facts, {})
  return tuple(name for name, head in heads.items() if not head.one_hot)


def given() -> dict[str, Any]:
  """The flags that override the study's own values."""
  names = {
    *(
      option.name
      for part in (Experiment, *PARTS.values())
      for option in experiment_flags.options_of(part)
    ),
    *(name for name in FLAGS if '.' in name),
  }
  return {
    name: FLAGS[name].value
    for name in sorted(names - _FIXED)
    if name in FLAGS and FLAGS[name].value is not None
  }


def lay_out(
  name: str,
  study: Study,
  datasets: Sequence[str],
  methods: Sequence[str],
  changes: Mapping[str, Any],
) -> list[Experiment]:
  """The experiments of a study, with some values changed by flags."""
  plain = {k: v for k, v in changes.items() if '.' not in k}
  dotted = {k: v for k, v in changes.items() if '.' in k}
  out: list[Experiment] = []
  for dataset in datasets:
    for method in methods:
      lookup(method, METHODS, 'method')
      stated = study.conditions(dataset, method)
      alike: dict[str, Experiment] = {}
      for one in [stated] if isinstance(stated, Experiment) else stated:
        made = replace(one, study=name, **plain)
        made = experiment_flags.resolved(made)
        made = experiment_flags.with_options(made, dotted)
        # A flag may level what told two apart.
        alike[run_id(config_of(made))] = made
      out += alike.values()
  return out


def say_plan(
  directory: pathlib.Path,
  manifest: sweep.Manifest,
  experiments: Sequence[Experiment],
) -> int:
  """Prints every configuration, its state and its command."""
  found = sweep.rows(directory, manifest.run_ids)
  for row, made in zip(found, experiments, strict=True):
    print(f'[{row.state}] {directory / row.run_id}')
    print(f'  {shlex.join(["python", *command_of(made)])}')
  todo = sum(row.state != 'done' for row in found)
  print(
    f'{len(found)} configurations, {todo} to run, up to {parallel(todo)} at a '
    'time. Nothing was written.'
  )
  return 0


def command_of(made: Experiment) -> list[str]:
  """Arguments to Python that run one experiment."""
  return [
    '-m',
    'experiments.train',
    *experiment_flags.flags_of(made),
    f'--workdir={FLAGS.workdir}',
    f'--data_dir={FLAGS.data_dir}',
  ]


def run_missing(
  directory: pathlib.Path,
  manifest: sweep.Manifest,
  experiments: Sequence[Experiment],
) -> dict[str, str]:
  """Runs what is not done; returns run_id -> message of what failed."""
  # What the first run on a data set compiles of the metrics, the others take
  # from the cache: the first ones come first, so that no two compile the same.
  first: dict[str, sweep.Job] = {}
  others = []
  for name, made in zip(manifest.run_ids, experiments, strict=True):
    run = RunDirectory(directory / name)
    if not run.is_done:
      command = (sys.executable, *command_of(made))
      job = sweep.Job(name, command, dict(os.environ), run.log_path)
      if first.setdefault(made.data.dataset, job) is not job:
        others.append(job)
  jobs = [*first.values(), *others]
  at_a_time = parallel(len(jobs))
  devices = FLAGS.host_devices or edge.spare_devices(at_a_time)
  share = f'--host_devices={devices}'
  jobs = [job._replace(argv=(*job.argv, share)) for job in jobs]
  done = len(experiments) - len(jobs)
  if not jobs:
    print(f'All {done} runs are done; nothing to train.')
    return {}
  print(
    f'{FLAGS.study}: {len(experiments)} runs, {done} done, {len(jobs)} to go, '
    f'{at_a_time} at a time. Interrupt whenever you like: the same '
    'command continues.',
    flush=True,
  )
  with edge.SweepDisplay(jobs) as display:
    outcomes = sweep.run_local(
      jobs,
      max_parallel=at_a_time,
      on_event=display.on_event,
      preload=_PRELOAD,
    )
  if any(o.state in ('interrupted', 'skipped') for o in outcomes):
    raise KeyboardInterrupt
  return {o.job.run_id: o.message for o in outcomes if o.state == 'failed'}


def parallel(jobs: int) -> int:
  """How many runs at a time."""
  if FLAGS.max_parallel:
    return FLAGS.max_parallel
  platforms = os.environ.get('JAX_PLATFORMS', '')
  accelerators = [
    *pathlib.Path('/dev').glob('nvidia[0-9]*'),
    *pathlib.Path('/dev').glob('accel*'),
    *pathlib.Path('/dev').glob('kfd'),
  ]
  if accelerators and platforms != 'cpu':
    return 1
  return max(1, min(side_by_side.cores(), 8, jobs))
