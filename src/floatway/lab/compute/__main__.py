"""``python -m floatway.lab.compute``: see :mod:`floatway.lab.compute.serve`."""

from floatway.lab.compute.serve import main

main()
