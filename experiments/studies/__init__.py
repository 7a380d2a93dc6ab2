"""Studies by name: one small file each."""

from collections.abc import Mapping

from experiments.studies.classic import CLASSIC
from experiments.studies.conflicts import CONFLICTS
from experiments.studies.dependence import DEPENDENCE
from experiments.studies.error_propagation import ERROR_PROPAGATION
from experiments.studies.imbalance import IMBALANCE
from experiments.studies.losses import LOSS_STUDY
from experiments.studies.ranking import RANKING
from experiments.studies.regret import REGRET
from experiments.studies.softmax_vs_sigmoid import SOFTMAX_VS_SIGMOID
from experiments.studies.study import Study
from experiments.studies.thresholds import THRESHOLDS
from experiments.studies.worlds import WORLDS

STUDIES: Mapping[str, Study] = {
  'dependence': DEPENDENCE,
  'classic': CLASSIC,
  'regret': REGRET,
  'losses': LOSS_STUDY,
  'softmax_vs_sigmoid': SOFTMAX_VS_SIGMOID,
  'ranking': RANKING,
  'conflicts': CONFLICTS,
  'error_propagation': ERROR_PROPAGATION,
  'imbalance': IMBALANCE,
  'thresholds': THRESHOLDS,
  'worlds': WORLDS,
}
