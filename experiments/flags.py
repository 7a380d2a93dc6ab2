"""The only place where flags are defined.

Flags are generated: a frozen dataclass gives one flag a field, a factory one
flag a keyword-only argument, with the help that its docstring states. Parsing
has two stages, since `--method`, `--encoder`, `--loss` and `--decoders` decide
which `--model.*`, `--encoder.*`, `--loss.*` and `--decoder.*` flags exist.
"""

import dataclasses
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from absl import flags

from experiments.config import DataOptions, Experiment, Search
from mlc.base import lookup
from mlc.methods import DECODERS, ENCODERS, LOSSES, METHODS
from mlc.training.options import TrainOptions

# Parts of Experiment whose fields are flags without a prefix.
PARTS = {'data': DataOptions, 'search': Search, 'train': TrainOptions}
_NOT_FLAGS = {*PARTS, 'options'}


class Option(NamedTuple):
  """One flag to be: name, type, default and the line that explains it."""

  name: str
  kind: Any
  default: Any
  help: str


class _TupleParser(flags.ArgumentParser):
  """Comma-separated values of one type."""

  def __init__(self, element: Callable[[str], Any]):
    super().__init__()
    self._element = element
    self.syntactic_help = f'comma-separated {element.__name__}s'

  def parse(self, argument):
    if isinstance(argument, str):
      # `name,option=value` is one value: a data set may have options.
      parts = re.split(r',(?!\s*\w+=)', argument)
      argument = [part.strip() for part in parts if part.strip()]
    return tuple(self._element(part) for part in argument)

  def flag_type(self):
    return f'comma-separated {self._element.__name__}s'


class _TupleSerializer(flags.ArgumentSerializer):
  def serialize(self, value):
    return ','.join(str(part) for part in value)


def options_of(source: Any, prefix: str = '') -> list[Option]:
  """The options of a dataclass (its fields) or a factory (keyword-only)."""
  described = _described(inspect.getdoc(source) or '')
  if dataclasses.is_dataclass(source):
    names = [
      (f.name, f.type, f.default)
      for f in dataclasses.fields(source)
      if f.name not in _NOT_FLAGS
    ]
  else:
    names = [
      (p.name, p.annotation, p.default)
      for p in inspect.signature(source).parameters.values()
      if p.kind is p.KEYWORD_ONLY
    ]
  return [
    Option(prefix + name, kind, default, described.get(name, ''))
    for name, kind, default in names
  ]


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
  default = None if optional else option.default
  kwargs = {'flag_values': values, 'module_name': sys.argv[0]}
  kind = option.kind
  if typing.get_origin(kind) is Literal:
    choices = list(typing.get_args(kind))
    flags.DEFINE_enum(option.name, default, choices, option.help, **kwargs)
  elif typing.get_origin(kind) is tuple:
    flags.DEFINE(
      _TupleParser(typing.get_args(kind)[0]),
      option.name,
      default,
      option.help,
      serializer=_TupleSerializer(),
      **kwargs,
    )
  else:
    if isinstance(kind, types.UnionType):
      kind = next(k for k in typing.get_args(kind) if k is not type(None))
    definers = {
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
  decoders: Iterable[str],
) -> list[Option]:
  """The options that exist for what has been selected."""
  options: dict[str, Option] = {}
  sources = [
    *(('model.', lookup(m, METHODS, 'method').head) for m in methods),
    ('encoder.', lookup(encoder, ENCODERS, 'encoder')),
  ]
  if loss:
    sources.append(('loss.', lookup(loss, LOSSES, 'loss')))
  for prefix, factory in sources:
    for option in options_of(factory, prefix):
      options.setdefault(option.name, option)
  return [*options.values(), *decoder_options(decoders)]


def decoder_options(decoders: Iterable[str]) -> list[Option]:
  """The options of some decoders; equal names are one flag."""
  options: dict[str, Option] = {}
  for name in decoders:
    factory = lookup(name, DECODERS, 'decoder')
    for option in options_of(factory, 'decoder.'):
      options.setdefault(option.name, option)
  return list(options.values())


def with_decoders(
  experiment: Experiment, decoders: Iterable[str], options: Mapping[str, Any]
) -> Experiment:
  """The experiment with other decoders and their options."""
  kept = {
    name: value
    for name, value in experiment.options.items()
    if not name.startswith('decoder.')
  }
  return dataclasses.replace(
    experiment, decoders=tuple(decoders), options={**kept, **options}
  )


def with_options(
  experiment: Experiment, options: Mapping[str, Any]
) -> Experiment:
  """The experiment with those of the options that exist for it."""
  exist = {
    option.name
    for option in selectable_options(
      [experiment.method],
      experiment.encoder,
      experiment.loss,
      experiment.decoders,
    )
  }
  merged = {**experiment.options, **options}
  kept = {name: value for name, value in merged.items() if name in exist}
  return dataclasses.replace(experiment, options=kept)


def options_for(
  factory: Callable[..., Any], prefix: str, given: Mapping[str, Any]
) -> dict[str, Any]:
  """Those of the given options that a factory takes, by argument name."""
  return {
    option.name.removeprefix(prefix): given[option.name]
    for option in options_of(factory, prefix)
    if option.name in given
  }


def first_stage(argv: Sequence[str], names: Sequence[str]) -> dict[str, str]:
  """The values of some flags, read before the others are defined.

  Args:
    argv: the command line with the program name; flag files are followed.
    names: flags to read; those absent are left out.
  """
  early = flags.FlagValues()
  flags.DEFINE_string('flagfile', '', '', flag_values=early)
  for name in names:
    flags.DEFINE_string(name, None, '', flag_values=early)
  argv = early.read_flags_from_files(list(argv), force_gnu=True)
  early(argv, known_only=True)
  values = {name: early[name].value for name in names}
  return {name: value for name, value in values.items() if value is not None}


def define_experiment(argv: Sequence[str], values: flags.FlagValues) -> None:
  """Defines every flag that applies to the experiment of a command line."""
  chosen = first_stage(argv, ('method', 'encoder', 'loss', 'decoders'))
  method = chosen.get('method', Experiment.method)
  default = lookup(method, METHODS, 'method')
  decoders = tuple(filter(None, chosen.get('decoders', '').split(',')))
  for part in (Experiment, *PARTS.values()):
    for option in options_of(part):
      define(option, values)
  for option in selectable_options(
    [method],
    chosen.get('encoder', Experiment.encoder),
    chosen.get('loss') or default.loss,
    decoders or (default.decoder,),
  ):
    define(option, values)


def define_places(values: flags.FlagValues) -> None:
  """Where runs are written and data sets are found: no part of a result."""
  for option in (
    Option('workdir', str, 'runs', 'folder of the run directories.'),
    Option('data_dir', str, '', 'folder of data sets, one folder each.'),
  ):
    define(option, values)


def experiment_of(values: flags.FlagValues) -> Experiment:
  """The experiment that parsed flags describe."""

  def part(cls):
    return cls(
      **{option.name: values[option.name].value for option in options_of(cls)}
    )

  top = {
    option.name: values[option.name].value for option in options_of(Experiment)
  }
  prefixes = ('model.', 'encoder.', 'loss.', 'decoder.')
  options = {
    name: values[name].value
    for name in values
    if name.startswith(prefixes) and values[name].value != values[name].default
  }
  parts = {name: part(cls) for name, cls in PARTS.items()}
  return resolved(Experiment(**top, **parts, options=options))


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
