"""The only place where flags are defined.

Flags are generated: a frozen dataclass gives one flag a field, a factory one
flag a keyword-only argument, with the help that its docstring states. Parsing
has two stages, since `--method`, `--encoder`, `--loss`, `--resampling` and
`--decoders` decide which `--model.*`, `--encoder.*`, `--loss.*`,
`--resampling.*` and `--decoder.*` flags exist.
"""

import dataclasses
import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from absl import flags

from experiments.config import (
  CONSTRAINTS,
  DataOptions,
  Experiment,
  RuleOptions,
  Search,
)
from experiments.kinds import (
  Option,
  Several,
  TupleSerializer,
  fits,
  fitted,
  merged,
  names,
  parser_of,
  plain,
  several_said,
)
from mlc.base import lookup
from mlc.methods import (
  CALIBRATORS,
  DECODERS,
  ENCODERS,
  LOSSES,
  METHODS,
  RESAMPLERS,
)
from mlc.training.options import TrainOptions

# Parts of Experiment whose fields are flags without a prefix.
PARTS = {
  'data': DataOptions,
  'search': Search,
  'train': TrainOptions,
  'constrain': RuleOptions,
}
_NOT_FLAGS = {*PARTS, 'options'}

# Flags whose values are names; the help lists them.
_TABLES: Mapping[str, Mapping[str, Any]] = {
  'method': METHODS,
  'loss': LOSSES,
  'encoder': ENCODERS,
  'calibration': CALIBRATORS,
  'decoders': DECODERS,
  'resampling': RESAMPLERS,
  'constraints': dict.fromkeys(CONSTRAINTS),
}
HEAD, ENCODER, LOSS, DECODER = 'model.', 'encoder.', 'loss.', 'decoder.'
RESAMPLING = 'resampling.'
REQUIRED = inspect.Parameter.empty


def options_of(source: Any, prefix: str = '') -> list[Option]:
  """The options of a dataclass (its fields) or a factory (its arguments).

  Of the factory of a head the positional arguments are facts of the data, and
  no options. An option without a default has `REQUIRED` for one.
  """
  described = _described(inspect.getdoc(source) or '')
  if dataclasses.is_dataclass(source):
    found = [
      (f.name, f.type, f.default)
      for f in dataclasses.fields(source)
      if f.name not in _NOT_FLAGS
    ]
  else:
    found = [
      (p.name, p.annotation, p.default)
      for p in inspect.signature(source).parameters.values()
      if p.kind is p.KEYWORD_ONLY or prefix != HEAD
    ]
  return [
    Option(prefix + name, kind, default, _help(name, described, default))
    for name, kind, default in found
  ]


def _help(name: str, described: Mapping[str, str], default: Any) -> str:
  text = described.get(name, '')
  table = _TABLES.get(name, {})
  if table:
    text += f' Known: {", ".join(table)}.'
  return f'{text} Has no default.' if default is REQUIRED else text


def _described(docstring: str) -> dict[str, str]:
  """name -> text, from the Args or Attributes of a docstring."""
  section = re.search(
    r'^(?:Args|Attributes):\n((?:[ ]+.*\n?|\n)*)', docstring, re.M
  )
  if not section:
    return {}
  items = re.findall(r'^  (\w+): (.*(?:\n    .*)*)', section.group(1), re.M)
  return {name: re.sub(r'\s+', ' ', text) for name, text in items}


