"""Contestants that train."""

import time
from functools import partial
from typing import Any

import jax
import jax.monitoring
import numpy as np

from experiments.contestants.task import Outcome, Task, Work, chain_params
from experiments.experiment import Model
from mlc.encoders.identity import identity
from mlc.encoders.mlp import mlp
from mlc.heads.binary_relevance import binary_relevance
from mlc.heads.classifier_chain import classifier_chain
from mlc.losses import nll
from mlc.training import runs as training_runs
from mlc.training.loop import fit
from mlc.training.options import TrainOptions

LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-2
# scikit-learn's default: both sides stop at this gradient of the mean loss.
TOLERANCE = 1e-4

# Suite `training`: an MLP under independent labels, by AdamW.


def mlc_training(task: Task) -> Work:
  """All seeds in one compiled program."""
  sizes = task.sizes
  options = TrainOptions(
    epochs=sizes.epochs,
    batch_size=sizes.batch_size,
    schedule='constant',
    warmup_epochs=0.0,
    patience=0,
  )
  head = binary_relevance(sizes.labels)
  model = Model(mlp(width=sizes.width), head, nll(), {})
  return partial(_mlc_fit, task, model, options, LEARNING_RATE, WEIGHT_DECAY)


def _mlc_fit(
  task: Task, model: Model, options: TrainOptions, rate: float, l2: float
) -> Outcome:
  runs, _ = training_runs.from_splits(task.splits, [rate], [l2])
  compiled: list[str] = []
  after_epoch: list[int] = []

  def listen(event: str, duration_secs: float, **kwargs: Any) -> None:
    del duration_secs, kwargs
    if 'backend_compile' in event:
      compiled.append(event)

  jax.monitoring.register_event_duration_secs_listener(listen)
  try:
    fitted = fit(
      model.init,
      model.losses,
      task.data,
      runs,
      options,
      on_epoch=lambda _: after_epoch.append(len(compiled)),
    )
  finally:
    jax.monitoring.unregister_event_duration_listener(listen)
  return Outcome(
    seconds=fitted.train_seconds,
    reached={
      'train': float(fitted.last_train_loss.mean()),
      'held out': float(fitted.best_validation_loss.mean()),
    },
    compile_seconds=fitted.compile_seconds,
    recompiled=after_epoch[-1] - after_epoch[0],
  )


def torch_loop(task: Task, *, threads: int) -> Work:
  """PyTorch as usual: seed after seed, batch after batch, eagerly."""
  import torch

  train, held_out = _torch_rows(task)

  def work() -> Outcome:
    torch.set_num_threads(threads)
    nets = _torch_nets(task)
    began = time.perf_counter()
    losses = [
      _torch_fit(task, net, list(net.parameters()), train[r], held_out[r])
      for r, net in enumerate(nets)
    ]
    return _torch_outcome(task, began, losses)

  return work


def torch_batched(task: Task, *, threads: int) -> Work:
  """PyTorch as an expert would: all seeds side by side in batched matmuls."""
  import torch

  train, held_out = _torch_rows(task)

  def work() -> Outcome:
    torch.set_num_threads(threads)
    nets = [[p.detach() for p in net.parameters()] for net in _torch_nets(task)]
    w1, b1, w2, b2 = (torch.stack(p) for p in zip(*nets, strict=True))
    params = [w1.mT.contiguous(), b1[:, None], w2.mT.contiguous(), b2[:, None]]
    for p in params:
      p.requires_grad_()

    def net(x):
      h = torch.baddbmm(params[1], x, params[0]).relu()
      return torch.baddbmm(params[3], h, params[2])

    began = time.perf_counter()
    losses = _torch_fit(task, net, params, train, held_out)
    return _torch_outcome(task, began, [losses])

  return work


def _torch_rows(task: Task) -> tuple[Any, Any]:
  import torch

  parts = ('train', 'validation')
  return tuple(
    torch.from_numpy(np.stack([getattr(s, part) for s in task.splits])).long()
    for part in parts
  )


