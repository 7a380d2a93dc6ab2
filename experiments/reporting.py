"""From the run directories of a study to its tables, figures and page."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from experiments import edge
from experiments.findings.findings import Findings
from experiments.studies.study import Study
from mlc.report.reading import read
from mlc.report.records import Record
from mlc.report.tables import print_report
from mlc.report.writing import write_report


def report(
  study: Study,
  directory: pathlib.Path,
  configs: Mapping[str, Mapping[str, Any]],
  failures: Mapping[str, str],
  command: str,
  *,
  findings: Findings | None = None,
) -> None:
  """Prints the tables of a study and writes its report.

  Args:
    study: for its question and columns.
    directory: `<workdir>/<study>/`.
    configs: run_id -> config, in the order of the manifest; the config of a
      run that has a directory may be empty.
    failures: run_id -> what went wrong, for runs that failed just now, some
      of them before they had a directory.
    command: what makes the same report again.
    findings: figures and sentences of the study, if it has any.
  """
  records = [
    _with_failure(_named(record, config), failures.get(record.run_id, ''))
    for record, config in zip(
      read(directory, list(configs)), configs.values(), strict=True
    )
  ]
  findings = findings or Findings()
  conclusion = findings.conclusion(records)
  print_report(records, metrics=study.metrics, conclusion=conclusion)
  paths = write_report(
    directory,
    records,
    metrics=study.metrics,
    figures_of_study=findings.figures(records),
    conclusion=conclusion,
    question=study.question,
    command=command,
  )
  print(f'\nNumbers  {os.path.relpath(paths.results)}')
  print(f'Summary  {os.path.relpath(paths.summary)}')
  print(f'Page     {os.path.relpath(paths.page)}')


def _named(record: Record, config: Mapping[str, Any]) -> Record:
  """A run that failed does not say what it was to be: the manifest does."""
  if record.settings or not config:
    return record
  return dataclasses.replace(
    record,
    study=config['study'],
    dataset=config['dataset'],
    method=config['method'],
    encoder=config.get('encoder', record.encoder),
    loss=config.get('loss', record.loss),
    settings=config,
  )


def _with_failure(record: Record, message: str) -> Record:
  """What was just seen counts, whatever an earlier failure left written."""
  if not message:
    return record
  hint = record.hint if record.status == 'failed' else ''
  return dataclasses.replace(
    record, status='failed', error=edge.gist(message), hint=hint
  )
