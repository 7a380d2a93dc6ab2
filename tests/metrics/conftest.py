"""Random cases, and what scikit-learn makes of them."""

import typing
import warnings

import numpy as np
import pytest
import sklearn
from sklearn import metrics as sk

# (rows, labels): cases; 2,000 in all, many with unknown labels.
SHAPES = {
  (1, 2): 400,
  (6, 3): 500,
  (12, 4): 350,
  (17, 2): 400,
  (25, 6): 150,
  (40, 4): 120,
  (8, 9): 50,
  (10, 14): 30,
}


class Case(typing.NamedTuple):
  """float64, every score exact in float32 so that ties are ties in both."""

  y: np.ndarray
  decisions: np.ndarray
  scores: np.ndarray
  where: np.ndarray
  weight: np.ndarray


def make_case(rng, n, num_labels, masked) -> Case:
  y = rng.random((n, num_labels)) < rng.choice([0.1, 0.3, 0.6])
  y[rng.random(n) < 0.2] = 0  # rows without a label
  y[rng.random(n) < 0.1] = 1
  y[:, rng.random(num_labels) < 0.15] = 0  # absent labels
  steps = rng.choice([1, 2, 8, 2**20])  # from all tied to hardly any
  scores = np.round(rng.random((n, num_labels)) * steps) / steps
  decisions = np.where(rng.random((n, num_labels)) < 0.3, ~y, y)
  decisions[rng.random(n) < 0.2] = 0
  decisions[:, rng.random(num_labels) < 0.15] = 0
  where = np.ones((n, num_labels), bool)
  if masked:
    # Two patterns, each with two known labels at least. Some labels are known
    # in neither.
    patterns = rng.random((2, num_labels)) < 0.6
    patterns[patterns.sum(-1) < 2] = True
    where = patterns[rng.integers(0, 2, n)]
  weight = np.ones(n)
  if rng.random() < 0.6:
    weight = rng.integers(0, 5, n) / 2
    weight[rng.integers(n)] = 1.5
  return Case(
    (y & where).astype(float),
    decisions.astype(float),
    scores,
    where,
    weight,
  )


def make_cases(seed) -> list[Case]:
  rng = np.random.default_rng(seed)
  return [
    make_case(rng, *shape, masked=i % 3 == 0)
    for shape, count in SHAPES.items()
    for i in range(count)
  ]


def expected_hits(y, s, k):
  """Mean over the orders of ties of the true labels among the first k."""
  k = min(k, s.shape[1])
  cut = -np.sort(-s, axis=1)[:, k - 1 : k]
  above, tied = s > cut, s == cut
  share = (k - above.sum(1)) / tied.sum(1)
  return (y * above).sum(1) + share * (y * tied).sum(1)


def by_row(y, d, s, w, skip) -> dict[str, tuple[float, float]]:
  """Metric: (mean, weight) over rows that know the same labels."""
  labels = y.shape[1]
  total = w.sum()
  out = {}

  def mean(name, function, *arrays, rows=None, **options):
    """Of the rows where the metric is defined, if these are asked for."""
    rows = np.ones(len(w), bool) if rows is None or not skip else rows
    weight = w[rows].sum()
    value = 0.0
    if weight > 0:
      arrays = [a[rows] for a in arrays]
      value = function(*arrays, sample_weight=w[rows], **options)
    out[name] = value, weight

  size = y.sum(1)
  some, mixed = size > 0, (size > 0) & (size < labels)
  met = (size + d.sum(1)) > 0
  mean('subset_accuracy', sk.accuracy_score, y, d)
  options = {'average': 'samples', 'zero_division': 1}
  mean('jaccard_example', sk.jaccard_score, y, d, rows=met, **options)
  mean('f1_example', sk.f1_score, y, d, rows=met, **options)
  for name, function, rows in (
    ('precision_example', sk.precision_score, d.sum(1) > 0),
    ('recall_example', sk.recall_score, some),
  ):
    mean(name, function, y, d, rows=rows, **options)
  mean('lrap', sk.label_ranking_average_precision_score, y, s, rows=some)
  mean('coverage_error', sk.coverage_error, y, s, rows=some)
  mean('ranking_loss', sk.label_ranking_loss, y, s, rows=mixed)
  for k in (1, 3, 5):
    mean(f'ndcg_at_{k}', sk.ndcg_score, y, s, rows=some, k=k)
    rows = some if skip else np.ones_like(some)
    hits = expected_hits(y, s, k)[rows]
    weight = w[rows].sum()
    value = (w[rows] @ hits) / max(weight, 1e-9) / min(k, labels)
    out[f'precision_at_{k}'] = value, weight
  value, weight = out['precision_at_1']
  out['one_error'] = 1 - value, weight
  assert total > 0
  return out


