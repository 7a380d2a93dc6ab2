"""How far each method is from the best possible decision.

    python launch.py --study=regret

Synthetic worlds whose p(y | x) is known, so that the expected loss of every
decision, and of the best one, is a sum over all label vectors: no test noise.
The knob `strength` moves the conditional dependence and leaves every marginal
as it is. Expect binary relevance near zero regret in Hamming loss whatever the
strength, and a regret in subset 0/1 loss that grows with it; the chain closes
that gap. About two minutes on two cores.
"""

import re
from collections.abc import Sequence

from experiments.config import Experiment
from experiments.studies.study import Figure, Study, experiment
from mlc.report.line_panels import line_panels
from mlc.report.records import Record

STRENGTHS = (0, 1, 2, 4)
KINDS = ('chain', 'ising')
# The decoder that is optimal for a loss, by the name of its regret.
OPTIMAL = {
  'regret_hamming_loss': 'hamming',
  'regret_subset_accuracy': 'subset',
  'regret_f1_example': 'f_beta',
}


def _conditions(dataset: str, method: str) -> Experiment:
  return experiment(
    dataset,
    method,
    seeds=3,
    optimizer='lbfgs',
    l2s=(0.3, 3.0, 30.0),
    decoders=('hamming', 'subset', 'f_beta'),
    stratify=False,
  )


def _figures(records: Sequence[Record]) -> list[Figure]:
  """Regret against strength, one figure a kind of world."""
  figures = []
  for kind in dict.fromkeys(_kind(r.dataset) for r in records):
    mine = [r for r in records if _kind(r.dataset) == kind and kind]
    if not mine:
      continue
    panels = [
      (
        f'{metric.removeprefix("regret_")} ({decoder} rule)',
        _curves(mine, metric, decoder),
      )
      for metric, decoder in OPTIMAL.items()
    ]
    figure = line_panels(
      panels, x='strength of conditional dependence', y='regret, points'
    )
    figures.append((f'Regret in {kind} worlds', figure, _caption(mine)))
  return figures


def _curves(
  records: Sequence[Record], metric: str, decoder: str
) -> dict[str, list[tuple[float, float, float, float]]]:
  """method -> [(strength, mean, low, high)], in points."""
  curves: dict[str, list[tuple[float, float, float, float]]] = {}
  for record in records:
    found = record.interval(decoder, metric, 'test')
    if found.n:
      half = found.half_width or 0.0
      numbers = (found.mean, found.mean - half, found.mean + half)
      mean, low, high = (100.0 * number for number in numbers)
      point = (_strength(record.dataset), mean, low, high)
      curves.setdefault(record.method, []).append(point)
  return {method: sorted(points) for method, points in curves.items()}


def _caption(records: Sequence[Record]) -> str:
  """What the strongest dependence costs each method, in numbers."""
  sentences = []
  for metric, decoder in OPTIMAL.items():
    curves = _curves(records, metric, decoder)
    said = ', '.join(
      f'{method} {points[0][1]:.2f} to {points[-1][1]:.2f}'
      for method, points in curves.items()
    )
    sentences.append(
      f'{metric.removeprefix("regret_")}, weakest to strongest: {said}.'
    )
  return 'Regret in points of the loss. ' + ' '.join(sentences)


def _kind(dataset: str) -> str:
  found = re.match(r'synthetic:(\w+)', dataset)
  return found.group(1) if found else ''


def _strength(dataset: str) -> float:
  found = re.search(r'strength=([\d.]+)', dataset)
  return float(found.group(1)) if found else 0.0


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
    'hamming_loss',
    'subset_accuracy',
    'f1_example',
    'nll',
  ),
  figures=_figures,
)
