"""One flag for several methods that mean different things by it."""

from typing import Literal

import pytest
from absl import flags

from experiments import flags as experiment_flags
from experiments import kinds
from experiments.config import Experiment
from experiments.flags import Option

ORDERS = ['classifier_chain', 'recurrent_chain', 'label_sequence']


def of_launch(*argv: str, methods=ORDERS) -> flags.FlagValues:
  """The flags of a launch of some methods, after parsing."""
  values = flags.FlagValues()
  options = experiment_flags.selectable_options(
    methods, 'identity', '', 'none', ()
  )
  for option in experiment_flags.merged(options):
    experiment_flags.define(option, values, optional=True)
  values(['launch.py', *argv])
  return values


@pytest.mark.parametrize(
  ('value', 'takers'),
  [
    ('random', ['classifier_chain', 'recurrent_chain']),
    ('frequency', ['classifier_chain']),
    ('free', ['label_sequence']),
    ('natural', []),
  ],
)
def test_a_choice_goes_to_the_methods_that_have_it(value, takers):
  given = {'model.order': of_launch(f'--model.order={value}')['model.order']}
  given = {name: flag.value for name, flag in given.items()}
  planned = [experiment_flags.resolved(Experiment(method=m)) for m in ORDERS]
  made = [experiment_flags.with_options(e, given) for e in planned]
  # `frequency` is what label_sequence does anyway, `natural` what chains do.
  assert [e.method for e in made if e.options == given] == takers
  assert all(e.options in ({}, given) for e in made)


def test_who_does_not_take_a_choice_is_said():
  planned = [experiment_flags.resolved(Experiment(method=m)) for m in ORDERS]
  said = experiment_flags.passed_over(
    planned, {'model.order': 'free', 'model.width': 8}
  )
  assert said == [
    '--model.order=free is for label_sequence, and changes nothing for others '
    '(classifier_chain: natural|random|frequency|mutual_information; '
    'recurrent_chain: natural|random).'
  ]


def test_a_choice_that_no_method_has_is_refused_with_all_choices():
  with pytest.raises(flags.IllegalFlagValueError) as refused:
    of_launch('--model.order=sorted')
  for part in (
    'model.order=sorted',
    'label_sequence: frequency|free',
    'random',
  ):
    assert part in str(refused.value)
  # What all take alike is refused as before.
  with pytest.raises(flags.IllegalFlagValueError):
    of_launch('--model.order=free', methods=['classifier_chain'])


def test_types_that_differ_are_told_apart_too():
  options = [
    Option('model.rank', int, 4, 'a size.', 'low'),
    Option('model.rank', Literal['all', 'few'], 'all', 'a name.', 'high'),
    Option('model.rank', int | None, None, 'a size.', 'other'),
  ]
  (option,) = experiment_flags.merged(options)
  assert option.help == '[low, other] a size. [high] a name.'
  values = flags.FlagValues()
  experiment_flags.define(option, values)
  assert values.flag_values_dict() == {'model.rank': None}
  for text, wanted in (('7', [7, None, 7]), ('few', [None, 'few', None])):
    values(['program', f'--model.rank={text}'])
    found = [
      kinds.fitted(o.kind, values['model.rank'].value)
      if kinds.fits(o.kind, values['model.rank'].value)
      else None
      for o in options
    ]
    assert found == wanted