def _torch_nets(task: Task) -> list[Any]:
  """The nets of `mlc_training`, with its law of first parameters."""
  import torch
  from torch import nn

  sizes, nets = task.sizes, []
  for seed in range(sizes.seeds):
    torch.manual_seed(seed)
    hidden = nn.Linear(sizes.features, sizes.width)
    out = nn.Linear(sizes.width, sizes.labels)
    nn.init.kaiming_normal_(hidden.weight, nonlinearity='relu')
    nn.init.kaiming_normal_(out.weight, nonlinearity='linear')
    nn.init.zeros_(hidden.bias)
    nn.init.zeros_(out.bias)
    nets.append(nn.Sequential(hidden, nn.ReLU(), out))
  return nets


def _torch_fit(task, net, params, train, held_out):
  """Trains [rows] of one net, or [nets, rows] of several; sums their losses."""
  import torch
  from torch.nn import functional

  sizes = task.sizes
  x, y = (torch.from_numpy(np.array(a)) for a in (task.data.x, task.data.y))
  decays = [p for p in params if min(p.shape[-2:]) > 1 and p.ndim > 1]
  others = [p for p in params if all(p is not d for d in decays)]
  # Fused is the fastest AdamW that PyTorch has on CPU.
  optimizer = torch.optim.AdamW(
    [{'params': decays}, {'params': others, 'weight_decay': 0.0}],
    lr=LEARNING_RATE,
    weight_decay=WEIGHT_DECAY,
    fused=True,
  )

  def mean_loss(rows):
    total = functional.binary_cross_entropy_with_logits(
      net(x[rows]), y[rows], reduction='sum'
    )
    return total / rows.shape[-1]

  for _ in range(sizes.epochs):
    order = torch.rand(train.shape).argsort(dim=-1)
    train_loss = torch.zeros(())
    for rows in train.gather(-1, order).split(sizes.batch_size, dim=-1):
      optimizer.zero_grad()
      loss = mean_loss(rows)
      loss.backward()
      optimizer.step()
      train_loss += loss.detach() * rows.shape[-1]
    with torch.no_grad():
      held_out_loss = mean_loss(held_out)
  return float(train_loss) / train.shape[-1], float(held_out_loss)


def _torch_outcome(task, began, losses):
  seconds = time.perf_counter() - began
  train, held_out = np.sum(losses, axis=0) / task.sizes.seeds
  return Outcome(seconds, {'train': float(train), 'held out': float(held_out)})


# Suite `convex`: a linear chain at its optimum, L2 with C = 1.


def mlc_convex(task: Task) -> Work:
  """All seeds in one program of L-BFGS."""
  options = TrainOptions(optimizer='lbfgs', tolerance=TOLERANCE)
  model = Model(identity(), classifier_chain(task.sizes.labels), nll(), {})
  return partial(_mlc_fit, task, model, options, 0.0, 1.0)


def sklearn_convex(task: Task) -> Work:
  """scikit-learn's ClassifierChain of LogisticRegression, seed after seed."""
  from sklearn.linear_model import LogisticRegression
  from sklearn.multioutput import ClassifierChain

  x, y = np.asarray(task.data.x), np.asarray(task.data.y)

  def work() -> Outcome:
    link = LogisticRegression(C=1.0, tol=TOLERANCE, max_iter=1000)
    began = time.perf_counter()
    chains = [
      ClassifierChain(link).fit(x[split.train], y[split.train])
      for split in task.splits
    ]
    seconds = time.perf_counter() - began
    reached = [
      _chain_losses(task, chain, split)
      for chain, split in zip(chains, task.splits, strict=True)
    ]
    train, held_out = np.mean(reached, axis=0)
    return Outcome(
      seconds, {'train': float(train), 'held out': float(held_out)}
    )

  return work


def _chain_losses(task, chain, split):
  """The penalised training loss and the loss held out of a fitted chain."""
  sizes = task.sizes
  coefficients = np.zeros((sizes.features + sizes.labels, sizes.labels))
  for j, link in enumerate(chain.estimators_):
    coefficients[: sizes.features + j, j] = link.coef_[0]
  kernel, links = np.split(coefficients, [sizes.features])
  bias = np.asarray([link.intercept_[0] for link in chain.estimators_])
  params = chain_params(kernel, bias, links)
  loss = -classifier_chain(sizes.labels).log_prob(params, *task.data[:2])
  penalty = np.sum(coefficients**2) / (2.0 * len(split.train))
  return loss[split.train].mean() + penalty, loss[split.validation].mean()
