"""How far each method is from the best possible decision.

    python launch.py --study=regret

Synthetic worlds whose p(y | x) is known, so that the expected loss of every
decision, and of the best one, is a sum over all label vectors: no test noise.
The knob `strength` moves the conditional dependence and leaves every marginal
as it is. Expect binary relevance near zero regret in Hamming loss whatever the
strength, and a regret in subset 0/1 loss that grows with it; the chain closes
that gap. About three minutes on two cores.

Each regret is taken apart too: what a method lost by its decoder, by its
calibration, by its threshold, and by its model, which add up to it (see
`mlc.metrics.decomposition`). The parts are drawn for the strongest dependence,
and stand in summary.csv and results.csv as `regret_METRIC_PART`.
"""

from experiments.config import Experiment
from experiments.studies.study import Study, experiment

STRENGTHS = (0, 1, 2, 4)
KINDS = ('chain', 'ising')
# The decoder that is optimal for a loss, by the name of its regret.
OPTIMAL = {
  'regret_hamming_loss': 'hamming',
  'regret_subset_accuracy': 'subset',
  'regret_f1_example': 'f_beta',
  'regret_jaccard_example': 'jaccard',
}
# A search for the mode, beside the mode: what the decoder alone costs.
GREEDY = 'classifier_chain', 'regret_subset_accuracy', 'greedy'


def _conditions(dataset: str, method: str) -> Experiment:
  greedy = ('greedy',) if method == GREEDY[0] else ()
  return experiment(
    dataset,
    method,
    seeds=3,
    optimizer='lbfgs',
    l2s=(0.3, 3.0, 30.0),
    decoders=(*OPTIMAL.values(), *greedy),
    stratify=False,
  )


REGRET = Study(
  question='How far is each method from the best possible decision?',
  datasets=tuple(
    f'synthetic:{kind},strength={strength},labels=6,examples=6000'
    for kind in KINDS
    for strength in STRENGTHS
  ),
  methods=('binary_relevance', 'classifier_chain', 'label_powerset'),
  conditions=_conditions,
  metrics=(
    'regret_hamming_loss',
    'regret_subset_accuracy',
    'regret_f1_example',
    'regret_jaccard_example',
    'regret_ranking_loss',
    'subset_accuracy',
    'nll',
  ),
)
