"""Names of runs and their configs."""

import numpy as np
import pytest

from mlc import run_directory


def test_run_id_is_a_function_of_the_config_alone(config):
  shuffled = {'train': {'epochs': 3}, 'method': 'chain', 'dataset': 'yeast'}
  assert run_directory.run_id(shuffled) == run_directory.run_id(config)
  other = {**config, 'train': {'epochs': 4}}
  assert run_directory.run_id(other) != run_directory.run_id(config)
  head, middle, tail = run_directory.run_id(config).split('-')
  assert (head, middle, len(tail)) == ('yeast', 'chain', 10)


def test_run_id_of_a_path_has_its_last_part_and_no_odd_characters():
  config = {'dataset': 'arff:/some where/my-set.arff', 'method': 'a b/../c*'}
  name = run_directory.run_id(config)
  assert name.startswith('my_set.arff-c-')
  assert set(name) <= set('abcdefghijklmnopqrstuvwxyz0123456789._-')
  assert run_directory.run_id({'dataset': '..', 'method': '/'}).startswith(
    'unnamed-unnamed-'
  )


@pytest.mark.parametrize(
  ('value', 'where'),
  [
    ({'a': {'b': float('nan')}}, r'config\.a\.b is nan'),
    ({'a': [1, float('inf')]}, r'config\.a\[1\] is inf'),
    ({'a': {1: 2}}, 'has the key 1'),
    ({'a': np.float32(1)}, 'is a float32'),
    ({'a': np.zeros(2)}, 'is a ndarray'),
  ],
)
def test_what_json_would_change_unsaid_is_refused(value, where):
  with pytest.raises(ValueError, match=where):
    run_directory.canonical_json(value)


def test_diff_names_nested_keys():
  old = {'a': 1, 'train': {'lr': 0.1, 'epochs': 3}, 'gone': []}
  new = {'a': 1, 'train': {'lr': 0.2, 'epochs': 3}, 'new': {'x': 'y'}}
  assert run_directory.config_diff(old, new) == [
    'gone: [] -> (absent)',
    'new.x: (absent) -> "y"',
    'train.lr: 0.1 -> 0.2',
  ]
  assert run_directory.config_diff(old, old) == []
  assert run_directory.config_diff({'a': 1}, {'a': 1.0}) == ['a: 1 -> 1.0']
