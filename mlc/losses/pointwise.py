"""Losses of one label at a time."""

from jaxtyping import Array, Float

from mlc.base import Batch, Head, Key, Loss, Params, require
from mlc.numerics import log_bernoulli, masked_sum


def sigmoid_cross_entropy() -> Loss:
  """Cross-entropy of each known label under its logit, summed, in nats.

      loss_b = -sum_{j known} log sigmoid((2 y_bj - 1) logit_bj)

  Of a head with independent labels it is the likelihood of the known labels.
  The logits of softmax and label powerset are the log-odds of their marginals:
  there it scores the marginals and leaves the joint free. Those of a chain are
  teacher-forced: an unknown label stands as 0 before the labels it links to.

  Returns:
    A loss; of an example without any known label it is 0.

  Raises:
    MissingCapabilityError: when applied to a head without `logits`.

  References:
    Lindsay, Composite likelihood methods, Contemporary Mathematics 80, 1988.
  """

  def apply(
    head: Head,
    params: Params,
    h: Float[Array, 'batch dim'],
    batch: Batch,
    *,
    key: Key | None = None,
  ) -> Float[Array, ' batch']:
    logits = require(head, 'logits', 'loss sigmoid_cross_entropy')
    values = log_bernoulli(logits(params, h, batch.y, key=key), batch.y)
    return -masked_sum(values, batch.where)

  return Loss('sigmoid_cross_entropy', apply)
