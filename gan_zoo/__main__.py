"""`python -m gan_zoo` is `gan-zoo`."""

from gan_zoo.cli import main

main()
