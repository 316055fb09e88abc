"""``python -m weight_update_ratio`` is the command."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="weight-update-ratio")
