"""``python -m decnet_tui``: the command line."""

from decnet_tui.cli.main import run

if __name__ == "__main__":
    run()