def by_label(y, d, s, w, known, skip) -> dict[str, float]:
  """Means over labels, each on the rows that know it."""
  nan = np.nan if skip else 0.0
  columns = [[] for _ in range(5)]
  if known.all():
    columns[:3] = sk.precision_recall_fscore_support(
      y, d, sample_weight=w, average=None, zero_division=nan
    )[:3]
  for j in range(y.shape[1]):
    rows = (w * known[:, j]) > 0
    if not rows.any():
      continue
    yj, dj, sj, wj = y[rows, j], d[rows, j], s[rows, j], w[rows]
    if not known.all():
      counts = sk.precision_recall_fscore_support(
        yj, dj, sample_weight=wj, labels=[1], average=None, zero_division=nan
      )
      for column, count in zip(columns, counts[:3], strict=False):
        column.append(count[0])
    both = 0 < yj.sum() < len(yj)
    ap = nan
    if yj.any():
      ap = sk.average_precision_score(yj, sj, sample_weight=wj)
    columns[3].append(ap)
    auc = sk.roc_auc_score(yj, sj, sample_weight=wj) if both else np.nan
    columns[4].append(auc)
  names = ['precision_macro', 'recall_macro', 'f1_macro', 'map', 'auc_macro']
  return dict(zip(names, map(np.nanmean, columns), strict=True))


def pooled(y, d, w, known, skip) -> dict[str, float]:
  """Over all known (row, label) pairs."""
  flat = known.ravel()
  yf, df = y.ravel()[flat], d.ravel()[flat]
  wf = np.repeat(w, y.shape[1])[flat]
  p, r, f, _ = sk.precision_recall_fscore_support(
    yf,
    df,
    sample_weight=wf,
    labels=[1],
    average='macro',
    zero_division=np.nan if skip else 0.0,
  )
  wrong = 1 - sk.accuracy_score(yf, df, sample_weight=wf)
  return {
    'hamming_loss': wrong,
    'precision_micro': p,
    'recall_micro': r,
    'f1_micro': f,
  }


def reference(case: Case, skip: bool) -> dict[str, float]:
  """Every metric by scikit-learn; the rows by pattern of known labels."""
  y, d, s, known, w = case
  with (
    warnings.catch_warnings(),
    sklearn.config_context(assume_finite=True, skip_parameter_validation=True),
  ):
    warnings.simplefilter('ignore')
    sums: dict[str, list] = {}
    for pattern in np.unique(known, axis=0):
      rows = (known == pattern).all(1)
      if w[rows].sum() == 0:
        continue
      parts = [a[rows][:, pattern] for a in (y, d, s)]
      for name, part in by_row(*parts, w[rows], skip).items():
        sums.setdefault(name, []).append(part)
    out = {}
    for name, parts in sums.items():
      value, weight = np.array(parts).T
      out[name] = value @ weight / weight.sum() if weight.sum() else np.nan
    out |= by_label(y, d, s, w, known, skip)
    out |= pooled(y, d, w, known, skip)
  return out


# scikit-learn takes a minute for all cases: an eighth is the quick test.
STEPS = [8, pytest.param(1, marks=pytest.mark.slow)]


@pytest.fixture(scope='session', params=STEPS, ids=['some', 'all'])
def cases(request) -> list[Case]:
  return make_cases(0)[:: request.param]


@pytest.fixture(scope='session')
def expected(cases):
  """Metric: values over the cases."""
  return columns([reference(case, skip=False) for case in cases])


@pytest.fixture(scope='session')
def expected_skip(cases):
  """The same for every fourth case, without undefined rows and labels."""
  return columns([reference(case, skip=True) for case in cases[::4]])


def columns(rows: list[dict]) -> dict[str, np.ndarray]:
  return {name: np.array([row[name] for row in rows]) for name in rows[0]}
