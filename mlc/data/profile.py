"""What kind of data set this is, in a dozen numbers."""

from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Int

from mlc import dependence
from mlc.data import synthetic
from mlc.data.dataset import Dataset
from mlc.data.imbalance import imbalance_ratios, scumble
from mlc.numerics import pair_information

# Rows of true joints that are worked on at a time.
_BLOCK = 1024


def profile(
  dataset: Dataset, index: Int[np.ndarray, ' rows'] | None = None
) -> dict[str, Any]:
  """Describes a data set, or some of its rows.

  Means and counts are over known labels. All is JSON: a number that is not
  defined is None.

  Args:
    dataset: the data set.
    index: rows to look at; None for all.

  Returns:
    n, d, L: examples, features, labels.
    sparse, feature_density: kind of features, and the share that is not 0.
    cardinality: mean number of labels an example.
    density: cardinality / L.
    distinct_label_sets, most_frequent_share: label sets that occur, and the
      share of the rows that have the most frequent one.
    unlabelled: rows without any label.
    unknown: share of the labels that is unknown.
    constant_labels: names of labels that are always 0 or always 1.
    mean_imbalance_ratio, max_imbalance_ratio: of IRLbl(j) = max_k n_k / n_j,
      n_j the number of positives, over labels that have one.
    scumble: mean over labelled rows of 1 - (geometric mean) / (mean) of the
      IRLbl of the row's labels; how far frequent and rare labels coincide.
    dependence_strength: mean over pairs of labels of I(y_j; y_k) / min(H(y_j),
      H(y_k)), 0 for independent labels and 1 for equal ones; dependence without
      conditioning on x, and a little above 0 by chance alone.
    mean_absolute_phi: mean over pairs of |correlation|.
    total_correlation: sum_j H(y_j) - H(y) in nats with the correction of
      Miller and Madow; None where there are less than ten rows a label set or
      labels are unknown, since the entropy H(y) cannot be estimated then.
    conditional_total_correlation: mean over rows of sum_j H(y_j|x) - H(y|x) in
      nats, where the true p(y|x) is known.

  References:
    Tsoumakas, Katakis, Vlahavas, Mining multi-label data, Data Mining and
    Knowledge Discovery Handbook 2010, section 4.2 (cardinality, density).
    Charte, Rivera, del Jesus, Herrera, Addressing imbalance in multilabel
    classification: measures and random resampling algorithms, Neurocomputing
    163, 2015 (IRLbl); Dealing with difficult minority labels in imbalanced
    multilabel data sets, Neurocomputing 326, 2019 (SCUMBLE).
    Miller, Note on the bias of information estimates, Information Theory in
    Psychology, 1955.
  """
  rows = np.arange(dataset.num_examples) if index is None else index
  x, y = dataset.x[rows], dataset.y[rows].astype(np.float64)
  known = np.ones_like(y)
  if dataset.where is not None:
    known = dataset.where[rows].astype(np.float64)
  positives, seen = y.sum(axis=0), known.sum(axis=0)
  _, of_set = np.unique(dataset.y[rows], axis=0, return_counts=True)
  constant = (positives == 0) | (positives == seen)
  ratios = imbalance_ratios(positives)
  sparse = isinstance(x, scipy.sparse.csr_array)
  nonzero = np.count_nonzero(x.data if sparse else x)
  n, num_labels = y.shape
  return {
    'n': n,
    'd': dataset.num_features,
    'L': num_labels,
    'sparse': sparse,
    'feature_density': float(nonzero / (n * dataset.num_features)),
    'cardinality': float(positives.sum() / n),
    'density': float(positives.sum() / known.sum()),
    'distinct_label_sets': len(of_set),
    'most_frequent_share': float(of_set.max() / n),
    'unlabelled': int((y.sum(axis=1) == 0).sum()),
    'unknown': float(1.0 - known.mean()),
    'constant_labels': [
      dataset.label_names[j] for j in np.flatnonzero(constant)
    ],
    'mean_imbalance_ratio': _mean(ratios[positives > 0]),
    'max_imbalance_ratio': _mean(np.max(ratios[positives > 0], initial=1.0)),
    'scumble': _mean(scumble(y, ratios)[y.sum(axis=1) > 0]),
    **_pairwise(y, known),
    'total_correlation': _total_correlation(y, known, of_set),
    'conditional_total_correlation': _conditional(dataset, rows),
  }


def _mean(values) -> float | None:
  return float(np.mean(values)) if np.size(values) else None


def _pairwise(y, known) -> dict[str, float | None]:
  """Mutual information and correlation over rows where both are known."""
  pairs = dependence.count_pairs(y, known > 0)
  p_j, p_k = pairs.p, pairs.p.T
  information = pair_information(pairs.both, pairs.p)
  least = np.minimum(dependence.entropy(p_j), dependence.entropy(p_k))
  with np.errstate(divide='ignore', invalid='ignore'):
    share = information / least
    deviation = np.sqrt(p_j * (1.0 - p_j) * p_k * (1.0 - p_k))
    phi = np.abs(pairs.both - p_j * p_k) / deviation
  # A constant label has no entropy, and nothing depends on it.
  varying = pairs.varying
  return {
    'dependence_strength': dependence.mean_over_pairs(share, varying),
    'mean_absolute_phi': dependence.mean_over_pairs(phi, varying),
  }


def _total_correlation(y, known, of_set) -> float | None:
  n = y.shape[0]
  if not known.all() or 10 * len(of_set) > n:
    return None
  p = y.mean(axis=0)
  share = of_set / n
  varying = int(np.sum((p > 0) & (p < 1)))
  single = dependence.entropy(p).sum() + varying / (2.0 * n)
  whole = -np.sum(share * np.log(share)) + (len(of_set) - 1) / (2.0 * n)
  return float(max(single - whole, 0.0))


def _conditional(dataset: Dataset, rows) -> float | None:
  if dataset.log_joint is None:
    return None
  blocks = np.array_split(rows, -(-len(rows) // _BLOCK))
  totals = [
    synthetic.total_correlation(dataset.log_joint[block]).sum()
    for block in blocks
  ]
  return float(sum(totals) / len(rows))
