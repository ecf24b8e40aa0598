"""The command line: `python -m jaxconv doctor`."""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence

from jaxconv import doctor

DOCTOR = (
    "Measure which known wrong results of XLA this installation has, what they mean, and the line "
    "that cures each. The exit status is 0 only if there are none, and 1 otherwise."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status."""
    options = _parser().parse_args(argv)
    diagnosis = doctor.diagnose()
    if options.json:
        sys.stdout.write(json.dumps(doctor.as_json(diagnosis), indent=2) + "\n")
    else:
        width = min(shutil.get_terminal_size().columns, 100)
        sys.stdout.write(doctor.report(diagnosis, width=width) + "\n")
    return 0 if (diagnosis.own_trusted if options.own else diagnosis.trusted) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m jaxconv", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("doctor", help="check this installation", description=DOCTOR)
    command.add_argument("--json", action="store_true", help="write the findings as JSON")
    command.add_argument(
        "--own", action="store_true", help="let only jaxconv's own operations decide the status"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
