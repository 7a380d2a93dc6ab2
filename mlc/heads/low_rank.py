"""Labels that live in a shared space of few dimensions."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mlc.base import Head, Key
from mlc.heads.product import product

# At 983 labels and 12,920 rows the eigenvectors of the Gram matrix cost 0.5 s
# (2 CPU cores) and 8 passes of the search 0.7 s; at 2,000 labels and 8,000 rows
# it is 3.1 s against 1.6 s, and the former grows with L^3.
_MAX_GRAM_LABELS = 1500
# Of the search: directions beyond those asked, and passes over the rows.
_OVERSAMPLING = 10
_PASSES = 8


def low_rank(
  num_labels: int,
  *,
  rank: int = 16,
  basis: Literal['learned', 'svd'] = 'learned',
) -> Head:
  """A few latent scores, linear in h, from which all labels are read.

      z = A h;   P(y_j = 1 | h) = sigmoid(v_j . z + b_j)

  V = (v_1 .. v_L) starts as the principal directions of the label matrix: the
  right singular vectors of Y - mean(Y) to its largest singular values, times
  sqrt(L / rank), so that a logit starts at the size of binary relevance's.
  Labels that come together have similar v_j, and share what A learns: that
  helps where rows are few for L labels. No more is modelled: given h the labels
  are independent, p(y | h) is a product, and only its marginals can gain. From
  rank = min(D, L) on it is binary relevance in two factors; what it saves is
  parameters, (D + L) rank instead of D L.

  PLST regresses the coordinates of y in that basis by least squares and rounds
  the decoded vector. Here decoding gives log-odds, not labels: the whole is a
  distribution and is fitted by its likelihood. b takes the place of the shift
  by the mean and is trained from the log-odds of the label frequencies
  (n_j + 1/2) / (n + 1): a narrow V cannot stand in for it while it is learned.
  With basis='svd' V stays as PLST has it.

  Up to 1,500 labels the basis is exact, by the eigenvectors of the L x L Gram
  matrix; beyond, it is found by randomised subspace iteration at a cost of
  N L rank, on delicious with all but 3e-4 of the variance that the best basis
  of rank 32 holds.

  Args:
    num_labels: L.
    rank: dimensions of the shared space; one beyond L counts as L.
    basis: 'learned' trains V; 'svd' keeps it as it was read off.

  Returns:
    A head; every capability is closed-form. Parameters: `kernel` [D, rank] (A),
    `bias` [L] and `basis` [L, rank] (V), which stands in `frozen` for 'svd'.
    Only known labels and rows of positive weight shape the basis.

  Raises:
    ValueError: for a rank below 1, or an unknown basis.

  References:
    Tai, Lin, Multilabel classification with principal label space
    transformation, Neural Computation 24, 2012 (the basis).
    Halko, Martinsson, Tropp, Finding structure with randomness: probabilistic
    algorithms for constructing approximate matrix decompositions, SIAM Review
    53, 2011, algorithm 4.4 (the search).
  """
  _check_options(rank, basis)
  rank = min(rank, num_labels)

  def init(key, h, y, *, where=None, weight=None):
    kernel_key, basis_key = jax.random.split(key)
    kernel = jax.nn.initializers.lecun_normal()
    centred, frequency = _centred(y, where, weight)
    directions = _principal_directions(basis_key, centred, rank)
    v = {'basis': directions * (num_labels / rank) ** 0.5}
    return {
      'kernel': kernel(kernel_key, (h.shape[-1], rank), h.dtype),
      'bias': jnp.log(frequency) - jnp.log1p(-frequency),
      **(v if basis == 'learned' else {'frozen': v}),
    }

  def apply(params, h, *, key=None):
    del key
    v = (params if basis == 'learned' else params['frozen'])['basis']
    return h @ params['kernel'] @ v.T + params['bias'][None, :]

  return product('low_rank', num_labels, init, apply)


def _principal_directions(
  key: Key, y: Float[Array, 'rows labels'], rank: int
) -> Float[Array, 'labels rank']:
  """Orthonormal right singular vectors of y, largest singular value first.

  Directions past the rank of y are arbitrary, orthonormal still.
  """
  if y.shape[-1] > _MAX_GRAM_LABELS:
    return searched_directions(key, y, rank)
  return _eigenvectors(y)[:, :rank]


def searched_directions(
  key: Key, y: Float[Array, 'rows labels'], rank: int
) -> Float[Array, 'labels rank']:
  """Eigenvectors of y'y inside the span of (y'y)^8 on random directions.

  Args:
    key: of the random directions.
    y: rows.
    rank: number of directions asked.

  Returns:
    Orthonormal columns, those of largest eigenvalue first.

  References:
    Halko, Martinsson, Tropp, SIAM Review 53, 2011, algorithm 4.4.
  """
  num_labels = y.shape[-1]
  size = (num_labels, min(rank + _OVERSAMPLING, num_labels))
  q, _ = jnp.linalg.qr(jax.random.normal(key, size, y.dtype))

  def one_pass(q, _):
    return jnp.linalg.qr(y.T @ (y @ q))[0], None

  q, _ = jax.lax.scan(one_pass, q, None, length=_PASSES)
  return (q @ _eigenvectors(y @ q))[:, :rank]


def _eigenvectors(y):
  """Those of y'y, largest eigenvalue first."""
  _, vectors = jnp.linalg.eigh(y.T @ y)
  return vectors[:, ::-1]


def _centred(
  y: Float[Array, 'rows labels'],
  where: Bool[Array, 'rows labels'] | None,
  weight: Float[Array, ' rows'] | None,
) -> tuple[Float[Array, 'rows labels'], Float[Array, ' labels']]:
  """sqrt(weight) (y - mean), 0 where unknown, and smoothed frequencies."""
  mass = jnp.ones_like(y) if where is None else where.astype(y.dtype)
  if weight is not None:
    mass = mass * weight[:, None]
  y = jnp.where(mass > 0, y, 0.0)
  total = jnp.sum(mass, axis=0)
  on = jnp.sum(mass * y, axis=0)
  mean = on / jnp.where(total > 0, total, 1.0)
  return jnp.sqrt(mass) * (y - mean[None, :]), (on + 0.5) / (total + 1.0)


def _check_options(rank, basis):
  if rank < 1:
    raise ValueError(f'low_rank got rank={rank}; it takes one from 1 on.')
  if basis not in ('learned', 'svd'):
    raise ValueError(
      f'low_rank got basis={basis!r}; '
      "it takes 'learned' or 'svd' (the principal directions, kept)."
    )
