"""Studies by name: one small file each."""

from collections.abc import Mapping

from experiments.studies.classic import CLASSIC
from experiments.studies.dependence import DEPENDENCE
from experiments.studies.regret import REGRET
from experiments.studies.study import Study

STUDIES: Mapping[str, Study] = {
  'dependence': DEPENDENCE,
  'classic': CLASSIC,
  'regret': REGRET,
}
