"""Message passing on a graph of the labels, which yields their classifiers."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mlc.base import Head
from mlc.heads.product import product

_SLOPE = 0.2  # of the leaky rectifier, that of the paper


def label_graph(
  num_labels: int,
  *,
  graph: Literal['cooccurrence', 'learned', 'none'] = 'cooccurrence',
  threshold: float = 0.4,
  reweight: float = 0.2,
  width: int = 64,
  depth: int = 2,
) -> Head:
  """Each label's linear classifier is made from the labels beside it.

      Z_0 = E;   Z_t = leaky_relu(A Z_{t-1} W_{t-1});   C = A Z_{d-1} W_{d-1}
      P(y_j = 1 | h) = sigmoid(c_j . h / sqrt(D) + b_j)

  A [L, L] is directed: row i holds what label i takes from each label.

      'cooccurrence'  P_ij = P(y_j = 1 | y_i = 1) in the training rows;
                      edge i -> j where P_ij >= threshold and i != j; A_ij =
                      reweight / (number of edges of i), A_ii = 1 - reweight
      'learned'       A_ij = reweight softmax_{j != i}(s_i . t_j / sqrt(width)),
                      A_ii = 1 - reweight, with s and t trained
      'none'          A = I: no label sees another

  A label without an edge keeps all of its weight, so that the rows of A sum to
  1, which is the normalisation of the paper's A. Where labels seldom come
  together, as on scene, no P_ij reaches the threshold and A is I.

  The graph is one for all examples, and shares parameters: given h the labels
  are independent, p(y | h) is a product, and only its marginals can gain;
  rank(C) <= width. With graph='none' the sharing that is left is that of the
  maps W: the control for what the graph adds. Unlike in the paper E is learned
  (not word vectors), and the labels have offsets b.

  Args:
    num_labels: L.
    graph: where A comes from.
    threshold: least P_ij of an edge (tau, eq. 7); of 'cooccurrence' only.
    reweight: share that a label takes from the others (p, eq. 8).
    width: of an embedding and of the layers between.
    depth: d, the number of layers.

  Returns:
    A head; every capability is closed-form. Parameters: `embedding` [L, width],
    `layers` (`kernel_<t>`, the last [width, D]), `bias` [L], and `frozen`:
    `adjacency` [L, L] for 'cooccurrence', or `source` and `target` [L, width]
    (s and t) for 'learned'. P_ij counts the rows in which both labels are
    known, by their weight; a label never seen has no edge.

  Raises:
    ValueError: for an unknown graph, a share outside [0, 1], a size below 1.

  References:
    Chen, Wei, Wang, Guo, Multi-label image recognition with graph
    convolutional networks, CVPR 2019, eqs. 2, 4, 6, 7, 8.
    Wu, Pan, Long, Jiang, Zhang, Graph WaveNet for deep spatial-temporal graph
    modeling, IJCAI 2019, eq. 5 ('learned': source and target embeddings).
  """
  _check_options(graph, threshold, reweight, width, depth)

  init = functools.partial(
    _init, num_labels, graph, threshold, reweight, width, depth
  )
  apply = functools.partial(_apply, reweight)
  return product('label_graph', num_labels, init, apply)


def _init(
  num_labels,
  graph,
  threshold,
  reweight,
  width,
  depth,
  key,
  h,
  y,
  *,
  where=None,
  weight=None,
):
  embedding_key, graph_key, layer_key = jax.random.split(key, 3)
  shape = (num_labels, width)
  params = {
    'embedding': jax.random.normal(embedding_key, shape, h.dtype),
    'layers': _layers(layer_key, width, depth, h),
    'bias': jnp.zeros(num_labels, h.dtype),
  }
  if graph == 'cooccurrence':
    p = conditional_frequency(y, where, weight)
    adjacency = _adjacency(p >= threshold, reweight).astype(h.dtype)
    params['frozen'] = {'adjacency': adjacency}
  if graph == 'learned':
    source, target = jax.random.normal(graph_key, (2, *shape), h.dtype)
    params |= {'source': source, 'target': target}
  return params


def _apply(reweight, params, h, *, key=None):
  del key
  z, layers = params['embedding'], params['layers']
  if 'source' in params:
    a = _learned(params['source'], params['target'], reweight)
  elif params.get('frozen'):
    a = params['frozen']['adjacency']
  else:
    a = jnp.eye(len(z), dtype=z.dtype)
  last = len(layers) - 1
  for t in range(last + 1):
    z = a @ z @ layers[f'kernel_{t}']
    z = jax.nn.leaky_relu(z, _SLOPE) if t < last else z
  return h @ z.T / h.shape[-1] ** 0.5 + params['bias'][None, :]


def conditional_frequency(
  y: Float[Array, 'rows labels'],
  where: Bool[Array, 'rows labels'] | None = None,
  weight: Float[Array, ' rows'] | None = None,
) -> Float[Array, 'labels labels']:
  """How often label j comes where label i does.

      P_ij = M_ij / N_i,  M_ij = sum_b w_b y_bi y_bj,  N_i = sum_b w_b y_bi

  N_i, too, counts only rows in which label j is known. 0 where N_i = 0.

  References:
    Chen, Wei, Wang, Guo, CVPR 2019, eq. 6.
  """
  known = jnp.ones_like(y) if where is None else where.astype(y.dtype)
  w = jnp.ones(len(y), y.dtype) if weight is None else weight
  on = jnp.where((known > 0) & (w > 0)[:, None], y, 0.0)
  weighted = (on * w[:, None]).T
  together, seen = weighted @ on, weighted @ known
  return together / jnp.where(seen > 0, seen, 1.0)


def _adjacency(edges, reweight):
  """Eqs. 7 and 8: the neighbours share `reweight`, the label keeps the rest."""
  itself = jnp.eye(len(edges))
  edges = edges * (1.0 - itself)
  degree = jnp.sum(edges, axis=-1, keepdims=True)
  others = reweight * edges / jnp.maximum(degree, 1.0)
  kept = jnp.where(degree > 0, 1.0 - reweight, 1.0)
  return others + kept * itself


def _learned(source, target, reweight):
  """A softmax over the other labels in place of counted edges."""
  itself = jnp.eye(len(source))
  if len(source) == 1:
    return itself
  score = source @ target.T / source.shape[-1] ** 0.5
  others = jax.nn.softmax(jnp.where(itself > 0, -jnp.inf, score))
  return reweight * others + (1.0 - reweight) * itself


def _layers(key, width, depth, h):
  kernel = jax.nn.initializers.he_normal()
  sizes = [width] * depth + [h.shape[-1]]
  keys = jax.random.split(key, depth)
  return {
    f'kernel_{t}': kernel(keys[t], (sizes[t], sizes[t + 1]), h.dtype)
    for t in range(depth)
  }


def _check_options(graph, threshold, reweight, width, depth):
  if graph not in ('cooccurrence', 'learned', 'none'):
    raise ValueError(
      f'label_graph got graph={graph!r}; '
      "it takes 'cooccurrence', 'learned' or 'none'."
    )
  for name, value in (('threshold', threshold), ('reweight', reweight)):
    if not 0.0 <= value <= 1.0:
      raise ValueError(
        f'label_graph got {name}={value}; it takes a share in [0, 1].'
      )
  if min(width, depth) < 1:
    raise ValueError(
      f'label_graph got width={width}, depth={depth}; both are from 1 on.'
    )
