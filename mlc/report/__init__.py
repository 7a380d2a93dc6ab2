"""From run directories to tables, figures and one page; never reads models."""
