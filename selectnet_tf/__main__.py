"""selectnet COMMAND [FLAGS]: `selectnet COMMAND --help` describes a command."""

import importlib
import os
import sys

COMMANDS = {
    "train": "trains a classifier by one recipe and writes its row of results",
    "predict": "classifies images with a trained model",
    "report": "writes tables, figures and a page about the runs in a results folder",
    "sweep": "trains the missing runs of one of the paper's tables",
    "score": "scores a pool of any size with a trained model",
    "pick": "selects from such scores and writes a folder for the next run",
    "doctor": "checks TensorFlow, GPU, memory and data",
}
WORDS = {"train": 0, "sweep": 1, "score": 0, "pick": 0}  # beside the flags, at most; others: any


def main() -> int:
    """Runs the command in sys.argv. Returns its exit code: 2 for a wrong command line."""
    command, *arguments = sys.argv[1:] or ["--help"]
    return run(command, arguments)


def run(command: str, arguments: list[str], doc: str | None = None) -> int:
    """Runs one command with its flags. Returns its exit code, after an expected error's one line.

    doc: the text above the flags of --help; None: the command's own.
    """
    try:
        try:
            return _run(command, arguments, doc)
        finally:
            print(end="", flush=True)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # Python flushes it at its end
        return 141  # as of a program that SIGPIPE ends
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        from selectnet_tf._console import describe_error, fail, is_expected

        if not is_expected(error):
            raise
        wrong_flag = isinstance(error, ValueError) and str(error).startswith("--")
        return fail(describe_error(error), 2 if wrong_flag else 1)


def _run(command: str, arguments: list[str], doc: str | None) -> int:
    if command in ("--help", "-h", "help"):
        width = max(map(len, COMMANDS))
        lines = (f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
        print(__doc__, "", *lines, sep="\n")
        return 0
    if command == "--version":
        print("selectnet", importlib.import_module("selectnet_tf").__version__)
        return 0
    if command not in COMMANDS:
        known = ", ".join(COMMANDS)
        print(f"error: expected a command ({known}), received {command!r}", file=sys.stderr)
        return 2
    module = importlib.import_module(f"selectnet_tf.commands.{command}")
    arguments = ["--help" if word == "-h" else word for word in arguments]
    sys.argv = [f"selectnet {command}", *arguments]
    if command == "doctor":  # works where absl is missing
        return int(module.main(arguments))
    from absl import flags

    from selectnet_tf._console import parse

    sys.modules["__main__"].__doc__ = doc or module.__doc__  # absl prints it, and these flags
    module.define_flags()
    if command == "train" and {"--help", "--helpfull"} & {*arguments}:  # absl's is one flat list
        print(module.describe_flags("--helpfull" in arguments))
        return 0
    for flag in flags.FLAGS.get_flags_for_module(module.__name__):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    return int(module.main(parse(sys.argv, WORDS.get(command))))


if __name__ == "__main__":
    sys.exit(main())
