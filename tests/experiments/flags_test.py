"""Flags follow from dataclasses and factories, and say all of an experiment."""

import dataclasses
import json
import re
from typing import Literal

import pytest
from absl import flags

from experiments import flags as experiment_flags
from experiments.config import (
  DataOptions,
  Experiment,
  RuleOptions,
  Search,
  TrainOptions,
  config_of,
  experiment_from,
)
from experiments.flags import HEAD, Option, options_of
from experiments.studies import STUDIES
from experiments.sweep import lay_out
from mlc.methods import DECODERS, ENCODERS, LOSSES, METHODS, RESAMPLERS
from mlc.run_directory import canonical_json, run_id


@dataclasses.dataclass(frozen=True)
class Example:
  """A dataclass.

  Attributes:
    count: how many; the text
      goes on here.
    share: a share.
    kind: which one.
    names: several.
    limit: or none.
    on: or off.
    label: a text.
  """

  count: int = 3
  share: float = 0.5
  kind: Literal['a', 'b'] = 'a'
  names: tuple[str, ...] = ('x', 'y')
  limit: int | None = None
  on: bool = True
  label: str = ''


def parsed(*argv: str) -> flags.FlagValues:
  """The flags of experiments/train.py after parsing a command line."""
  values = flags.FlagValues()
  line = ['train.py', *argv]
  experiment_flags.define_experiment(line, values)
  experiment_flags.define_places(values)
  values(line)
  return values


def experiment(*argv: str) -> Experiment:
  return experiment_flags.experiment_of(parsed(*argv))


def listed(text: str) -> set[str]:
  """The names of the flags that a help text lists."""
  return set(re.findall(r'^  --(?:\[no\])?([\w.]+):', text, re.M))


def test_a_dataclass_gives_one_flag_a_field():
  options = options_of(Example)
  assert [o.name for o in options] == [
    f.name for f in dataclasses.fields(Example)
  ]
  assert options[0] == Option(
    'count', int, 3, 'how many; the text goes on here.'
  )


@pytest.mark.parametrize(
  ('argument', 'name', 'value'),
  [
    ('--count=7', 'count', 7),
    ('--share=1e-3', 'share', 1e-3),
    ('--kind=b', 'kind', 'b'),
    ('--names=p, q', 'names', ('p', 'q')),
    ('--names=', 'names', ()),
    ('--limit=5', 'limit', 5),
    ('--noon', 'on', False),
    ('--on=false', 'on', False),
    ('--label=a=b,c', 'label', 'a=b,c'),
  ],
)
def test_a_flag_has_the_type_of_its_field(argument, name, value):
  values = flags.FlagValues()
  for option in options_of(Example):
    experiment_flags.define(option, values)
  values(['program'])
  default = {o.name: o.default for o in options_of(Example)}
  assert {n: values[n].value for n in default} == default
  values(['program', argument])
  assert values[name].value == value


@pytest.mark.parametrize(
  'argument', ['--count=x', '--share=x', '--kind=c', '--on=x']
)
def test_a_value_of_another_type_is_refused(argument):
  values = flags.FlagValues()
  for option in options_of(Example):
    experiment_flags.define(option, values)
  with pytest.raises(flags.IllegalFlagValueError, match=argument[2:5]):
    values(['program', argument])


def test_a_factory_gives_its_options_and_of_a_head_not_the_facts():
  def factory(num_labels: int, *, width: int = 4):
    """Makes.

    Args:
      num_labels: L.
      width: units.
    """

  assert options_of(factory, HEAD) == [Option('model.width', int, 4, 'units.')]
  assert [o.name for o in options_of(factory, 'decoder.')] == [
    'decoder.num_labels',
    'decoder.width',
  ]


