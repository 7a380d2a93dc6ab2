"""Run directories as a study leaves them, with every trouble a page meets."""

import math
import pathlib
import zlib

import numpy as np
import pytest

from mlc.report.reading import read
from mlc.report.records import Record, Row
from mlc.run_directory import RunDirectory

DECODERS = ('hamming', 'subset', 'f_beta')
SYNTHETIC = 'synthetic:chain,labels=6,examples=4000,dependence=2.5'
LONG = 'ensemble_of_chains_with_random_label_orders'
METHODS = (
  'binary_relevance',
  'classifier_chain',
  LONG,
  'label_attention',
  'label_powerset',
)
METRICS = (
  'subset_accuracy',
  'hamming_loss',
  'jaccard_example',
  'f1_example',
  'f1_micro',
  'f1_macro',
  'map',
  'lrap',
  'coverage_error',
  'ranking_loss',
  'precision_at_1',
  'nll',
  'ece_label',
)
# Means of binary relevance with the Hamming rule, roughly those of yeast.
_LEVEL = dict(
  zip(
    METRICS,
    (0.15, 0.2, 0.5, 0.61, 0.64, 0.38, 0.5, 0.76, 6.4, 0.17, 0.77, 8.1, 0.04),
    strict=True,
  )
)
_DECODER = {  # added by a decoder, whatever the method
  'hamming': {},
  'subset': {'subset_accuracy': 0.02, 'hamming_loss': 0.006},
  'f_beta': {
    'subset_accuracy': -0.02,
    'hamming_loss': 0.025,
    'f1_example': 0.045,
    'f1_micro': 0.03,
    'f1_macro': 0.05,
    'jaccard_example': 0.03,
  },
}
_METHOD = {  # added by a method, whatever the decoder
  'binary_relevance': {},
  'classifier_chain': {'subset_accuracy': 0.04, 'nll': -0.9, 'map': -0.004},
  LONG: {'subset_accuracy': 0.035, 'hamming_loss': -0.004, 'nll': -1.1},
  'label_attention': {'map': 0.006, 'hamming_loss': -0.001, 'nll': -0.2},
  'label_powerset': {'subset_accuracy': 0.055, 'hamming_loss': 0.01},
}
EXACTNESS = {
  'binary_relevance': {},
  'classifier_chain': {'subset': 'searched', 'hamming': 'estimated'},
  LONG: {'subset': 'searched', 'f_beta': 'estimated'},
  'label_attention': {},
  'label_powerset': {'f_beta': 'enumerated'},
}
PROFILE = {
  'n': 2417,
  'd': 103,
  'L': 14,
  'sparse': False,
  'feature_density': 0.9998,
  'cardinality': 4.237,
  'density': 0.3026,
  'distinct_label_sets': 198,
  'most_frequent_share': 0.0981,
  'unlabelled': 0,
  'unknown': 0.0,
  'constant_labels': [],
  'mean_imbalance_ratio': 7.197,
  'max_imbalance_ratio': 53.41,
  'scumble': 0.1044,
  'dependence_strength': 0.0873,
  'mean_absolute_phi': 0.1921,
  'total_correlation': 1.8801,
  'conditional_total_correlation': None,
}


def rows_of(dataset, method, seeds, folds, rng):
  """The rows of results.json of one run."""
  shift = {'yeast': 0.0, 'movies': -0.03}.get(dataset, 0.06)
  weight = {'yeast': 1.0, 'movies': 0.2}.get(dataset, 1.6)
  rows = []
  for seed in range(seeds):
    for fold in folds:
      for split in ('validation', 'test'):
        # A split is as hard for every method, which is why pairs are compared.
        shared = zlib.crc32(f'{dataset} {seed} {fold} {split}'.encode())
        common = np.random.default_rng(shared).normal(0, 0.008)
        for decoder in DECODERS:
          mine = rng.normal(0, 0.002, len(METRICS))
          for i, metric in enumerate(METRICS):
            scale = 10.0 if _LEVEL[metric] > 1 else 1.0
            ranking = i >= METRICS.index('map')
            made = 0 if ranking else _DECODER[decoder].get(metric, 0)
            made += weight * _METHOD[method].get(metric, 0)
            noise = common if ranking else common + mine[i]
            value = _LEVEL[metric] + shift + made + noise * scale
            rows.append(
              {
                'decoder': decoder,
                'seed': seed,
                'fold': fold,
                'split': split,
                'metric': metric,
                'value': value,
                'exactness': EXACTNESS[method].get(decoder, 'closed-form'),
              }
            )
  return rows


def search_of(seeds, folds, rng):
  """The trained runs: 2 learning rates and 3 penalties a seed and fold."""
  runs = []
  for seed in range(seeds):
    for fold in folds:
      grid = [(lr, l2) for lr in (1e-3, 3e-3) for l2 in (0.0, 0.01, 0.1)]
      losses = 6 + rng.random(len(grid))
      runs += [
        {
          'seed': seed,
          'fold': fold,
          'learning_rate': lr,
          'l2': l2,
          'best_epoch': int(rng.integers(15, 39)),
          'validation_loss': float(loss),
          'diverged': False,
          'selected': bool(loss == losses.min()),
        }
        for (lr, l2), loss in zip(grid, losses, strict=True)
      ]
  return runs


