"""Figures and sentences by study: one file each, where there are any.

Apart from the studies, because what draws takes seconds to import: a typo in a
flag is answered sooner.
"""

from collections.abc import Mapping

from experiments.findings import (
  conflicts,
  error_propagation,
  imbalance,
  losses,
  ranking,
  regret,
  softmax_vs_sigmoid,
  thresholds,
  worlds,
)
from experiments.findings.findings import Findings

FINDINGS: Mapping[str, Findings] = {
  'conflicts': conflicts.FINDINGS,
  'error_propagation': error_propagation.FINDINGS,
  'imbalance': imbalance.FINDINGS,
  'losses': losses.FINDINGS,
  'ranking': ranking.FINDINGS,
  'regret': regret.FINDINGS,
  'softmax_vs_sigmoid': softmax_vs_sigmoid.FINDINGS,
  'thresholds': thresholds.FINDINGS,
  'worlds': worlds.FINDINGS,
}
