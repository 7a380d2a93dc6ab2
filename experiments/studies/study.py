"""What a study states: which configurations, and which columns."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from experiments.config import Experiment


class Study(NamedTuple):
  """A comparison: every method on every data set under stated conditions.

  What differs between the runs of a method on a data set (a loss, a sampler)
  names them in the tables: `binary_relevance (loss=focal)`.

  Attributes:
    question: what the study asks, the headline of its report.
    datasets: names, as --datasets takes them.
    methods: names, as --methods takes them.
    conditions: (dataset, method) -> one Experiment or several, all but the name
      of the study.
    metrics: columns of its tables.
  """

  question: str
  datasets: tuple[str, ...]
  methods: tuple[str, ...]
  conditions: Callable[[str, str], Experiment | Sequence[Experiment]]
  metrics: tuple[str, ...]


def experiment(dataset: str, method: str, **conditions: Any) -> Experiment:
  """An experiment from flat conditions, named as the flags are."""
  return replace(Experiment(method=method), dataset=dataset, **conditions)


def replace(base: Experiment, **changes: Any) -> Experiment:
  """`base` with some fields changed, each found in the part that has it."""
  parts = {}
  for name in ('data', 'search', 'train', 'constrain'):
    part = getattr(base, name)
    fields = {f.name for f in dataclasses.fields(part)}
    mine = {key: changes.pop(key) for key in fields & changes.keys()}
    parts[name] = dataclasses.replace(part, **mine)
  return dataclasses.replace(base, **parts, **changes)
