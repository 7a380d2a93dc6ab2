"""From run directories to tables, figures and one page; never reads models."""

from mlc.report.records import Record, read

__all__ = ['Record', 'read']
