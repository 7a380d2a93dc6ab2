"""Maximum likelihood."""

from jaxtyping import Array, Float

from mlc.base import Batch, Head, Key, Loss, Params, require


def nll() -> Loss:
  """The negative log-likelihood of the whole label vector, in nats.

      loss_b = -log p(y_b | h_b)

  A strictly proper score of the joint distribution, for every head.

  Returns:
    A loss. On a vector that the head rules out it is inf.

  Raises:
    MissingCapabilityError: when applied to a head without `log_prob`.
    ValueError: when applied to a batch with unknown labels.

  References:
    Gneiting, Raftery, Strictly proper scoring rules, prediction, and
    estimation, JASA 102, 2007.
  """

  def apply(
    head: Head,
    params: Params,
    h: Float[Array, 'batch dim'],
    batch: Batch,
    *,
    state: tuple[()] = (),
    key: Key | None = None,
  ) -> Float[Array, ' batch']:
    del state
    log_prob = require(head, 'log_prob', 'loss nll')
    if batch.where is not None:
      # Summing p(y | h) over the unknown labels has no general closed form.
      raise ValueError(
        'loss nll got a batch with unknown labels (`where` is given); it needs '
        'every label. Choose the loss sigmoid_cross_entropy, which sums over '
        'the known ones.'
      )
    return -log_prob(params, h, batch.y, key=key)

  return Loss('nll', apply)
