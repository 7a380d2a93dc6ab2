"""Contestants that fit thresholds: every rule of every label."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.contestants.decisions import clocked
from experiments.contestants.task import Outcome, Sizes, Task, Work
from mlc import decoding
from mlc.base import Decoder
from mlc.decoding.sample import Sample

# Every rule that is fitted to marginals, by the name of its decoder.
RULES: Mapping[str, Decoder] = {
  rule.name: rule
  for rule in (
    # Like scikit-learn, of every label by itself.
    decoding.tuned_f(min_positives=1),
    decoding.micro_f(),
    decoding.pooled_f(),
    decoding.youden(min_positives=5),
    decoding.pcut(min_positives=5),
    decoding.otsu(),
    decoding.tuned_cost(false_negative=(3.0,)),
    decoding.target_precision(),
    decoding.target_recall(),
    decoding.rcut(),
  )
}
_F = 'tuned_f1'


def mlc_together(task: Task) -> Work:
  """All rules in one program, from one sample, as an evaluation fits them."""

  def fit(p, y, weight):
    sample = Sample(p, y, weight)
    return {name: _learned(rule, sample) for name, rule in RULES.items()}

  return _fitted(task, {'all': fit}, lambda found: found['all'][_F])


def mlc_apart(task: Task) -> Work:
  """The same, each rule in a program of its own."""

  def alone(rule):
    return lambda p, y, weight: _learned(rule, Sample(p, y, weight))

  programs = {name: alone(rule) for name, rule in RULES.items()}
  return _fitted(task, programs, lambda found: found[_F])


def sklearn_curves(task: Task) -> Work:
  """The curves that two of the rules are read off, label after label."""
  from sklearn.metrics import precision_recall_curve, roc_curve

  p, y = draw(task.sizes)

  def fit():
    found = []
    for label in range(p.shape[1]):
      precision, recall, cuts = precision_recall_curve(y[:, label], p[:, label])
      f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
      false, true, corners = roc_curve(y[:, label], p[:, label])
      corner = corners[np.argmax(true - false)]
      # Both predict rows from the threshold on, not above it.
      found.append((cuts[np.argmax(f1[:-1])], corner))
    return np.asarray(found)

  def work() -> Outcome:
    found, seconds = clocked(fit)
    return Outcome(seconds, _macro_f1(p >= found[:, 0], y))

  return work


def draw(sizes: Sizes) -> tuple[np.ndarray, np.ndarray]:
  """Probabilities and labels drawn by them, most labels rare, no ties."""
  random = np.random.default_rng(0)
  shape = sizes.threshold_rows, sizes.threshold_labels
  logits = random.normal(-4.0, 1.3, shape[1]) + 1.5 * random.normal(size=shape)
  p = (1.0 / (1.0 + np.exp(-logits))).astype(np.float32)
  y = (random.random(shape) < p).astype(np.float32)
  # scikit-learn draws no curve of a label without a positive.
  y[0] = 1.0
  return p, y


def _learned(rule: Decoder, sample: Sample) -> Any:
  assert rule.learn is not None
  return rule.learn(sample)


def _fitted(
  task: Task,
  programs: Mapping[str, Callable[..., Any]],
  of_f: Callable[[Any], Mapping[str, jax.Array]],
) -> Work:
  p, y = draw(task.sizes)
  arguments = jnp.asarray(p), jnp.asarray(y), jnp.ones(len(p))
  began = time.perf_counter()
  compiled = {
    name: jax.jit(program).lower(*arguments).compile()
    for name, program in programs.items()
  }
  compile_seconds = time.perf_counter() - began

  def fit():
    return jax.block_until_ready(
      {name: program(*arguments) for name, program in compiled.items()}
    )

  def work() -> Outcome:
    found, seconds = clocked(fit)
    threshold = np.asarray(of_f(found)['threshold'])
    return Outcome(seconds, _macro_f1(p > threshold, y), compile_seconds)

  return work


def _macro_f1(decided: np.ndarray, y: np.ndarray) -> dict[str, float]:
  """Of the rows on which the thresholds were fitted."""
  hits = np.sum(decided & (y > 0), axis=0)
  total = decided.sum(axis=0) + y.sum(axis=0)
  return {'macro F1': float(np.mean(2 * hits / total))}
