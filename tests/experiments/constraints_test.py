"""Rules from the command line to the numbers, notes and files of a run."""

import collections
import csv
import json

import numpy as np
import pytest

from experiments import constraints, train
from experiments.config import RuleOptions, config_of
from experiments.evaluate import judged
from experiments.experiment import build_model, plan
from mlc import rules as rule_set
from mlc.data import sources
from mlc.run_directory import run_id

WORLD = 'synthetic:exclusive,labels=6,examples=240,features=4'
RULES = 'text:exclusive: label_1, label_2, label_3; at least 1 of: *'
WAYS = ('repair', 'decode', 'condition')
PLAIN = ('hamming', 'subset')


def ruled(tiny, **changes):
  given = {'rules': RULES, 'constraints': WAYS, **changes}
  return tiny(
    dataset=WORLD,
    decoders=PLAIN,
    regrets=False,
    constrain=RuleOptions(**given),
  )


@pytest.fixture(scope='module')
def run(tiny, tmp_path_factory):
  """A finished run under rules."""
  return train.run(ruled(tiny), workdir=str(tmp_path_factory.mktemp('ruled')))


@pytest.fixture(scope='module')
def tables(run):
  """The CSV files of the run, by name without suffix."""
  return {
    path.stem: list(csv.DictReader(path.read_text().splitlines()))
    for path in (run.path / 'constraints').glob('*.csv')
  }


def decisions(run, name):
  """[rows, labels] of all seeds, and the rules they are held against."""
  arrays = run.read_predictions()
  kept = arrays['row'] >= 0
  return arrays[f'decision_{name}'][kept].astype(float)


def broken(y):
  names = tuple(f'label_{j + 1}' for j in range(6))
  text = RULES.removeprefix('text:').replace(';', '\n')
  arrays = rule_set.compiled(rule_set.parse(text, names), 6)
  return rule_set.violations(arrays, y)


@pytest.mark.slow
def test_no_constrained_prediction_breaks_a_rule_and_others_do(run):
  for plain in PLAIN:
    assert broken(decisions(run, plain)).any()
    for way in WAYS:
      assert not broken(decisions(run, f'{plain}_{way}')).any()


@pytest.mark.slow
def test_the_table_says_how_many_rows_break_a_rule(run, rows_of):
  said = collections.defaultdict(list)
  for row in rows_of(run):
    if row['metric'] == 'inconsistency':
      said[row['decoder']].append(row['value'])
  assert set(said) == {*PLAIN, *(f'{p}_{w}' for p in PLAIN for w in WAYS)}
  for name, shares in said.items():
    wanted = broken(decisions(run, name)).any(axis=1).mean()
    assert np.mean(shares) == pytest.approx(wanted)


@pytest.mark.slow
def test_every_changed_label_has_a_line_with_the_rules_that_hold_it(
  run, tables
):
  arrays = run.read_predictions()
  names = list(arrays['label_names'])
  place = {
    (int(seed), int(row)): (s, r)
    for s, seed in enumerate(arrays['seed'])
    for r, row in enumerate(arrays['row'][s])
    if row >= 0
  }
  lines = tables['changes']
  for name in (f'{p}_{w}' for p in PLAIN for w in WAYS):
    before = decisions(run, name.rpartition('_')[0])
    after = decisions(run, name)
    mine = [line for line in lines if line['decoder'] == name]
    assert len(mine) == (before != after).sum()
  texts = ['exclusive: label_1, label_2, label_3', 'at least 1 of: *']
  for line in lines:
    s, r = place[int(line['seed']), int(line['row'])]
    j = names.index(line['label'])
    y = arrays[f'decision_{line["decoder"]}'][s, r].astype(float)
    assert y[j] == int(line['after']) != int(line['before'])
    y[j] = int(line['before'])
    held = [t for t, b in zip(texts, broken(y[None])[0], strict=True) if b]
    assert line['rules'] == '; '.join(held)
    # What was changed to keep the rules cannot go back alone.
    if line['decoder'].endswith('_repair'):
      assert held


@pytest.mark.slow
def test_rules_are_counted_by_decoder_and_held_against_the_truth(run, tables):
  arrays = run.read_predictions()
  y = sources.load(WORLD).y.astype(float)
  for s, seed in enumerate(arrays['seed']):
    lines = [line for line in tables['rules'] if int(line['seed']) == seed]
    assert len(lines) == 2 * len(PLAIN) * (1 + len(WAYS))
    of_test = broken(y[arrays['row'][s][arrays['row'][s] >= 0]]).sum(axis=0)
    of_hamming = broken(
      arrays['decision_hamming'][s][arrays['row'][s] >= 0].astype(float)
    ).sum(axis=0)
    mine = [line for line in lines if line['decoder'] == 'hamming']
    assert [int(line['truth_test']) for line in mine] == of_test.tolist()
    assert [
      int(line['predictions_breaking']) for line in mine
    ] == of_hamming.tolist()


@pytest.mark.slow
def test_the_cost_is_a_difference_of_two_rows(run, tables, rows_of):
  values = {
    (row['decoder'], str(row['seed']), row['split'], row['metric']): row[
      'value'
    ]
    for row in rows_of(run)
  }
  seen = set()
  for line in tables['cost']:
    key = line['seed'], line['split'], line['metric']
    mine, its = values[line['decoder'], *key], values[line['without'], *key]
    if mine is None:
      continue
    assert float(line['difference']) == pytest.approx(mine - its)
    seen.add((line['decoder'], line['metric']))
  assert {
    ('subset_repair', 'subset_accuracy'),
    ('hamming_condition', 'map'),
  } <= seen


