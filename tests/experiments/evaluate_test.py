"""Decoding a finished run again, and comparing finished runs."""

import csv
import json
import shutil

import numpy as np
import pytest
from sklearn import metrics as sk

from experiments import train
from experiments.evaluate import evaluate
from experiments.flags import flags_of
from experiments.ranked_lists import write_ranked_lists
from mlc.data import sources
from mlc.run_directory import RunDirectory, RunDirectoryError


@pytest.fixture
def copied(finished, tmp_path):
  """The finished run, for tests that write into it."""
  path = tmp_path / finished.run_id
  # Others may have judged it again.
  kept = shutil.ignore_patterns('evaluations')
  shutil.copytree(finished.path, path, ignore=kept)
  return RunDirectory(path)


def numbers(rows, decoder, field='value'):
  """(seed, fold, split, metric) -> value of one decoder."""
  return {
    (row['seed'], row['fold'], row['split'], row['metric']): row.get(field)
    for row in rows
    if row['decoder'] == decoder
  }


class TestEvaluate:
  @pytest.mark.slow
  def test_the_same_decoders_give_the_same_rows(self, finished, rows_of):
    again = evaluate(finished, ('hamming', 'f_beta'), {})
    assert json.loads(json.dumps(again)) == rows_of(finished)

  @pytest.mark.slow
  def test_one_of_them_gives_its_rows(self, finished, rows_of):
    again = evaluate(finished, ('hamming',), {})
    wanted = [row for row in rows_of(finished) if row['decoder'] == 'hamming']
    assert again == wanted

  @pytest.mark.slow
  def test_another_decoder_and_its_option(self, copied, command, contents):
    before = contents(copied.path)
    outcome = command(
      'evaluate.py',
      f'--run={copied.path}',
      '--decoders=top_k,hamming',
      '--decoder.k=2',
      '--decoder.value=0.3',
    )
    assert outcome.code == 0, outcome.err
    (path,) = (copied.path / 'evaluations').iterdir()
    assert path.name == 'top_k-hamming-k=2-value=0.3.json'
    rows = json.loads(path.read_text())
    # A row is known by what was decided, not by the name of the family.
    assert {row['decoder'] for row in rows} == {'top_2', 'threshold_0.3'}
    predictions = copied.read_predictions()
    p, y, row = (predictions[key] for key in ('marginals', 'y', 'row'))
    for s, seed in enumerate(predictions['seed']):
      here = row[s] >= 0
      decided = (p[s][here] > 0.3).astype(int)
      key = (int(seed), -1, 'test', 'f1_micro')
      wanted = sk.f1_score(y[s][here], decided, average='micro')
      assert numbers(rows, 'threshold_0.3')[key] == pytest.approx(wanted)
      best = np.argsort(-p[s][here], axis=1)[:, :2]
      decided = np.zeros_like(decided)
      np.put_along_axis(decided, best, 1, axis=1)
      wanted = sk.f1_score(y[s][here], decided, average='micro')
      assert numbers(rows, 'top_2')[key] == pytest.approx(wanted)
    after = contents(copied.path)
    del after[f'evaluations/{path.name}']
    assert after == before

  @pytest.mark.slow
  def test_another_calibration_stands_beside_that_of_the_run(
    self, copied, command
  ):
    outcome = command(
      'evaluate.py', f'--run={copied.path}', '--calibration=platt'
    )
    assert outcome.code == 0, outcome.err
    for decoder in ('hamming', 'f_beta'):
      assert f'{decoder} none' in outcome.out
      assert f'{decoder} platt' in outcome.out
    (path,) = (copied.path / 'evaluations').iterdir()
    assert path.name == 'calibration=platt.json'
    after = numbers(json.loads(path.read_text()), 'hamming')
    before = numbers(copied.read_results()['rows'], 'hamming')
    for key, value in before.items():
      seed, fold, split, metric = key
      if metric in ('nll', 'ece_label', 'brier_label', 'ece_set'):
        was = after[(seed, fold, split, f'uncalibrated_{metric}')]
        assert metric == 'ece_set' or was == pytest.approx(value, rel=1e-5)
    # Fitted there, two numbers a label cannot but help on validation rows.
    on_validation = [k for k in before if k[2:] == ('validation', 'nll')]
    assert all(after[k] < before[k] for k in on_validation)
    assert len(on_validation) == 2

  def test_options_of_decoders_that_are_not_named_are_refused(
    self, finished, command
  ):
    outcome = command(
      'evaluate.py',
      f'--run={finished.path}',
      '--calibration=platt',
      '--decoder.k=2',
    )
    assert outcome.code == 1
    assert '--decoder.k without --decoders' in outcome.err

  def test_a_run_that_is_not_done_is_refused(self, copied, command, contents):
    copied.done_path.unlink()
    before = contents(copied.path)
    outcome = command(
      'evaluate.py', f'--run={copied.path}', '--decoders=subset'
    )
    assert outcome.code == 1
    assert 'is not done' in outcome.err
    assert f'--flagfile={copied.flags_path}' in outcome.err
    assert contents(copied.path) == before

  def test_a_result_that_was_changed_makes_it_not_done(self, copied, command):
    text = copied.results_path.read_text()
    copied.results_path.write_text(text.replace('"value": 0', '"value": 1', 1))
    outcome = command(
      'evaluate.py', f'--run={copied.path}', '--decoders=subset'
    )
    assert outcome.code == 1
    assert 'results.json' in outcome.err

  def test_damaged_parameters_are_refused_and_can_be_had_again(
    self, copied, command
  ):
    (model,) = (copied.checkpoints_path / 'model').glob('[0-9]*')
    for path in model.rglob('*'):
      if path.is_file() and path.parent.name == 'd':
        path.write_bytes(path.read_bytes()[:-1] + b'\0')
    outcome = command(
      'evaluate.py', f'--run={copied.path}', '--decoders=subset'
    )
    assert outcome.code == 1
    assert 'can be trusted' in outcome.err
    assert f'--flagfile={copied.flags_path}' in outcome.err

  def test_unknown_decoder(self, finished, command):
    outcome = command(
      'evaluate.py', f'--run={finished.path}', '--decoders=subst'
    )
    assert outcome.code == 2
    assert "Did you mean 'subset'" in outcome.err

  def test_data_that_changed_are_refused(
    self, finished, command, monkeypatch, contents
  ):
    changed = finished.read_config()['dataset'] + ',seed=1'
    loaded = sources.load(changed)
    monkeypatch.setattr(sources, 'load', lambda name, *, data_dir: loaded)
    before = contents(finished.path)
    outcome = command(
      'evaluate.py', f'--run={finished.path}', '--decoders=hamming'
    )
    assert outcome.code == 1
    assert 'content hash' in outcome.err
    assert 'Traceback' not in outcome.err
    assert contents(finished.path) == before