@pytest.mark.parametrize(
  'source',
  [
    Experiment,
    DataOptions,
    Search,
    TrainOptions,
    RuleOptions,
    *(method.head for method in METHODS.values()),
    *ENCODERS.values(),
    *LOSSES.values(),
    *RESAMPLERS.values(),
    *DECODERS.values(),
  ],
  ids=lambda source: source.__name__,
)
def test_every_option_is_explained_and_can_be_a_flag(source):
  values = flags.FlagValues()
  for option in options_of(source, HEAD):
    assert option.help.strip(), f'{option.name} has no help text'
    experiment_flags.define(option, values)


def test_a_comma_before_an_option_of_a_data_set_does_not_end_its_name():
  text = 'synthetic:chain,strength=2,labels=8,yeast, movies,arff:a/b.arff'
  assert experiment_flags.names(text) == (
    'synthetic:chain,strength=2,labels=8',
    'yeast',
    'movies',
    'arff:a/b.arff',
  )


@pytest.mark.parametrize('method', METHODS)
def test_the_method_decides_which_model_flags_exist(method):
  model = {name for name in parsed(f'--method={method}') if '.' in name}
  wanted = {o.name for o in options_of(METHODS[method].head, HEAD)}
  decoder = DECODERS[METHODS[method].decoder]
  wanted |= {o.name for o in options_of(decoder, 'decoder.')}
  assert model == wanted


def test_encoder_and_decoders_decide_which_flags_exist():
  line = ['--encoder=mlp', '--decoders=f_beta,top_k']
  assert {name for name in parsed(*line) if '.' in name} == {
    'encoder.width',
    'encoder.depth',
    'encoder.dropout',
    'decoder.beta',
    'decoder.num_samples',
    'decoder.k',
  }


def test_resampling_decides_which_of_its_flags_exist():
  line = ['--resampling=mlsmote', '--resampling.neighbours=3']
  assert {name for name in parsed(*line) if name.startswith('resampling.')} == {
    'resampling.neighbours',
    'resampling.labels',
    'resampling.scaled',
  }
  made = experiment(*line)
  assert made.data.resampling == 'mlsmote'
  assert made.options == {'resampling.neighbours': 3}
  assert not {name for name in parsed() if name.startswith('resampling.')}


def test_the_first_stage_reads_past_flags_it_does_not_know():
  line = ['--epochs', '3', '--method', 'classifier_chain', '--nostratify']
  made = experiment(*line, '--model.order', 'random')
  assert made.method == 'classifier_chain'
  assert made.options == {'model.order': 'random'}
  assert (made.train.epochs, made.data.stratify) == (3, False)


def test_loss_and_decoder_come_from_the_method_unless_given():
  made = experiment('--method=label_powerset')
  assert (made.loss, made.decoders) == ('nll', ('subset',))
  made = experiment('--decoders=f_beta,hamming', '--loss=sigmoid_cross_entropy')
  assert made.loss == 'sigmoid_cross_entropy'
  assert made.decoders == ('f_beta', 'hamming')


def test_a_default_that_is_stated_is_no_option():
  stated = experiment('--encoder=mlp', '--encoder.width=128')
  assert stated == experiment('--encoder=mlp')
  assert experiment('--encoder=mlp', '--encoder.width=64').options == {
    'encoder.width': 64
  }


EXPERIMENTS = [
  Experiment(),
  Experiment(
    study='s',
    method='classifier_chain',
    loss='nll',
    decoders=('subset', 'f_beta', 'top_k'),
    encoder='mlp',
    allow_mismatch=True,
    metric_convention='sklearn',
    data=DataOptions(
      dataset='synthetic:chain,strength=2,labels=8',
      split='kfold',
      folds=3,
      test_fraction=0.1,
      validation_fraction=0.0,
      stratify=False,
      standardize='false',
      resampling='ml_ros',
    ),
    search=Search(
      seeds=3,
      learning_rates=(1e-05, 0.1 + 0.2),
      l2s=(0.0, 1 / 3),
      link_l2s=(0.1, 3.0),
    ),
    train=TrainOptions(optimizer='lbfgs', tolerance=1e-7, patience=0),
    constrain=RuleOptions(
      rules='text:exclusive: a, b; "c d" -> a',
      constraints=('repair', 'condition'),
    ),
    options={
      'model.order': 'random',
      'encoder.dropout': 0.1,
      'decoder.k': 2,
      'decoder.beta': 2.0,
      'resampling.size': 0.1,
    },
  ),
  *(
    made
    for name, study in STUDIES.items()
    for made in lay_out(name, study, study.datasets, study.methods, {})
  ),
]


