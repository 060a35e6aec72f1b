"""``python -m floatway``: the command line."""

from floatway.cli.main import main

main()
