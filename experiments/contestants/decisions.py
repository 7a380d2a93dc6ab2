"""Contestants that decide: greedy decisions and joint modes of a chain."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.contestants.task import Outcome, Task, Work, draw_chain
from mlc import distribution
from mlc.base import Params
from mlc.heads import chain_inference
from mlc.heads.classifier_chain import classifier_chain

# What takes less is done again and again for so long.
_LEAST_SECONDS = 0.3


def mlc_greedy(task: Task) -> Work:
  """One pass, jitted."""
  head = classifier_chain(task.sizes.labels)
  return _decide(task, task.world, head.greedy)


def sklearn_greedy(task: Task) -> Work:
  """ClassifierChain.predict with the same coefficients."""
  from sklearn.linear_model import LogisticRegression
  from sklearn.multioutput import ClassifierChain

  x, y = np.asarray(task.data.x), np.asarray(task.data.y)
  kernel, bias, links = (
    np.asarray(task.world[name]) for name in ('kernel', 'bias', 'links')
  )
  chain = ClassifierChain(LogisticRegression(max_iter=1000)).fit(x, y)
  for j, link in enumerate(chain.estimators_):
    link.coef_ = np.concatenate([kernel[:, j], links[:j, j]])[None, :]
    link.intercept_ = bias[j : j + 1]

  def work() -> Outcome:
    decisions, seconds = clocked(lambda: chain.predict(x))
    return Outcome(seconds, _likelihood(task, task.world, decisions))

  return work


def mlc_exact(task: Task) -> Work:
  """The joint mode by the prefix tree."""
  head = classifier_chain(task.sizes.labels)
  return _decide(task, task.world, head.mode)


def exact_vectors(task: Task) -> Work:
  """The joint mode as the definition says: log p of every vector, in JAX."""
  num_labels = task.sizes.labels
  log_prob = classifier_chain(num_labels).log_prob

  def mode(params, h):
    table = distribution.tabulate(log_prob, params, h, num_labels)
    return distribution.table_mode(table)

  return _decide(task, task.world, mode)


def mlc_many_labels(task: Task) -> Work:
  """Greedy decisions, blocks of labels at a time."""
  head = classifier_chain(task.sizes.many_labels)
  world = draw_chain(task.sizes.features, head.num_labels)
  return _decide(task, world, head.greedy)


def label_by_label(task: Task) -> Work:
  """The same without blocks: every label waits for all before it, in JAX."""
  num_labels = task.sizes.many_labels

  def greedy(params, h):
    logits = h @ params['kernel'] + params['bias'][None, :]
    return chain_inference.one_pass(
      logits, params['links'], jnp.zeros_like(logits), block=num_labels
    )[0]

  return _decide(task, draw_chain(task.sizes.features, num_labels), greedy)


def _decide(
  task: Task, params: Params, decide: Callable[..., Any] | None
) -> Work:
  assert decide is not None
  began = time.perf_counter()
  compiled = jax.jit(decide).lower(params, task.data.x).compile()
  compile_seconds = time.perf_counter() - began

  def work() -> Outcome:
    decisions, seconds = clocked(
      lambda: jax.block_until_ready(compiled(params, task.data.x))
    )
    reached = _likelihood(task, params, decisions)
    return Outcome(seconds, reached, compile_seconds)

  return work


def clocked(function: Callable[[], Any]) -> tuple[Any, float]:
  """The result, and seconds a call over as many calls as make them certain."""
  began, calls = time.perf_counter(), 0
  while True:
    result, calls = function(), calls + 1
    seconds = time.perf_counter() - began
    if seconds > _LEAST_SECONDS:
      return result, seconds / calls


def _likelihood(task, params, decisions) -> dict[str, float]:
  head = classifier_chain(decisions.shape[1])
  decisions = jnp.asarray(decisions, jnp.float32)
  log_prob = head.log_prob(params, task.data.x, decisions)
  return {'log p': float(log_prob.mean())}
