import csv
import dataclasses
import io

import numpy as np
import pytest
import scipy.stats

from mlc.report import cost, dependence, html
from mlc.report.records import Candidate
from mlc.report.vocabulary import measure
from mlc.report.writing import write_report

BASE = 'binary_relevance'
SETS = ('weak', 'strong', 'middle')
STRENGTH = {'weak': 0.02, 'middle': 0.1, 'strong': 0.3}


def _dependence(correlation, seeds=3):
  runs = [
    {
      'seed': seed,
      'fold': -1,
      'residual': {
        'correlation': correlation + 0.01 * (seed - 1),
        'information': correlation**2 / 2,
        'largest_z': 5.0,
        'p_value': 0.5 if correlation < 0.05 else 1e-9,
        'dependent_share': 0.25 * seed,
        'pairs': 15,
      },
      'strongest': [{'labels': ['sea', 'sand'], 'correlation': 0.4, 'z': 5.0}],
      'model': 0.0,
      'exactness': 'closed-form',
    }
    for seed in range(seeds)
  ]
  labels = {
    'information': 0.03,
    'tree_information': 0.2,
    'plug_in': 0.9,
    'by_chance': None,
    'total_correlation': None,
  }
  return {'labels': labels, 'truth': {'information': 0.0123}, 'runs': runs}


@pytest.fixture
def records(record_of):
  """Chains gain in subset accuracy as dependence grows, nothing else."""
  made = []
  rng = np.random.default_rng(0)
  for name in SETS:
    for method in (BASE, 'chain', 'graph'):
      gain = {'chain': 0.5, 'graph': 0.1}.get(method, 0.0) * STRENGTH[name]
      noise = rng.normal(0, 0.002, 3)
      values = {
        ('test', 'subset', 'subset_accuracy'): list(0.3 + gain + noise),
        ('test', 'hamming', 'subset_accuracy'): [0.1, 0.1, 0.1],
        ('test', 'hamming', 'hamming_loss'): list(0.2 + noise),
      }
      record = record_of(method, values, dataset=name)
      facts = _dependence(STRENGTH[name]) if method == BASE else {}
      made.append(dataclasses.replace(record, dependence=facts))
  return made


def test_strengths_are_of_the_baseline_weakest_first(records):
  found = dependence.strengths(records, BASE)
  assert [s.dataset for s in found] == ['weak', 'middle', 'strong']
  first = found[0]
  assert first.residual.mean == pytest.approx(0.02)
  assert first.residual.n == 3
  assert first.residual.half_width is not None
  assert first.share == pytest.approx(0.25)
  assert first.truth == 0.0123
  assert first.total is None
  assert first.strongest == ('sea', 'sand', 0.4)
  assert dependence.strengths(records, 'chain') == ()


def test_a_diverged_seed_is_left_out(records):
  lost = Candidate(2, -1, None, None, None, float('nan'), True, True)
  records[0] = dataclasses.replace(records[0], candidates=(lost,))
  found = dependence.strengths(records, BASE)[0]
  assert found.residual.n == 2
  assert found.residual.mean == pytest.approx(0.015)


def test_gains_have_the_same_decoder_on_both_sides(records):
  found = dependence.points(records, measure('subset_accuracy'), BASE)
  assert len(found) == 6
  for point in found:
    weight = {'chain': 50, 'graph': 10}[point.method]
    expected = weight * STRENGTH[point.dataset]
    # Not the 20 points that the other decoder would add.
    assert abs(point.gain.mean - expected) < 1.0


def test_the_caption_tells_the_data_sets_and_the_trend_of_five(records):
  text = dependence.caption(records, BASE)
  assert '1 weak; 2 middle; 3 strong' in text
  assert 'Rank correlation' not in text
  more = [
    dataclasses.replace(
      r,
      dataset=f'{r.dataset} {i}',
      run_id=f'{r.run_id}{i}',
      dependence=_dependence(STRENGTH[r.dataset] + i / 100)
      if r.method == BASE
      else {},
    )
    for i in range(2)
    for r in records
  ]
  strength = [STRENGTH[name] + i / 100 for i in range(2) for name in SETS]
  gains = [
    np.median(
      [
        p.gain.mean
        for p in dependence.points(more, measure('subset_accuracy'), BASE)
        if p.dataset == f'{name} {i}'
      ]
    )
    for i in range(2)
    for name in SETS
  ]
  rho = scipy.stats.spearmanr(strength, gains).statistic
  assert rho > 0.8
  text = dependence.caption(more, BASE)
  assert 'over the 6 data sets' in text
  assert f'subset accuracy {rho:+.2f}' in text


