"""Each convention against the program that it is named after.

scikit-learn is called with its defaults; MULAN's measures are written out here
from their definitions (Tsoumakas, Katakis, Vlahavas, Mining multi-label data,
2010; the classes of mulan.evaluation.measure), one row and one label at a time.
"""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk

from mlc import metrics

ROWS, LABELS, CASES = 12, 5, 24
together = functools.partial(zip, strict=True)


def drawn(rng):
  """With empty, full and absent rows and labels, and many equal scores."""
  y = rng.random((ROWS, LABELS)) < rng.choice([0.2, 0.5])
  y[rng.random(ROWS) < 0.2] = False
  y[rng.random(ROWS) < 0.1] = True
  y[:, rng.random(LABELS) < 0.2] = False
  steps = rng.choice([2, 4, 2**20])
  scores = np.round(rng.random((ROWS, LABELS)) * steps) / steps
  decisions = np.where(rng.random((ROWS, LABELS)) < 0.3, ~y, y)
  decisions[rng.random(ROWS) < 0.2] = False
  decisions[:, rng.random(LABELS) < 0.2] = False
  return y.astype(float), decisions.astype(float), scores


@pytest.fixture(scope='module')
def cases():
  rng = np.random.default_rng(5)
  found = [drawn(rng) for _ in range(CASES)]
  # What the conventions differ in has to occur.
  assert np.mean([(y.sum(1) == 0).any() for y, _, _ in found]) > 0.5
  assert 0.2 < np.mean([(y.sum(0) == 0).any() for y, _, _ in found]) < 0.9
  assert np.mean([(d.sum(0) == 0).any() for _, d, _ in found]) > 0.3
  assert np.mean([len(np.unique(s[0])) < LABELS for _, _, s in found]) > 0.4
  return found


def measured(table, cases):
  """Name -> its value on every case, and how often it is undefined there."""
  y, decisions, scores = (
    jnp.asarray(np.stack(part), jnp.float32) for part in together(*cases)
  )
  measure = jax.jit(
    jax.vmap(functools.partial(metrics.measure, table)),
    compiler_options={'xla_backend_optimization_level': 0},
  )
  return measure(metrics.Predictions(y, decisions, scores))


def compared(convention, reference, cases):
  """Every metric of a reference on every case."""
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    rows = [reference(*case) for case in cases]
  table = metrics.multilabel(convention)
  found = measured({name: table[name] for name in rows[0]}, cases)
  for name in rows[0]:
    np.testing.assert_allclose(
      found.values[name],
      [row[name] for row in rows],
      atol=2e-6,
      err_msg=name,
    )


def by_sklearn(y, d, s):
  """All its own defaults."""
  out = {
    'subset_accuracy': sk.accuracy_score(y, d),
    'hamming_loss': sk.hamming_loss(y, d),
    'jaccard_example': sk.jaccard_score(y, d, average='samples'),
    'map': sk.average_precision_score(y, s),
    'auc_macro': sk.roc_auc_score(y, s),
    'lrap': sk.label_ranking_average_precision_score(y, s),
    'coverage_error': sk.coverage_error(y, s),
    'ranking_loss': sk.label_ranking_loss(y, s),
    **{f'ndcg_at_{k}': sk.ndcg_score(y, s, k=k) for k in (1, 3, 5)},
  }
  for average in ('samples', 'micro', 'macro'):
    for name, score in (
      ('precision', sk.precision_score),
      ('recall', sk.recall_score),
      ('f1', sk.f1_score),
    ):
      ours = average.replace('samples', 'example')
      out[f'{name}_{ours}'] = score(y, d, average=average)
  return out


def fractions(y, d):
  """Precision, recall and F1 of one set of pairs.

  1 if there is nothing to find and nothing is found, else 0 / 0 = 0.
  """
  both, true, found = (y * d).sum(), y.sum(), d.sum()
  parts = {'precision': (both, found), 'recall': (both, true)}
  parts['f1'] = 2 * both, true + found
  return {
    name: (above / below if below else 0.0) if true + found else 1.0
    for name, (above, below) in parts.items()
  }


def averaged(parts, name):
  """The mean of each fraction over rows or labels."""
  return {
    f'{key}_{name}': np.mean([part[key] for part in parts]) for key in parts[0]
  }


