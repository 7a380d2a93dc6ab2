"""What thresholds lose, and which losses rank well.

    python launch.py --study=ranking
    python launch.py --study=ranking --datasets=emotions,scene --data_dir=DIR

One network and one budget; only the loss differs: of one label at a time
(cross-entropy, focal, asymmetric), of pairs (pairwise logistic, LSEP, ZLPR), of
lists (ListNet, approximate nDCG); and calibrated_ranking, which votes on pairs.
All are measured as rankings, which no threshold touches. From the same scores
sets are cut: at 1/2, at one threshold for all labels or one a label, fitted on
validation rows, at the widest gap of a row; and, as what the ranking would
allow, at the best place of each test row, which nobody can know.

18 runs: 3 minutes 11 seconds on two cores. Expect losses to differ little as
rankings (nDCG@3 of 72 to 75 on yeast, of 64 to 65 on movies, where pairwise
logistic leads cross-entropy by 0.8 points and approximate nDCG trails with 61)
and a lot at a threshold of 1/2 (F1 by example of 60 to 65 on yeast, of 36 to 46
on movies). One fitted threshold brings most of that back (63 to 65, 46 to 50),
and the best cut of each row would have 14 to 16 points more on yeast, 22 to 26
on movies.
"""

from typing import Any

from experiments.config import Experiment
from experiments.studies.study import Study, experiment

BASE = 'sigmoid_cross_entropy'
RANKING_LOSSES = (
  BASE,
  'focal',
  'asymmetric',
  'pairwise_logistic',
  'lsep',
  'zlpr',
  'listnet',
  'approx_ndcg',
)
RANKED = (
  'map',
  'map_at_3',
  'ndcg_at_3',
  'precision_at_3',
  'recall_at_3',
  'reciprocal_rank',
  'ranking_loss',
)
# The metric by which losses are put in order, and that of sets.
BY, OF_SETS = 'ndcg_at_3', 'f1_example'


def _conditions(dataset: str, method: str) -> list[Experiment]:
  common: dict[str, Any] = {
    'decoders': ('hamming', 'pooled_f', 'tuned_f', 'mcut'),
    'encoder': 'mlp',
    'regrets': False,
    'compilation': 'quick',
    'seeds': 3,
  }
  if dataset == 'movies':
    conditions: dict[str, Any] = {
      'options': {'encoder.width': 64},
      'learning_rates': (3e-3, 1e-2),
      'l2s': (0.1, 1.0),
      'epochs': 4,
      'batch_size': 256,
    }
  else:
    conditions = {
      'learning_rates': (1e-3, 1e-2),
      'l2s': (0.1, 1.0),
      'epochs': 30,
      'batch_size': 64,
      'patience': 8,
    }
  losses = RANKING_LOSSES if method == 'binary_relevance' else ('',)
  return [
    experiment(dataset, method, loss=loss, **common, **conditions)
    for loss in losses
  ]


RANKING = Study(
  question='What do thresholds lose, and which losses rank well?',
  datasets=('yeast', 'movies'),
  methods=('binary_relevance', 'calibrated_ranking'),
  conditions=_conditions,
  metrics=(*RANKED, OF_SETS, 'f1_macro'),
)