@pytest.mark.slow
def test_two_data_sets_make_a_table_and_no_picture(records, tmp_path):
  text = write_report(tmp_path, records).page.read_text()
  assert 'Gain against dependence' in text
  assert 'Data sets by strength' in text
  assert (tmp_path / 'figures' / 'dependence.svg').exists()
  pdf = (tmp_path / 'figures' / 'dependence.pdf').read_bytes()
  assert pdf.startswith(b'%PDF')
  two = [r for r in records if r.dataset != 'middle']
  text = html.page(two)
  assert 'How dependent the labels are' in text
  assert 'Data sets by strength' not in text
  assert not dependence.forms(two, BASE)


def test_runs_that_measured_nothing_leave_the_page_as_it_was(records):
  bare = [dataclasses.replace(r, dependence={}) for r in records]
  text = html.page(bare)
  assert 'How dependent the labels are' not in text


@pytest.mark.slow
def test_what_the_models_hold_for_true_stands_beside_the_truth(records):
  graph = _dependence(0.1)
  for run in graph['runs']:
    run['model'] = 0.02 + 0.001 * run['seed']
  records[2] = dataclasses.replace(records[2], dependence=graph)
  none = _dependence(0.1)
  for run in none['runs']:
    run['model'] = None
  records[1] = dataclasses.replace(records[1], dependence=none)
  found = dependence.of_models(records)
  assert found['weak', 'graph'] == pytest.approx(0.021)
  assert found['weak', BASE] == 0.0
  assert ('weak', 'chain') not in found
  text = html.page(records)
  assert 'Dependence given x in the trained models' in text
  assert '<td class="n">0.021</td>' in text


def test_many_methods_look_different():
  looks = [dependence.look(i) for i in range(64)]
  assert len({(x['color'], x['marker']) for x in looks}) == 64


def _candidates(count):
  return tuple(
    Candidate(i % 3, -1, 0.1, float(i // 3), 1, 1.0, False, i < 3)
    for i in range(count)
  )


@pytest.mark.slow
def test_cost_is_told_side_by_side(records):
  size = {BASE: 100, 'chain': 150, 'graph': 300}
  priced = [
    dataclasses.replace(
      r,
      parameters=size[r.method] * (2 if r.dataset == 'weak' else 1),
      seconds={'train': size[r.method] / 50, 'compile': 1.0},
      candidates=_candidates(6 if r.method == 'graph' else 12),
    )
    for r in records
  ]
  told = {c.method: c for c in cost.costs(priced, BASE)}
  chain = told['chain']
  assert chain.parameters == (150, 300)
  assert chain.parameter_ratio == 1.5
  assert chain.train_seconds == 9.0
  assert chain.train_ratio == 1.5
  assert (chain.settings, chain.runs, chain.datasets) == ((4, 4), 36, 3)
  assert told['graph'].settings == (2, 2)
  text = html.page(priced)
  assert 'The search budgets differ between methods.' in text
  rows = list(csv.DictReader(io.StringIO(cost.cost_csv(priced))))
  assert len(rows) == 9
  assert rows[0]['parameters'] == '200'
  assert rows[0]['evaluate_seconds'] == ''
  assert float(rows[1]['train_seconds']) == 3.0


def test_a_failed_run_is_a_row_of_the_cost_and_no_number(records):
  records[1] = dataclasses.replace(records[1], status='failed', rows=())
  rows = list(csv.DictReader(io.StringIO(cost.cost_csv(records))))
  assert rows[1]['status'] == 'failed'
  assert rows[1]['parameters'] == ''
  chain = next(c for c in cost.costs(records, BASE) if c.method == 'chain')
  assert chain.datasets == 2
  assert chain.parameters is None and chain.train_ratio is None