class TestRanking:
  def lines(self, run):
    with (run.path / 'ranking.csv').open() as file:
      return list(csv.DictReader(file))

  def test_lists_of_the_test_rows(self, copied, command, contents):
    """Against the predictions, one row at a time; no model is read."""
    before = contents(copied.path)
    shutil.rmtree(copied.checkpoints_path)
    outcome = command(
      'evaluate.py', f'--run={copied.path}', '--output=ranking', '--top=3'
    )
    assert outcome.code == 0, outcome.err
    assert str(copied.path / 'ranking.csv') in outcome.out
    lines = self.lines(copied)
    found = copied.read_predictions()
    seeds, rows = (found['row'] >= 0).nonzero()
    assert len(lines) == 3 * len(rows)
    names = list(found['label_names'])
    for i, (s, b) in enumerate(zip(seeds, rows, strict=True)):
      mine = lines[3 * i : 3 * i + 3]
      score = found['marginals'][s, b]
      best = sorted(range(len(names)), key=lambda j, p=score: -p[j])[:3]
      assert [line['label'] for line in mine] == [names[j] for j in best]
      assert [line['rank'] for line in mine] == ['1', '2', '3']
      for line, j in zip(mine, best, strict=True):
        assert int(line['seed']) == found['seed'][s]
        assert int(line['row']) == found['row'][s, b]
        assert np.float32(line['score']) == score[j]
        assert int(line['truth']) == found['y'][s, b, j]
    after = contents(copied.path)
    assert {*after} - {*before} == {'ranking.csv'}

  def test_all_labels_and_unknown_truth(self, copied):
    found = dict(copied.read_predictions())
    found['where'] = np.ones(found['y'].shape, bool)
    found['where'][..., 0] = False
    copied.write_predictions(**found)
    write_ranked_lists(copied, 0)
    lines = self.lines(copied)
    labels = len(found['label_names'])
    assert len(lines) == labels * (found['row'] >= 0).sum()
    unknown = {line['label'] for line in lines if line['truth'] == ''}
    assert unknown == {found['label_names'][0]}

  def test_what_cannot_be_listed_is_refused(self, copied, command):
    outcome = command(
      'evaluate.py', f'--run={copied.path}', '--output=ranking', '--top=-1'
    )
    assert outcome.code == 1
    assert 'top is -1' in outcome.err
    copied.write_predictions()
    with pytest.raises(RunDirectoryError, match='nothing to rank'):
      write_ranked_lists(copied, 5)


