"""Which metrics there are, and what they count where they are undefined."""

import functools
import re
from collections.abc import Callable, Mapping

from mlc.base import lookup
from mlc.metrics import (
  calibration,
  example_based,
  label_based,
  label_ranking,
  ranking,
)
from mlc.metrics.metric import Direction, Metric, Undefined
from mlc.metrics.multiclass import Ties, top_k_accuracy

# Metrics with a policy, by name; the rest is never undefined, or cannot but
# leave a row out.
_WITH_POLICY: Mapping[str, Callable[..., Metric]] = {
  'jaccard_example': example_based.jaccard_example,
  'f1_example': example_based.f1_example,
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
}
_AT_K: Mapping[str, Callable[..., Metric]] = {
  'precision_at': ranking.precision_at_k,
  'ndcg_at': ranking.ndcg_at_k,
}
PLACES = (1, 3, 5)

# 'sklearn': scikit-learn's values, where it has one, with zero_division=1 for
# the metrics by example and 0 for those by label; a label without an AUC, for
# which scikit-learn gives NaN, is left out. They are the defaults of the
# factories.
# 'skip': whatever is undefined is left out.
CONVENTIONS = ('sklearn', 'skip')


def multilabel(
  convention: str = 'sklearn', **undefined: Undefined
) -> dict[str, Metric]:
  """The metrics of a multi-label data set.

  Args:
    convention: `sklearn` or `skip`: what rows and labels count for which a
      metric is undefined, see CONVENTIONS.
    **undefined: by name of a metric, its own policy: `map='skip'`.

  Returns:
    The metrics, by name, in the order of the results table.

  Raises:
    ValueError: the convention is unknown, or a policy is given for a metric
      that has none.
  """
  policies = _policies(convention, undefined)
  metrics = [
    example_based.subset_accuracy(),
    label_based.hamming_loss(),
    *(make(**policies[name]) for name, make in _WITH_POLICY.items()),
    *(
      make(k, **policies[f'{name}_{k}'])
      for name, make in _AT_K.items()
      for k in PLACES
    ),
    calibration.nll(),
    calibration.ece_label(),
    calibration.brier_label(),
    calibration.ece_set(),
  ]
  return {metric.name: metric for metric in metrics}


def multiclass(
  convention: str = 'sklearn', **undefined: Undefined
) -> dict[str, Metric]:
  """The metrics of a data set in which every row has exactly one label.

  Args:
    convention: `sklearn` or `skip`, see CONVENTIONS; with `skip`, a tie across
      the k-th place counts the expectation over its orders.
    **undefined: by name of a metric, its own policy: `f1_macro='skip'`.

  Returns:
    The metrics, by name, in the order of the results table.

  Raises:
    ValueError: the convention is unknown, or a policy is given for a metric
      that has none.
  """
  policies = _policies(convention, undefined)
  ties: Ties = 'last' if convention == 'sklearn' else 'average'
  metrics = [
    example_based.accuracy(),
    top_k_accuracy(3, ties=ties),
    top_k_accuracy(5, ties=ties),
    label_based.f1_macro(**policies['f1_macro']),
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


def _policies(
  convention: str, undefined: Mapping[str, Undefined]
) -> dict[str, dict[str, Undefined]]:
  """The keyword arguments of each metric with a policy."""
  lookup(convention, dict.fromkeys(CONVENTIONS), 'convention')
  names = [*_WITH_POLICY, *(f'{name}_{k}' for name in _AT_K for k in PLACES)]
  table: dict[str, dict[str, Undefined]] = {
    name: {} if convention == 'sklearn' else {'undefined': 'skip'}
    for name in names
  }
  for name, policy in undefined.items():
    lookup(name, table, 'metric with a policy')
    table[name] = {'undefined': policy}
  return table
