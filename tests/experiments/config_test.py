"""What names a run, and what no configuration can say."""

import pytest

from experiments.config import (
  DataOptions,
  Experiment,
  RuleOptions,
  Search,
  TrainOptions,
  config_of,
  experiment_from,
)
from experiments.flags import options_of
from mlc.run_directory import run_id


def test_an_option_that_is_not_used_does_not_rename_older_runs():
  assert 'link_l2s' not in config_of(Experiment())
  assert 'calibration' not in config_of(Experiment())
  assert config_of(Experiment(calibration='platt'))['calibration'] == 'platt'
  used = Experiment(search=Search(link_l2s=(0.0,)))
  assert config_of(used)['link_l2s'] == (0.0,)
  assert 'resampling' not in config_of(Experiment())
  used = Experiment(data=DataOptions(resampling='ml_ros'))
  assert config_of(used)['resampling'] == 'ml_ros'
  assert 'metric_convention' not in config_of(Experiment())
  used = Experiment(metric_convention='mulan')
  assert config_of(used)['metric_convention'] == 'mulan'
  rules = {option.name for option in options_of(RuleOptions)}
  assert not rules & config_of(Experiment()).keys()
  mined = Experiment(constrain=RuleOptions('mined', ('repair',)))
  assert rules <= config_of(mined).keys()
  # What mining takes says nothing where nothing is mined.
  listed = Experiment(constrain=RuleOptions('hierarchy', rule_support=7))
  assert rules & config_of(listed).keys() == {'rules', 'constraints'}
  none = RuleOptions('hierarchy', ('none',))
  assert none == RuleOptions('hierarchy')


def test_a_file_of_rules_counts_by_its_content(tmp_path):
  path = tmp_path / 'a.rules'
  made = Experiment(constrain=RuleOptions(str(path), ('decode',)))
  with pytest.raises(ValueError, match=r'a\.rules is no file'):
    config_of(made)
  path.write_text('a -> b')
  before = config_of(made)
  assert experiment_from(before) == made
  path.write_text('b -> a')
  assert run_id(config_of(made)) != run_id(before)


@pytest.mark.parametrize(
  ('options', 'says'),
  [
    ({'constraints': ('repair',)}, 'has no rules to keep'),
    ({'rules': 'mined', 'constraints': ('repai',)}, "Did you mean 'repair'"),
    ({'rules': 'mined', 'constraints': ('none', 'decode')}, 'none alone'),
    ({'rules': 'mined', 'constraints': ('decode', 'decode')}, 'each once'),
    ({'rules': 'mined', 'rule_confidence': 0.4}, 'confidence is 0.4'),
  ],
)
def test_rules_that_cannot_be_meant_are_refused(options, says):
  with pytest.raises(ValueError, match=says):
    RuleOptions(**options)


def test_how_often_a_state_is_saved_does_not_make_another_run():
  often = Experiment(train=TrainOptions(save_interval_secs=0.0))
  assert config_of(often) == config_of(Experiment())


@pytest.mark.parametrize(
  'change',
  [
    {'seeds': 0},
    {'learning_rates': ()},
    {'learning_rates': (-1.0,)},
    {'l2s': (float('nan'),)},
    {'l2s': (float('inf'),)},
    {'l2s': (0.1, 0.1)},
    {'link_l2s': (-1.0,)},
    {'link_l2s': (0.1, 0.1)},
  ],
  ids=str,
)
def test_a_search_of_nothing_is_refused(change):
  with pytest.raises(ValueError, match=next(iter(change))):
    Search(**change)
