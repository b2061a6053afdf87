"""Launches ae-sweep from a checkout: ``python cli.py run --dims 2 8 32``."""

from ae_sweep.cli.app import main

if __name__ == "__main__":
    main()
