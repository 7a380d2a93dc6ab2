"""A hierarchy of labels as a graph that is known before any trace."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mlc.numerics import transitive_closure


class Dag(NamedTuple):
  """What is asked of the hierarchy.

  Attributes:
    child, parent: of each edge.
    height: edges of the longest path.
    ancestors: float [L, L], entry [j, k] 1 where k is j or above it.
    is_forest: no label has two parents.
  """

  child: np.ndarray
  parent: np.ndarray
  height: int
  ancestors: np.ndarray
  is_forest: bool

  @property
  def num_labels(self) -> int:
    return len(self.ancestors)


def dag(num_labels: int, hierarchy: np.ndarray | None) -> Dag:
  """The graph of bool [child, parent].

  Raises:
    ValueError: none, one with a cycle or of another size.
  """
  if hierarchy is None:
    raise ValueError(
      'head hierarchical needs a hierarchy of the labels, and the data set has '
      'none. Give one by nesting the <label> elements of its MULAN .xml, each '
      'in its parent (or by Dataset(hierarchy=...)); synthetic:hierarchy has '
      'one. For labels without a hierarchy choose binary_relevance, or '
      'classifier_chain for a joint.'
    )
  if hierarchy.shape != (num_labels, num_labels):
    raise ValueError(
      f'hierarchical got a hierarchy of shape {hierarchy.shape} for '
      f'{num_labels} labels; it takes [child, parent] of every label.'
    )
  above = transitive_closure(hierarchy)
  if np.diag(above).any():
    raise ValueError(
      f'hierarchical got a hierarchy in which {np.diag(above).sum()} labels '
      'are their own ancestors; remove an edge of each cycle.'
    )
  child, parent = np.nonzero(hierarchy)
  return Dag(
    child=child,
    parent=parent,
    height=_height(hierarchy),
    ancestors=(above | np.eye(num_labels, dtype=bool)).astype(np.float32),
    is_forest=bool((hierarchy.sum(axis=1) <= 1).all()),
  )


def _height(hierarchy):
  """How often labels without a child can be taken away before all are gone."""
  left, height = np.ones(len(hierarchy), bool), -1
  while left.any():
    left &= hierarchy[left].any(axis=0)
    height += 1
  return height


def to_parents(
  values: Float[Array, '*batch labels'],
  graph: Dag,
  reduce: Callable[..., Array],
) -> Float[Array, '*batch labels']:
  """A segment_sum or segment_max of each label's children."""
  by_edge = jnp.moveaxis(values, -1, 0)[graph.child]
  reduced = reduce(by_edge, graph.parent, num_segments=graph.num_labels)
  return jnp.moveaxis(reduced, 0, -1)


def upwards(step: Callable[[Array], Array], start: Array, graph: Dag) -> Array:
  """step(step(... start)): as often as there are edges on the longest path."""
  end, _ = jax.lax.scan(
    lambda values, _: (step(values), None), start, length=graph.height
  )
  return end


def has_parents(y: Any, graph: Dag) -> Any:
  """True for vectors [..., L] with the parents of every label, [...].

  Of numpy or jax arrays: a data set is asked about without compiling anything.
  """
  return (y[..., graph.child] <= y[..., graph.parent]).all(axis=-1)


def parents_on(
  y: Float[Array, '*batch labels'], graph: Dag
) -> Bool[Array, '*batch labels']:
  """True where no parent is off."""
  off = jnp.moveaxis(1.0 - y, -1, 0)[graph.parent]
  off = jax.ops.segment_sum(off, graph.child, num_segments=graph.num_labels)
  return jnp.moveaxis(off, 0, -1) == 0
