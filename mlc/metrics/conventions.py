"""Which metrics there are, and what they count where they are undefined.

The same predictions have different values by different programs, which differ
in what they do with rows without a label, labels without a row, labels that
nobody predicts, and equal scores. A convention is one program's way:

`mlc` (the defaults of the factories): scikit-learn's values, where it has one,
  with zero_division=1 for metrics by example and 0 for those by label; a label
  without an AUC is left out.
`sklearn`: scikit-learn's own defaults to the letter: 0 for every division by
  zero, no AUC if some label has none; in multi-class, macro F1 over the classes
  that occur. Of what it does not have (one-error, the first k places but for
  nDCG, calibration) it is `mlc`.
`mulan`: the measures of MULAN 1.4 and 1.5. Its InformationRetrievalMeasures
  count 1 where nothing is true and nothing predicted, and 0 for any other
  division by zero: of rows in ExampleBasedAccuracy, -FMeasure, -Precision and
  -Recall, of labels in MacroFMeasure, -Precision and -Recall, of all pairs in
  MicroFMeasure, -Precision and -Recall. AveragePrecision (`lrap`) leaves out
  rows without a label, Coverage counts places from 0 and 0 for such a row,
  OneError 1, RankingLoss 0, also for rows with all labels (until 1.2 these were
  left out). Equal scores are ranked by MultiLabelOutput.ranksFromValues, the
  last label first (it takes scores less than 1e-6 apart for equal, which is not
  done here). MeanAveragePrecision (`map`) leaves out labels without a row and
  takes rows of equal score in their order; MacroAUC has no value if some label
  has none (after 1.5 such a label counts 1/2). Rows of which some label is
  unknown, which MULAN leaves out, are measured on the others, as everywhere
  here. Of what it does not have it is `mlc`.
`skip`: whatever is undefined is left out.
"""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from mlc.base import lookup
from mlc.metrics import (
  at_k,
  calibration,
  example_based,
  label_based,
  label_ranking,
  propensity,
  ranking,
)
from mlc.metrics.metric import Direction, Metric, Undefined
from mlc.metrics.multiclass import Ties, top_k_accuracy

# Metrics with a policy, by name; the rest is never undefined, or cannot but
# leave a row out.
_WITH_POLICY: Mapping[str, Callable[..., Metric]] = {
  'jaccard_example': example_based.jaccard_example,
  'f1_example': example_based.f1_example,
  'precision_example': example_based.precision_example,
  'recall_example': example_based.recall_example,
  'precision_micro': label_based.precision_micro,
  'recall_micro': label_based.recall_micro,
  'f1_micro': label_based.f1_micro,
  'precision_macro': label_based.precision_macro,
  'recall_macro': label_based.recall_macro,
  'f1_macro': label_based.f1_macro,
  'map': label_ranking.mean_average_precision,
  'auc_macro': label_ranking.auc_macro,
  'lrap': ranking.lrap,
  'coverage_error': ranking.coverage_error,
  'ranking_loss': ranking.ranking_loss,
  'one_error': ranking.one_error,
  'reciprocal_rank': at_k.reciprocal_rank,
}
_AT_K: Mapping[str, tuple[Callable[..., Metric], tuple[int, ...]]] = {
  'precision_at': (at_k.precision_at_k, (1, 3, 5)),
  'recall_at': (at_k.recall_at_k, (1, 3, 5)),
  # At 1 it is the precision.
  'map_at': (at_k.map_at_k, (3, 5)),
  'ndcg_at': (at_k.ndcg_at_k, (1, 3, 5)),
}
_FRACTIONS = ('jaccard', 'f1', 'precision', 'recall')