def define(
  option: Option, values: flags.FlagValues, *, optional: bool = False
) -> None:
  """Defines the flag of an option; `optional` makes its default None."""
  default = option.default
  if optional or default is REQUIRED:
    default = None
  kwargs: dict[str, Any] = {'flag_values': values, 'module_name': sys.argv[0]}
  kind = plain(option.kind)
  if typing.get_origin(kind) is Literal:
    choices = list(typing.get_args(kind))
    flags.DEFINE_enum(option.name, default, choices, option.help, **kwargs)
  elif typing.get_origin(kind) is tuple:
    flags.DEFINE(
      parser_of(kind),
      option.name,
      default,
      option.help,
      serializer=TupleSerializer(),
      **kwargs,
    )
  elif isinstance(kind, Several):
    # Each has its own default: none is stated.
    flags.DEFINE(
      parser_of(kind),
      option.name,
      None,
      option.help,
      serializer=flags.ArgumentSerializer(),
      **kwargs,
    )
  else:
    definers: dict[type, Callable[..., Any]] = {
      bool: flags.DEFINE_bool,
      int: flags.DEFINE_integer,
      float: flags.DEFINE_float,
      str: flags.DEFINE_string,
    }
    definers[kind](option.name, default, option.help, **kwargs)


def selectable_options(
  methods: Iterable[str],
  encoder: str,
  loss: str,
  resampling: str,
  decoders: Iterable[str],
) -> list[Option]:
  """The options that exist for what has been selected, each with its owner."""
  sources = [
    *((HEAD, m, lookup(m, METHODS, 'method').head) for m in methods),
    (ENCODER, encoder, lookup(encoder, ENCODERS, 'encoder')),
    (RESAMPLING, resampling, lookup(resampling, RESAMPLERS, 'resampling')),
  ]
  if loss:
    sources.append((LOSS, loss, lookup(loss, LOSSES, 'loss')))
  return [
    *(
      option._replace(owner=owner)
      for prefix, owner, factory in sources
      for option in options_of(factory, prefix)
    ),
    *decoder_options(decoders),
  ]


def options_for_experiment(experiment: Experiment) -> list[Option]:
  """The options that exist for what an experiment names."""
  return selectable_options(
    [experiment.method],
    experiment.encoder,
    experiment.loss,
    experiment.data.resampling,
    experiment.decoders,
  )


def decoder_options(decoders: Iterable[str]) -> list[Option]:
  """The options of some decoders, each with its owner."""
  return [
    option._replace(owner=name)
    for name in decoders
    for option in options_of(lookup(name, DECODERS, 'decoder'), DECODER)
  ]


def with_decoders(
  experiment: Experiment, decoders: Iterable[str], options: Mapping[str, Any]
) -> Experiment:
  """The experiment with other decoders and their options."""
  kept = {
    name: value
    for name, value in experiment.options.items()
    if not name.startswith(DECODER)
  }
  return dataclasses.replace(
    experiment, decoders=tuple(decoders), options={**kept, **options}
  )


def with_options(
  experiment: Experiment, options: Mapping[str, Any]
) -> Experiment:
  """The experiment with those of the options that exist for it and fit it.

  One that states a default is left out, so that equal experiments are equal.
  """
  exist = {o.name: o for o in merged(options_for_experiment(experiment))}
  fitting = {
    name: fitted(exist[name].kind, value)
    for name, value in options.items()
    if name in exist and fits(exist[name].kind, value)
  }
  kept = {
    name: value
    for name, value in {**experiment.options, **fitting}.items()
    if name in exist and value != exist[name].default
  }
  return dataclasses.replace(experiment, options=kept)


def passed_over(
  experiments: Iterable[Experiment], options: Mapping[str, Any]
) -> list[str]:
  """For each option that fits some experiments and not others a sentence."""
  exist = [o for e in experiments for o in options_for_experiment(e)]
  sentences = []
  for option in merged(exist):
    value = options.get(option.name)
    if value is None or not isinstance(option.kind, Several):
      continue
    kinds = option.kind.kinds
    missed = {k: of for k, of in kinds.items() if not fits(of, value)}
    if missed:
      who = ', '.join(owner for owner in kinds if owner not in missed)
      others = '; '.join(several_said(Several(missed)))
      sentences.append(
        f'--{option.name}={value} is for {who}, and changes nothing for others '
        f'({others}).'
      )
  return sentences


