"""`python -m xpert_mq.cli`, where the console script is not installed."""

from xpert_mq.cli import main

main(prog_name="xpert-mq")