def by_mulan(y, d, s):
  """Row by row and label by label."""
  union = [max(a, b) for a, b in together(y.ravel(), d.ravel(), strict=True)]
  union = np.reshape(union, y.shape).sum(1)
  both = (y * d).sum(1)
  out = {
    'subset_accuracy': np.mean([(a == b).all() for a, b in together(y, d)]),
    'hamming_loss': np.mean([(a != b).mean() for a, b in together(y, d)]),
    'jaccard_example': np.mean(
      [b / u if u else 1.0 for b, u in together(both, union)]
    ),
    **averaged([fractions(a, b) for a, b in together(y, d)], 'example'),
    **averaged([fractions(a, b) for a, b in together(y.T, d.T)], 'macro'),
    **averaged([fractions(y, d)], 'micro'),
  }
  return out | ranked_by_mulan(y, s) | ordered_by_mulan(y, s)


def ranked_by_mulan(y, s):
  """Measures of the ranking of the labels of each row, which has no ties."""
  precision, coverage, one_error, loss = [], [], [], []
  for true, score in together(y, s):
    labels = range(len(true))
    # Of equal scores the last label is ranked first.
    first = sorted(labels, key=lambda j: (score[j], j), reverse=True)
    rank = {j: 1 + place for place, j in enumerate(first)}
    relevant = [j for j in labels if true[j]]
    others = [j for j in labels if not true[j]]
    one_error.append(0.0 if true[first[0]] else 1.0)
    coverage.append(max((rank[j] - 1 for j in relevant), default=0))
    wrong = [rank[j] > rank[i] for j in relevant for i in others]
    loss.append(np.mean(wrong) if wrong else 0.0)
    if relevant:
      above = [sum(rank[i] <= rank[j] for i in relevant) for j in relevant]
      parts = [a / rank[j] for a, j in together(above, relevant)]
      precision.append(np.mean(parts))
  return {
    'lrap': np.mean(precision),
    'coverage_error': np.mean(coverage),
    'one_error': np.mean(one_error),
    'ranking_loss': np.mean(loss),
  }


def ordered_by_mulan(y, s):
  """Measures of the ranking of the rows of each label."""
  precisions, areas = [], []
  for true, score in together(y.T, s.T):
    # Sorted as Java sorts: rows of equal score stay as they are.
    order = sorted(range(len(true)), key=lambda b: -score[b])
    hits = np.cumsum(true[order])
    if hits[-1]:
      found = [hits[i] / (i + 1) for i in range(len(hits)) if true[order[i]]]
      precisions.append(np.mean(found))
    pairs = [
      (score[a] > score[b]) + 0.5 * (score[a] == score[b])
      for a in np.flatnonzero(true)
      for b in np.flatnonzero(1 - true)
    ]
    areas.append(np.mean(pairs) if pairs else np.nan)
  return {'map': np.mean(precisions), 'auc_macro': np.mean(areas)}


@pytest.mark.slow
def test_sklearn_is_scikit_learn_with_its_defaults(cases):
  compared('sklearn', by_sklearn, cases)


@pytest.mark.slow
def test_mulan_is_mulan(cases):
  compared('mulan', by_mulan, cases)


@pytest.mark.slow
def test_rows_and_labels_that_are_undefined_are_counted(cases):
  """The same ones by every convention, whatever they count."""
  y, d, _ = map(np.stack, together(*cases))
  size = y.sum(2)
  expected = {
    'map': (y.sum(1) == 0).sum(1),
    'lrap': (size == 0).sum(1),
    'ranking_loss': ((size == 0) | (size == LABELS)).sum(1),
    'f1_example': ((size + d.sum(2)) == 0).sum(1),
    'recall_macro': (y.sum(1) == 0).sum(1),
  }
  table = {
    f'{convention} {name}': metrics.multilabel(convention)[name]
    for convention in ('mlc', 'mulan')
    for name in expected
  }
  for key, found in measured(table, cases).undefined.items():
    np.testing.assert_array_equal(found, expected[key.split()[1]], key)


def test_macro_f1_of_classes_that_occur_nowhere():
  """scikit-learn averages over the classes in the truth or the answers."""
  truth, answers = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
  p = metrics.Predictions(
    *(jnp.asarray(np.eye(4)[part], jnp.float32) for part in (truth, answers))
  )
  found = {}
  for convention in metrics.CONVENTIONS:
    table = {'f1': metrics.multiclass(convention)['f1_macro']}
    found[convention] = float(metrics.evaluate(table, p)['f1'])
  own = sk.f1_score(truth, answers, average='macro')
  expected = {
    'mlc': sk.f1_score(
      truth, answers, average='macro', labels=range(4), zero_division=0
    ),
    'sklearn': own,
    'mulan': (2 * own + 2) / 4,
    'skip': own,
  }
  assert found == pytest.approx(expected, abs=1e-6)


def test_a_convention_that_does_not_exist_is_refused():
  with pytest.raises(ValueError, match="Did you mean 'sklearn'"):
    metrics.multilabel('scikitlearn')
  with pytest.raises(ValueError, match="Did you mean 'mulan'"):
    metrics.multiclass('mulen')
