"""Linear classifier chains as the literature has them.

    python launch.py --study=classic --data_dir=DIR \
      --datasets=emotions,scene,yeast --split=given
    python launch.py --study=classic --data_dir=DIR \
      --datasets=emotions,scene,yeast --split=kfold --folds=10 --seeds=5

L2 logistic regression with C = 1 to convergence, natural label order, features
standardised on the training part, inference by enumeration up to 16 labels. On
MULAN's split of scene expect a subset accuracy of 44.4 % for binary relevance
and of 53.5 % for the chain with the subset rule.
"""

from experiments.config import Experiment
from experiments.studies.study import Study, experiment

METRICS = (
  'hamming_loss',
  'subset_accuracy',
  'f1_example',
  'f1_micro',
  'f1_macro',
  'jaccard_example',
  'nll',
)


def _conditions(dataset: str, method: str) -> Experiment:
  chain = method != 'binary_relevance'
  return experiment(
    dataset,
    method,
    seeds=1,
    optimizer='lbfgs',
    l2s=(1.0,),
    validation_fraction=0.0,
    stratify=False,
    standardize='true',
    decoders=('hamming', 'subset', 'f_beta', 'greedy')
    if chain
    else ('hamming', 'f_beta'),
  )


CLASSIC = Study(
  question='What do linear chains gain over binary relevance, rule by rule?',
  datasets=('yeast',),
  methods=('binary_relevance', 'classifier_chain'),
  conditions=_conditions,
  metrics=METRICS,
)
