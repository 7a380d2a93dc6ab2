"""Multilayer perceptron."""

from typing import cast

import jax
from flax import linen as nn
from jaxtyping import Array, Float

from mlc.base import Encoder, Features, Key, Params
from mlc.numerics import dropout as drop
from mlc.numerics import matmul, num_features

# He et al. 2015, eq. 10: keeps the variance through relu layers.
_KERNEL_INIT = nn.initializers.he_normal()


def mlp(*, width: int = 128, depth: int = 1, dropout: float = 0.0) -> Encoder:
  """Layers of rectified linear units.

      h_0 = x,  h_k = dropout(relu(h_{k-1} W_k + b_k)),  h = h_depth

  The first layer reads sparse rows without making them dense: it gathers the
  rows of W_1 that an example names.

  Args:
    width: units of every layer, and so the dimension of h.
    depth: number of layers.
    dropout: share of the units of every layer set to 0 in training, that is
      when `apply` is given a key.

  Returns:
    An encoder; parameters: for each layer `layer_<k>` a `kernel` and a `bias`.

  Raises:
    ValueError: an option is out of its range.

  References:
    He, Zhang, Ren, Sun, Delving deep into rectifiers, ICCV 2015, eq. 10.
    Srivastava et al., Dropout, JMLR 15, 2014, section 4.
  """
  if width < 1 or depth < 1:
    raise ValueError(
      f'mlp needs width >= 1 and depth >= 1, got width={width}, '
      f'depth={depth}. For a linear model take the encoder `identity`.'
    )
  if not 0.0 <= dropout < 1.0:
    raise ValueError(f'mlp needs 0 <= dropout < 1, got dropout={dropout}.')
  layers = _Layers(width=width, depth=depth, dropout=dropout)

  def init(
    key: Key, x: Features, *, weight: Float[Array, ' batch'] | None = None
  ) -> Params:
    del weight
    return layers.init(key, x)['params']

  def apply(
    params: Params, x: Features, *, key: Key | None = None
  ) -> Float[Array, 'batch width']:
    h = layers.apply({'params': params}, x, key)
    return cast(Array, h)

  return Encoder(name='mlp', init=init, apply=apply)


class _Layer(nn.Module):
  """x W + b for dense or sparse rows."""

  width: int

  @nn.compact
  def __call__(self, x):
    shape = (num_features(x), self.width)
    kernel = self.param('kernel', _KERNEL_INIT, shape)
    bias = self.param('bias', nn.initializers.zeros, (self.width,))
    return matmul(x, kernel) + bias[None, :]


class _Layers(nn.Module):
  width: int
  depth: int
  dropout: float

  @nn.compact
  def __call__(self, x, key=None):
    for k in range(self.depth):
      x = nn.relu(_Layer(self.width, name=f'layer_{k}')(x))
      key_k = None if key is None else jax.random.fold_in(key, k)
      x = drop(key_k, x, self.dropout)
    return x