@pytest.mark.slow
def test_the_conditioned_distribution_has_scores_of_its_own(run, rows_of):
  arrays = run.read_predictions()
  p, q = arrays['marginals'], arrays['marginals_condition']
  assert np.abs(p - q).max() > 0.01
  # At most one of three, so that their marginals sum to one at most.
  assert q[..., :3].sum(-1).max() < 1 + 1e-5
  by = {
    row['decoder']: row['value']
    for row in rows_of(run)
    if (row['metric'], row['split'], row['seed']) == ('map', 'test', 0)
  }
  assert by['hamming'] == by['subset_decode'] != by['hamming_condition']
  # A row that breaks a rule has probability 0: no number, but a reason.
  for s, seed in enumerate(arrays['seed']):
    lost = broken(arrays['y'][s][arrays['row'][s] >= 0].astype(float)).any()
    (row,) = (
      row
      for row in rows_of(run)
      if (row['metric'], row['decoder']) == ('nll', 'subset_condition')
      and (row['split'], row['seed']) == ('test', seed)
    )
    assert (row['value'] is None) == lost
    assert ('rule out' in row.get('reason', '')) == lost


@pytest.mark.slow
def test_notes_say_what_the_rules_did(run):
  notes = '\n'.join(run.read_results()['notes'])
  share = broken(decisions(run, 'hamming')).any(axis=1).mean()
  assert f'hamming without rules: {100 * share:.1f} % of the test' in notes
  assert 'subset_repair: ' in notes
  assert '2 rules: the truth of' in notes
  assert 'condition: before it the model gives the rules a probability' in notes


@pytest.mark.slow
def test_the_rules_of_a_run_can_be_read_again(run):
  path = run.path / 'constraints' / 'rules.txt'
  names = sources.load(WORLD).label_names
  assert [rule.text for rule in rule_set.read(path, names)] == [
    'exclusive: label_1, label_2, label_3',
    'at least 1 of: *',
  ]


@pytest.mark.slow
def test_the_same_rules_again_give_the_same_rows(run, rows_of):
  found, _ = judged(run, PLAIN, {})
  plain = json.loads(json.dumps(found.rows).replace('Infinity', 'null'))
  assert plain == rows_of(run)


@pytest.mark.slow
def test_rules_on_a_run_that_had_none(finished, command, tmp_path):
  path = tmp_path / 'my.rules'
  path.write_text('label_1 -> label_2  # so it is\n')
  name = f'hamming-rules={str(path).replace("/", "_")[-40:]}-constraints=repair'
  outcome = command(
    'evaluate.py',
    f'--run={finished.path}',
    '--decoders=hamming',
    f'--rules={path}',
    '--constraints=repair',
  )
  assert outcome.code == 0, outcome.err
  assert 'hamming_repair' in outcome.out
  folder = finished.path / 'evaluations' / name / 'constraints'
  assert (folder / 'rules.txt').read_text() == 'label_1 -> label_2\n'
  assert (folder / 'changes.csv').exists()


def test_mined_rules_are_those_of_the_training_rows(tiny):
  """Of each split its own, and of no other row."""
  made = ruled(tiny, rules='mined', constraints=(), rule_confidence=1.0)
  dataset = sources.load(WORLD)
  trial = plan(made, dataset)
  model = build_model(made, dataset, 1)
  _, found = constraints.prepare(made.constrain, model, dataset, trial)
  assert found.empirical
  for split, rules in zip(trial.splits, found.sets, strict=True):
    wanted = rule_set.mined(
      dataset.y[split.train], dataset.label_names, confidence=1.0
    )
    assert rules == wanted
    assert any('exclusive' in rule.text for rule in rules)
  text = found.text(trial.splits)['rules.txt']
  assert text.count('so empirical') == 2


@pytest.mark.parametrize(
  ('arguments', 'says'),
  [
    (['--rules=mind'], ['--rules=mind is no file', 'mined']),
    (['--rules=hierarchy'], ['has no hierarchy']),
    (
      ['--rules=text:label_1 -> lable_2'],
      ["Did you mean 'label_2'", '--rules:1'],
    ),
    (
      ['--rules=text:label_1 -> label_2; require: label_1; forbid: label_2'],
      ['these 3 rules together', 'require: label_1'],
    ),
    (['--constraints=repair'], ['has no rules to keep']),
    (
      ['--rules=mined', '--constraints=decode', '--decoders=mcut'],
      ['decoder mcut cannot search', 'repair'],
    ),
  ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
  arguments, says, command, check_error, tmp_path
):
  outcome = command(
    'train.py',
    '--dataset=synthetic:chain,labels=4,examples=60,features=3',
    f'--workdir={tmp_path / "runs"}',
    *arguments,
  )
  check_error(outcome, 'train.py', says)
  assert not (tmp_path / 'runs' / 'single').exists()


def test_rules_make_another_run_and_launch_takes_them(tiny, command, tmp_path):
  with_rules, without = ruled(tiny), tiny(dataset=WORLD)
  assert run_id(config_of(with_rules)) != run_id(config_of(without))
  outcome = command(
    'launch.py',
    '--dry_run',
    '--datasets=synthetic:hierarchy',
    '--methods=binary_relevance',
    '--rules=hierarchy',
    '--constraints=repair,decode',
    f'--workdir={tmp_path}',
  )
  assert outcome.code == 0, outcome.err
  assert '--constraints=repair,decode' in outcome.out
