"""Run the command line: ``python -m ae_sweep run --dims 2 8 32``."""

from ae_sweep.cli.app import main

if __name__ == "__main__":
    main()
