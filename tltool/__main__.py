"""`python -m tltool` is the command line."""

from tltool.cli import run_and_leave

run_and_leave()