class TestCompare:
  @pytest.fixture
  def other(self, shared, tiny):
    """A run of another study, with another decoder."""
    return train.run(
      tiny(study='other', decoders=('hamming', 'subset')),
      workdir=str(shared / 'finished'),
    )

  @pytest.mark.slow
  def test_runs_of_two_studies(self, finished, other, command, tmp_path):
    outcome = command(
      'compare.py',
      f'--runs={finished.path},{other.path}',
      f'--out={tmp_path / "out"}',
      '--metrics=f1_example,hamming_loss',
    )
    assert outcome.code == 0, outcome.err
    assert 'study=single' in outcome.out
    assert 'study=other' in outcome.out
    assert (tmp_path / 'out' / 'report.html').exists()
    text = (tmp_path / 'out' / 'results.csv').read_text()
    studies = {line.split(',')[0] for line in text.splitlines()[1:]}
    assert studies == {'single', 'other'}

  @pytest.mark.slow
  def test_a_folder_of_runs(self, finished, command, tmp_path):
    outcome = command(
      'compare.py',
      f'--runs={finished.path.parent}',
      f'--out={tmp_path / "out"}',
    )
    assert outcome.code == 0, outcome.err
    assert finished.read_results()['method'] in outcome.out

  def test_a_folder_without_runs_is_refused(self, command, tmp_path):
    outcome = command('compare.py', f'--runs={tmp_path}', '--out=out')
    assert outcome.code == 1
    assert 'no run directory' in outcome.err


def test_predictions_hold_the_whole_split(finished):
  """Train, validation and test rows of each seed partition the data."""
  predictions = finished.read_predictions()
  for s in range(len(predictions['seed'])):
    parts = [
      predictions[name][s] for name in ('train_row', 'validation_row', 'row')
    ]
    rows = np.concatenate([part[part >= 0] for part in parts])
    assert sorted(rows) == list(range(200))


@pytest.mark.filterwarnings('ignore::sklearn.exceptions.UndefinedMetricWarning')
def test_numbers_follow_from_the_predictions(finished, rows_of):
  """What a reader computes from predictions.npz is what the table says."""
  predictions = finished.read_predictions()
  rows = rows_of(finished)
  for s, seed in enumerate(predictions['seed']):
    here = predictions['row'][s] >= 0
    y, p = predictions['y'][s][here], predictions['marginals'][s][here]
    for decoder in ('hamming', 'f_beta'):
      d = predictions[f'decision_{decoder}'][s][here]
      found = numbers(rows, decoder)
      for metric, value in {
        'subset_accuracy': sk.accuracy_score(y, d),
        'hamming_loss': sk.hamming_loss(y, d),
        'f1_example': sk.f1_score(y, d, average='samples', zero_division=1),
        'f1_micro': sk.f1_score(y, d, average='micro'),
        'f1_macro': sk.f1_score(y, d, average='macro', zero_division=0),
        'map': sk.average_precision_score(y, p, average='macro'),
        'lrap': sk.label_ranking_average_precision_score(y, p),
        'auc_macro': sk.roc_auc_score(y, p, average='macro'),
      }.items():
        key = (int(seed), -1, 'test', metric)
        assert found[key] == pytest.approx(value, abs=2e-6), metric


def test_a_done_run_is_skipped_and_shown(finished, command, contents):
  before = contents(finished.path)
  outcome = command('train.py', f'--flagfile={finished.flags_path}')
  assert outcome.code == 0
  assert 'is done; nothing to do' in outcome.err
  assert 'f1_example' in outcome.out
  assert contents(finished.path) == before


@pytest.mark.slow
def test_a_missing_result_is_made_again(copied, rows_of, tiny, command):
  """What DONE vouches for and is gone is computed again, from checkpoints."""
  wanted = rows_of(copied)
  study = copied.path.parent / 'again' / 'single'
  study.mkdir(parents=True)
  run = RunDirectory(study / copied.run_id)
  copied.path.rename(run.path)
  run.results_path.unlink()
  outcome = command(
    'train.py',
    *flags_of(tiny(decoders=('hamming', 'f_beta'))),
    f'--workdir={study.parent}',
  )
  assert outcome.code == 0, outcome.err
  assert 'finishing it again' in outcome.err
  assert rows_of(run) == wanted


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore::sklearn.exceptions.UndefinedMetricWarning')
def test_a_finished_run_by_another_convention(copied, command, rows_of):
  outcome = command(
    'evaluate.py', f'--run={copied.path}', '--metric_convention=sklearn'
  )
  assert outcome.code == 0, outcome.err
  (path,) = (copied.path / 'evaluations').iterdir()
  assert path.name == 'sklearn.json'
  theirs, ours = json.loads(path.read_text()), rows_of(copied)
  found = copied.read_predictions()
  empty = 0
  for s, seed in enumerate(found['seed']):
    here = found['row'][s] >= 0
    y, d = found['y'][s][here], found['decision_hamming'][s][here]
    key = (int(seed), -1, 'test', 'f1_example')
    f1 = sk.f1_score(y, d, average='samples')
    assert numbers(theirs, 'hamming')[key] == pytest.approx(f1)
    nothing = (y.sum(1) + d.sum(1) == 0).sum()
    empty += nothing
    more = nothing / here.sum()
    assert numbers(ours, 'hamming')[key] == pytest.approx(f1 + more)
    for rows in (ours, theirs):
      counts = numbers(rows, 'hamming', 'undefined')
      assert counts[key] == nothing
  assert empty
  assert 'undefined' in outcome.out