# Convention -> metric -> the arguments that differ from the defaults.
_CONVENTIONS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
  'mlc': {},
  'sklearn': {
    **{f'{name}_example': {'undefined': 0} for name in _FRACTIONS},
    'auc_macro': {'undefined': 'nan'},
  },
  'mulan': {
    **{
      f'{name}_{average}': {'undefined': 'vacuous'}
      for name in _FRACTIONS[1:]
      for average in ('example', 'micro', 'macro')
    },
    'map': {'undefined': 'skip', 'ties': 'first'},
    'auc_macro': {'undefined': 'nan'},
    'lrap': {'undefined': 'skip', 'ties': 'last'},
    'coverage_error': {'ties': 'last', 'first': 0},
    'ranking_loss': {'ties': 'last'},
    'one_error': {'ties': 'last'},
  },
  'skip': {
    name: {'undefined': 'skip'}
    for name in (
      *_WITH_POLICY,
      *(f'{name}_{k}' for name, (_, places) in _AT_K.items() for k in places),
    )
  },
}
CONVENTIONS = tuple(_CONVENTIONS)
# Macro F1 over classes, and which of those of equal score go first.
_MULTICLASS: Mapping[str, tuple[Undefined, Ties]] = {
  'mlc': (0, 'last'),
  'sklearn': ('skip', 'last'),
  'mulan': ('vacuous', 'last'),
  'skip': ('skip', 'average'),
}


def multilabel(
  convention: str = 'mlc', **undefined: Undefined
) -> dict[str, Metric]:
  """The metrics of a multi-label data set.

  Args:
    convention: one of CONVENTIONS: what rows and labels count for which a
      metric is undefined, and how equal scores are ranked.
    **undefined: by name of a metric, its own policy: `map='skip'`.

  Returns:
    The metrics, by name, in the order of the results table.

  Raises:
    ValueError: the convention is unknown, or a policy is given for a metric
      that has none.
  """
  options = _options(convention, undefined)
  metrics = [
    example_based.subset_accuracy(),
    label_based.hamming_loss(),
    *(make(**options.get(name, {})) for name, make in _WITH_POLICY.items()),
    *(
      make(k, **options.get(f'{name}_{k}', {}))
      for name, (make, places) in _AT_K.items()
      for k in places
    ),
    *map(propensity.ps_precision_at_k, (1, 3, 5)),
    # At 1 it is the precision.
    *map(propensity.ps_ndcg_at_k, (3, 5)),
    calibration.nll(),
    calibration.ece_label(),
    calibration.brier_label(),
    calibration.ece_set(),
  ]
  return {metric.name: metric for metric in metrics}


def multiclass(
  convention: str = 'mlc', **undefined: Undefined
) -> dict[str, Metric]:
  """The metrics of a data set in which every row has exactly one label.

  Args:
    convention: one of CONVENTIONS; with `skip`, a tie across the k-th place
      counts the expectation over its orders.
    **undefined: by name of a metric, its own policy: `f1_macro='skip'`.

  Returns:
    The metrics, by name, in the order of the results table.

  Raises:
    ValueError: the convention is unknown, or a policy is given for a metric
      that has none.
  """
  # Refuses what does not exist.
  _options(convention, undefined)
  of_f1, ties = _MULTICLASS[convention]
  metrics = [
    example_based.accuracy(),
    top_k_accuracy(3, ties=ties),
    top_k_accuracy(5, ties=ties),
    label_based.f1_macro(undefined=undefined.get('f1_macro', of_f1)),
    calibration.nll(),
    calibration.ece(),
  ]
  return {metric.name: metric for metric in metrics}


def direction(name: str) -> Direction:
  """Whether a higher or a lower value of a metric is better.

  Args:
    name: of a metric, for any k (`precision_at_7`), or `regret_` or
      `uncalibrated_` and the name of a metric.

  Returns:
    'higher' or 'lower'.

  Raises:
    ValueError: there is no such metric.
  """
  if name.startswith('regret_'):
    return 'lower'
  name = name.removeprefix('uncalibrated_')
  return lookup(_any_k(name), _directions(), 'metric')


@functools.cache
def _directions() -> dict[str, Direction]:
  everything = {**multilabel(), **multiclass()}
  return {_any_k(name): m.direction for name, m in everything.items()}


def _any_k(name: str) -> str:
  return re.sub(r'(?<=_)\d+', 'k', name)


def _options(
  convention: str, undefined: Mapping[str, Undefined]
) -> dict[str, Mapping[str, Any]]:
  """The keyword arguments of each metric, where they are not the defaults."""
  options = dict(lookup(convention, _CONVENTIONS, 'convention'))
  for name, policy in undefined.items():
    lookup(name, _CONVENTIONS['skip'], 'metric with a policy')
    options[name] = {**options.get(name, {}), 'undefined': policy}
  return options
