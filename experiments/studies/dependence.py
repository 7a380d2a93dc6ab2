"""Did modelling the dependence help? The main job: `python launch.py`.

Every method with the same encoder, budget and search on yeast, movies and a
synthetic chain; learning rate and penalty are chosen on validation for every
method alike, and every decoder is given to every method.
"""

from typing import Any

from experiments.config import Experiment
from experiments.studies.study import Study, experiment

METRICS = (
  'subset_accuracy',
  'hamming_loss',
  'f1_example',
  'f1_macro',
  'map',
  'nll',
)


def _conditions(dataset: str, method: str) -> Experiment:
  common: dict[str, Any] = {
    'decoders': ('hamming', 'subset', 'f_beta'),
    'encoder': 'mlp',
    'options': _OPTIONS.get(method, {}),
  }
  if dataset == 'movies':
    return experiment(
      dataset,
      method,
      **{**common, 'options': {**common['options'], 'encoder.width': 64}},
      seeds=3,
      learning_rates=(1e-3, 3e-3),
      epochs=8,
      batch_size=256,
      patience=3,
    )
  return experiment(
    dataset,
    method,
    **common,
    seeds=5,
    learning_rates=(1e-3, 3e-3, 1e-2),
    epochs=60,
    batch_size=64,
    patience=10,
  )


# Attention costs labels^2 x width a row: its width keeps the whole study
# within minutes on two cores.
_OPTIONS = {'label_attention': {'model.width': 32}}

DEPENDENCE = Study(
  question='Did modelling the dependence between labels help?',
  datasets=('yeast', 'movies', 'synthetic:chain,strength=2,labels=8'),
  methods=(
    'binary_relevance',
    'classifier_chain',
    'ensemble_of_chains',
    'label_attention',
    'label_powerset',
  ),
  conditions=_conditions,
  metrics=METRICS,
)