def curves_of(runs, rng, epochs=40):
  """The lines of metrics.jsonl, one an epoch, all runs in lists."""
  rate = np.array([60 * run['learning_rate'] for run in runs])
  lost = np.array([run['diverged'] for run in runs])
  lines = []
  for epoch in range(epochs):
    train = 5.2 + 5 * np.exp(-epoch * rate) + rng.normal(0, 0.02, len(runs))
    gap = 0.8 + 0.012 * epoch * rate * 10
    validation = train + gap + rng.normal(0, 0.03, len(runs))
    for losses in (train, validation):
      losses[lost & (epoch > 12)] = np.nan
    lines.append(
      {'epoch': epoch, 'train_loss': train, 'validation_loss': validation}
    )
  return lines


def _write_run(study, dataset, method, *, seeds=5, folds=(-1,), change=None):
  """A finished run directory; `change` edits results.json before it is written.

  Returns:
    run_id
  """
  known = {'yeast': 'yeast', 'movies': 'movies'}.get(dataset, 'synthetic-chain')
  run_id = f'{known}-{method}-0123456789'
  rng = np.random.default_rng(zlib.crc32(f'{dataset} {method}'.encode()))
  runs = search_of(seeds, folds, rng)
  results = {
    'study': study.name,
    'run_id': run_id,
    'dataset': dataset,
    'method': method,
    'encoder': 'mlp',
    'head': method,
    'loss': 'nll',
    'settings': {
      'split': 'kfold' if len(folds) > 1 else 'given',
      'folds': len(folds) if len(folds) > 1 else 10,
      'test_fraction': 0.2,
      'standardize': 'true',
      'optimizer': 'adamw',
      'learning_rates': [1e-3, 3e-3],
      'l2s': [0.0, 0.01, 0.1],
      'epochs': 40,
      'patience': 10,
    },
    'rows': rows_of(dataset, method, seeds, folds, rng),
    'runs': runs,
    'profile': PROFILE,
    'notes': ['294 rows carry no label.'],
    'parameters': 15_000 + 131 * len(method),
    'seconds': {'compile': 4.31, 'train': 9.87, 'evaluate': 1.204},
  }
  if change is not None:
    change(results)
  config = {'study': study.name, 'method': method, 'dataset': dataset}
  with RunDirectory(study / run_id).open(config) as directory:
    directory.append_metrics(*curves_of(results['runs'], rng))
    directory.write_results(results)
    directory.mark_done()
  return run_id


def write_failed(study, run_id, dataset, method, error):
  """A run directory that an error ended."""
  config = {'study': study.name, 'method': method, 'dataset': dataset}
  try:
    with RunDirectory(study / run_id).open(config):
      raise error
  except type(error):
    return run_id


def _diverge(results):
  """Seed 3 diverges with every setting."""
  for run in results['runs']:
    if run['seed'] == 3:
      run.update(diverged=True, validation_loss=math.nan)
  for row in results['rows']:
    if row['seed'] == 3:
      row['value'] = math.nan


def _undefine(results):
  for row in results['rows']:
    if row['metric'] == 'f1_macro':
      row['value'] = None
      row['reason'] = 'labels 3 and 7 occur in no test row, policy: none left'


def _holdout(results):
  results['settings']['split'] = 'holdout'


def make_study(study: pathlib.Path) -> list[str]:
  """3 data sets, 5 methods, 3 decoders, 5 seeds, and what can go wrong."""
  ids = []
  for method in METHODS:
    change = _diverge if method == 'classifier_chain' else None
    change = _undefine if method == 'label_powerset' else change
    ids.append(_write_run(study, 'yeast', method, change=change))
  for method in METHODS[:-1]:
    seeds = 1 if method == 'label_attention' else 5
    ids.append(
      _write_run(study, 'movies', method, seeds=seeds, change=_holdout)
    )
  error = ValueError('1187 label sets do not fit in a table of <64 MiB>')
  error.hint = 'Raise --model.num_label_sets, or leave the method out.'
  run_id = 'movies-label_powerset-0123456789'
  ids.append(write_failed(study, run_id, 'movies', 'label_powerset', error))
  for method in METHODS[1:]:
    ids.append(_write_run(study, SYNTHETIC, method))
  return ids


@pytest.fixture(scope='session')
def study_dir(tmp_path_factory) -> pathlib.Path:
  return tmp_path_factory.mktemp('runs') / 'dependence'


@pytest.fixture(scope='session')
def run_ids(study_dir) -> list[str]:
  return make_study(study_dir)


@pytest.fixture(scope='session')
def records(study_dir, run_ids):
  return read(study_dir, run_ids)


def _record_of(
  method,
  values,
  *,
  dataset='toy',
  fold=-1,
  settings=None,
  candidates=(),
  exactness='closed-form',
):
  """A record from {(split, decoder, metric): [a value a seed]}."""
  rows = tuple(
    Row(decoder, seed, fold, split, metric, value, exactness, '')
    for (split, decoder, metric), numbers in values.items()
    for seed, value in enumerate(numbers)
  )
  return Record(
    study='small',
    run_id=f'{dataset}-{method}-0000000000',
    dataset=dataset,
    method=method,
    rows=rows,
    settings=settings or {'split': 'given'},
    candidates=tuple(candidates),
  )


@pytest.fixture
def record_of():
  """Makes a record, see `_record_of`."""
  return _record_of


@pytest.fixture
def write_run():
  """Makes a finished run directory, see `_write_run`."""
  return _write_run
