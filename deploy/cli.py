"""The command `keras-tree`: which commands there are, what is printed, and the exit code.

Only this file prints and only this file decides on the exit code. What a command does stands in
`deploy/commands/`, what a report looks like in `deploy/report/`.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
from collections.abc import Sequence
from types import ModuleType
from typing import TextIO

from deploy.commands import (
    boards,
    check,
    demo,
    diff,
    firmware,
    init,
    measure,
    pack,
    quantize,
    run,
    tune,
    unpack,
    verify,
)
from deploy.commands.usage import (
    EXIT_CODES,
    FITS,
    INTERNAL_FAILURE,
    INTERRUPTED,
    WRONG_USAGE,
    CommandParser,
    UsageError,
)

COMMANDS: dict[str, ModuleType] = {
    "demo": demo,
    "quantize": quantize,
    "tune": tune,
    "run": run,
    "init": init,
    "check": check,
    "diff": diff,
    "boards": boards,
    "firmware": firmware,
    "measure": measure,
    "pack": pack,
    "unpack": unpack,
    "verify": verify,
}
_DESCRIPTION = """\
One Keras tree for several tasks on one microcontroller: a shared trunk and a branch per task,
each node an int8 .tflite file. These commands quantize a trained tree, run it on this machine,
say what it costs in ROM, RAM and time on a board, and write the firmware that runs it."""
_EPILOG = f"""\
examples:
  keras-tree demo --out demo-output
  keras-tree check demo-output/bundle --board nano33ble --rom "200 KiB" --ram "64 KiB"
  keras-tree firmware demo-output/bundle --board nano33ble --out firmware
  keras-tree check --help

{EXIT_CODES}"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments after the program's name; those of the process when None.

    Returns:
        The exit code: 0 fits, 1 over budget, 2 wrong usage or configuration, 3 internal failure,
        130 interrupted.
    """
    prog, debug = "keras-tree", False
    if sys.stdout is None:  # closed, as by `>&-`
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal's encoding cannot show must not end a check with a failure.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        arguments = parse_arguments(argv)
        prog, debug = arguments.parser.prog, arguments.debug
        code = int(arguments.module.run(arguments, say))
    except SystemExit as stop:  # argparse ends so after --help and --version, and on wrong usage
        code = stop.code if isinstance(stop.code, int) else FITS
    except KeyboardInterrupt:
        code = complain(prog, "interrupted", INTERRUPTED)
    except UsageError as error:
        code = complain(prog, str(error), WRONG_USAGE, debug)
    except Exception as error:
        advice = "" if debug else " Run it again with --debug to see where."
        told = " ".join(f"internal failure: {type(error).__name__}: {error}".split())
        code = complain(prog, f"{told.rstrip('.')}.{advice}", INTERNAL_FAILURE, debug)
    flush()
    return code


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; ends the process on `--help`, `--version` and wrong usage.

    Returns:
        The command's options, and `module` and `parser` of the command.
    """
    parser = build_parser()
    arguments, unknown = parser.parse_known_args(argv)
    if arguments.version:
        say(f"keras-tree {installed_version()}")
        parser.exit()
    if arguments.command is None:
        parser.error(f"a command is expected, none was given. The commands are: {_listed()}")
    if unknown:
        arguments.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return arguments


def _listed() -> str:
    return ", ".join(COMMANDS)


def build_parser() -> CommandParser:
    """The parser of `keras-tree` with one sub-parser per command."""
    parser = CommandParser(prog="keras-tree", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, module in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=module.SUMMARY,
            usage=f"keras-tree {name} {module.USAGE}",
            description=module.DESCRIPTION,
            epilog=f"{module.EPILOG}\n{EXIT_CODES}",
        )
        module.add_arguments(command)
        command.add_argument(
            "--debug",
            action="store_true",
            default=argparse.SUPPRESS,
            help="show the traceback of an error or failure",
        )
        command.set_defaults(module=module, parser=command)
    return parser


def installed_version() -> str:
    """The version of the installed distribution."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("keras-tree")
    except PackageNotFoundError:
        return "(not installed)"


def say(text: str = "") -> None:
    """Print a line. A reader who has left (`| head`) is no error: the exit code still tells.

    Raises:
        UsageError: Standard output is a file on a full disk, or cannot be written to otherwise.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        discard(sys.stdout)
    except OSError as error:
        discard(sys.stdout)
        raise UsageError(
            f"standard output cannot be written to: {error.strerror}. Send it elsewhere."
        ) from error


def complain(prog: str, message: str, code: int, debug: bool = False) -> int:
    """Print an error on stderr, with the traceback if wanted, and give `code` back."""
    try:
        if debug:
            traceback.print_exc()
        print(f"{prog}: {message}", file=sys.stderr, flush=True)
    except OSError:  # nobody reads it, as in `2>&1 | head`; the exit code still tells
        discard(sys.stderr)
    return code


def flush() -> None:
    """Write out what is buffered while a broken pipe can still be answered quietly."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)


def discard(stream: TextIO) -> None:
    """Send the rest of a stream to nowhere, also what Python flushes when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    sys.exit(main())