@pytest.mark.parametrize(
  'made', EXPERIMENTS, ids=lambda e: run_id(config_of(e))
)
def test_flags_say_all_of_an_experiment(made):
  made = experiment_flags.resolved(made)
  assert experiment(*experiment_flags.flags_of(made)) == made


@pytest.mark.parametrize(
  'made', EXPERIMENTS, ids=lambda e: run_id(config_of(e))
)
def test_a_config_says_all_of_an_experiment(made):
  written = json.loads(json.dumps(config_of(made)))
  again = experiment_from({**written, 'content_hash': 'x'})
  assert again == dataclasses.replace(
    made, train=dataclasses.replace(made.train, save_interval_secs=60.0)
  )
  assert run_id(config_of(again)) == run_id(config_of(made))


class TestHelp:
  def test_train_lists_exactly_the_flags_that_apply(self, command):
    done = command('train.py', '--method=classifier_chain', '--helpshort')
    assert done.code == 0
    assert done.err == ''
    wanted = {
      o.name
      for part in (Experiment, *experiment_flags.PARTS.values())
      for o in options_of(part)
    }
    wanted |= {'workdir', 'data_dir', 'host_devices', 'output', 'top'}
    wanted |= {'model.order', 'model.num_samples', 'model.beam_width'}
    assert listed(done.out) == wanted
    assert '<natural|random|frequency|mutual_information>' in done.out
    assert 'Known: ' + ', '.join(METHODS) in ' '.join(done.out.split())

  def test_launch_lists_the_flags_that_the_issue_names(self, command):
    done = command('launch.py', '--helpshort')
    assert done.code == 0
    named = (
      'study workdir data_dir datasets methods seeds dry_run status '
      'max_parallel encoder.width model.order model.depth'
    )
    assert listed(done.out) >= {*named.split(' ')}
    assert not listed(done.out) & {'method', 'dataset'}

  def test_launch_lists_the_choices_of_each_method(self, command):
    methods = ','.join(('stacked', 'hierarchical'))
    done = command('launch.py', f'--methods={methods}', '--helpshort')
    text = ' '.join(done.out.split())
    assert 'stacked: meta|dependent|nested' in text
    assert 'hierarchical: max_constraint|conditional' in text

  def test_launch_lists_only_what_the_study_can_use(self, command):
    done = command('launch.py', '--study=classic', '--helpshort')
    assert {name for name in listed(done.out) if '.' in name} == {
      'model.order',
      'model.num_samples',
      'model.beam_width',
      'decoder.value',
      'decoder.beta',
      'decoder.num_samples',
    }

  @pytest.mark.parametrize('program', ['evaluate.py', 'compare.py'])
  def test_the_others_have_help_too(self, command, program):
    done = command(program, '--helpshort')
    assert (done.code, done.err) == (0, '')
    assert (
      listed(done.out)
      >= {
        'evaluate.py': {'run', 'decoders', 'decoder.k'},
        'compare.py': {'runs', 'out', 'metrics'},
      }[program]
    )


@pytest.mark.slow
def test_a_flag_file_replays_a_run(finished, command):
  config = finished.read_config()
  made = experiment(f'--flagfile={finished.flags_path}')
  assert run_id(config_of(made)) == finished.run_id
  again = {**config_of(made), 'content_hash': config['content_hash']}
  assert canonical_json(again) == canonical_json(config)
  done = command('train.py', f'--flagfile={finished.flags_path}')
  assert done.code == 0
  assert 'is done; nothing to do' in done.err
