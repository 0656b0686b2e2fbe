"""`python -m tltool` is the command line."""

from tltool.cli import main

main()