def options_for(
  factory: Callable[..., Any], prefix: str, given: Mapping[str, Any]
) -> dict[str, Any]:
  """Those of the given options that a factory takes, by argument name.

  Raises:
    ValueError: one that has no default is not given.
  """
  taken = {}
  for option in options_of(factory, prefix):
    value = given.get(option.name)
    if value is not None:
      taken[option.name.removeprefix(prefix)] = value
    elif option.default is REQUIRED:
      raise ValueError(
        f'{factory.__name__} needs --{option.name}: {option.help}'
      )
  return taken


def first_stage(argv: Sequence[str], wanted: Sequence[str]) -> dict[str, str]:
  """The values of some flags, read before the others are defined.

  Args:
    argv: the command line with the program name; flag files are followed.
    wanted: flags to read; those absent are left out.
  """
  early = flags.FlagValues()
  # Otherwise the value of a flag that is not known yet would end the reading.
  early.set_gnu_getopt(True)
  flags.DEFINE_string('flagfile', '', '', flag_values=early)
  for name in wanted:
    flags.DEFINE_string(name, None, '', flag_values=early)
  argv = early.read_flags_from_files(list(argv), force_gnu=True)
  early(argv, known_only=True)
  values = {name: early[name].value for name in wanted}
  return {name: value for name, value in values.items() if value is not None}


def define_experiment(argv: Sequence[str], values: flags.FlagValues) -> None:
  """Defines every flag that applies to the experiment of a command line."""
  chosen = first_stage(
    argv, ('method', 'encoder', 'loss', 'resampling', 'decoders')
  )
  method = chosen.get('method', Experiment.method)
  default = lookup(method, METHODS, 'method')
  decoders = names(chosen.get('decoders', ''))
  for part in (Experiment, *PARTS.values()):
    for option in options_of(part):
      define(option, values)
  for option in merged(
    selectable_options(
      [method],
      chosen.get('encoder', Experiment.encoder),
      chosen.get('loss') or default.loss,
      chosen.get('resampling', DataOptions.resampling),
      decoders or (default.decoder,),
    )
  ):
    define(option, values)


def define_places(values: flags.FlagValues) -> None:
  """Where runs are written and data sets are found: no part of a result."""
  for option in (
    Option('workdir', str, 'runs', 'folder of the run directories.'),
    Option('data_dir', str, '', 'folder of data sets, one folder each.'),
  ):
    define(option, values)


HOST_DEVICES = Option(
  'host_devices',
  int,
  0,
  'devices that JAX is to see in the CPU: runs are dealt out to them, and each '
  'holds a copy of the data. 0 for one a core, 8 at most.',
)


def experiment_of(values: flags.FlagValues) -> Experiment:
  """The experiment that parsed flags describe."""

  def part(cls: type) -> Any:
    return cls(
      **{option.name: values[option.name].value for option in options_of(cls)}
    )

  top: dict[str, Any] = {
    option.name: values[option.name].value for option in options_of(Experiment)
  }
  prefixes = (HEAD, ENCODER, LOSS, RESAMPLING, DECODER)
  options = {
    name: values[name].value
    for name in values
    if name.startswith(prefixes) and values[name].value is not None
  }
  parts: dict[str, Any] = {name: part(cls) for name, cls in PARTS.items()}
  return with_options(resolved(Experiment(**top, **parts)), options)


def resolved(experiment: Experiment) -> Experiment:
  """The experiment with the method's own loss and decoder filled in."""
  method = lookup(experiment.method, METHODS, 'method')
  return dataclasses.replace(
    experiment,
    loss=experiment.loss or method.loss,
    decoders=experiment.decoders or (method.decoder,),
  )


def flags_of(experiment: Experiment) -> list[str]:
  """The command line that describes an experiment, every value stated."""
  out = []
  for source in (experiment, *(getattr(experiment, name) for name in PARTS)):
    for option in options_of(type(source)):
      out.append(_flag(option.name, getattr(source, option.name)))
  out += [_flag(name, value) for name, value in experiment.options.items()]
  return out


def _flag(name: str, value: Any) -> str:
  if isinstance(value, bool):
    value = str(value).lower()
  elif isinstance(value, tuple):
    value = ','.join(str(part) for part in value)
  return f'--{name}={value}'
