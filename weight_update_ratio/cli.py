"""The command: arguments, files, exit codes. It parses, calls the library and writes.

Nothing heavy is imported before it is needed: ``--help`` answers at once.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, Callable, Iterator

import click

from .files import CommandError, print_text, whole_file
from .version import __version__

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from .errors import TrialError
    from .report import Report

DASK_SECONDS = 10  # to reach the scheduler
FORMATS = ("text", "json", "junit", "github", "markdown")
HISTORY_ENDINGS = (".jsonl", ".csv", ".parquet")


class _Command(click.Group):
    """The group of commands; whatever ends one early, the exit code is never that of a rule that fired."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and turn what it did not expect into a message and exit code 2."""
        try:
            with _tidy_termination():
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            raise CommandError("interrupted before the trial was judged", "Run the command again.") from None
        except Exception as error:
            raise CommandError(
                f"a defect of this command: {type(error).__name__}: {error}",
                "Please report it; weight_update_ratio.check_trial(TRIAL) in Python shows where it happens.",
            ) from None


@contextlib.contextmanager
def _tidy_termination() -> Iterator[None]:
    """Let SIGTERM end the command as an exception does, so that no temporary file stays; exit code 143."""

    def end(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
    else:
        before = signal.signal(signal.SIGTERM, end)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)


@click.group(cls=_Command, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="weight-update-ratio")
def main() -> None:
    """Tell whether a training job's weights were updated too much, too little, or not finitely."""


def rule_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each parameter of the rule; values stay strings, and are checked where the rule's are."""
    options = [
        click.option(
            "--num-steps",
            metavar="N",
            help="Compare with the oldest saved step at most N steps back [the previous saved step].",
        ),
        click.option("--large-threshold", metavar="X", help="A ratio above it is a violation [10.0]."),
        click.option("--small-threshold", metavar="X", help="A ratio below it is a violation [1e-08]."),
        click.option("--epsilon", metavar="X", help="Added to the norm of the weights [1e-09]."),
        click.option(
            "--collection-names", metavar="NAMES", help="Collections to compare, separated by commas [weights]."
        ),
        click.option(
            "--tensor-regex",
            metavar="PATTERNS",
            help="Only tensors that match one of these patterns, separated by commas.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@click.argument("trial")
@rule_options
@click.option(
    "--start-step", type=click.IntRange(min=0), default=0, metavar="STEP", help="First global step that is judged [0]."
)
@click.option(
    "--end-step",
    type=click.IntRange(min=1),
    metavar="STEP",
    help="Global step before which judging ends [after the last].",
)
@click.option("--format", "style", type=click.Choice(FORMATS), default="text", help="What to print [text].")
@click.option("--output", type=click.Path(dir_okay=False), metavar="FILE", help="Write it to FILE, not to stdout.")
@click.option(
    "--history",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write every comparison to FILE: .jsonl, .csv or .parquet.",
)
@click.option("--dask", metavar="ADDRESS", help="Judge ranges of steps on the workers of this Dask scheduler.")
@click.option("--html", type=click.Path(dir_okay=False), metavar="FILE", help="Write a page with charts to FILE.")
@click.option(
    "--tensorboard", type=click.Path(file_okay=False), metavar="DIR", help="Write TensorBoard's event files to DIR."
)
@click.option("--follow", is_flag=True, help="Judge a job that is still writing, step by step until it ends.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    metavar="S",
    help="Seconds without a new step after which --follow ends [600].",
)
@click.option("--quiet", is_flag=True, help="Print nothing but errors; the exit code tells.")
def check(
    trial: str,
    start_step: int,
    end_step: int | None,
    style: str,
    output: str | None,
    history: str | None,
    dask: str | None,
    html: str | None,
    tensorboard: str | None,
    follow: bool,
    timeout: float,
    quiet: bool,
    **parameters: Any,
) -> None:
    """Judge the recorded trial folder TRIAL.

    Exit code: 0 everything was compared and nothing fired; 1 the rule fired; 2 it could not be judged. With --follow,
    Ctrl-C prints what was found so far.
    """
    from .check import check_trial
    from .errors import TrialError
    from .follow import follow_trial

    if follow and dask is not None:
        raise CommandError("'--follow' and '--dask' exclude each other", "Follow a job without workers.")
    if history is not None and not history.endswith(HISTORY_ENDINGS):
        raise CommandError(
            f"'--history' must end in {', '.join(HISTORY_ENDINGS)} (got {history!r})",
            "The ending says which format is written.",
        )
    if html is not None:
        _require_bokeh()
    try:
        with _dask_executor(dask) as executor, _progress_bar(quiet) as progress:
            judge: Callable[..., Report] = functools.partial(check_trial, executor=executor)
            if follow:
                judge = functools.partial(follow_trial, timeout=timeout)
            report = judge(trial, **parameters, start_step=start_step, end_step=end_step, progress=progress)
    except ValueError as error:
        raise CommandError(str(error), "'weight-update-ratio check --help' lists what each option takes.") from None
    except TrialError as error:
        if style in ("junit", "github", "markdown"):  # a CI reads them, whatever happened
            _print_report(_unjudged_report(trial, error), style, output, quiet)
        raise CommandError(str(error), error.remedy) from None
    if history is not None:
        _write_history(report, history)
    if html is not None:
        with whole_file(html) as file:
            file.write(report.to_html())
    if tensorboard is not None:
        _write_tensorboard(report, tensorboard)
    _print_report(report, style, output, quiet)
    if report.problem is not None:
        CommandError(str(report.problem), report.problem.remedy).show()
    sys.exit(report.exit_code)


def _unjudged_report(trial: str, problem: TrialError) -> Report:
    """Return the report of a trial that cannot even be opened."""
    from .parameters import Parameters
    from .report import Report

    report = Report(trial, Parameters())
    report.problem = problem
    return report


def _print_report(report: Report, style: str, output: str | None, quiet: bool) -> None:
    if output is not None:
        with whole_file(output) as file:
            file.write(_rendered(report, style, color=False))
    elif not quiet:
        print_text(_rendered(report, style, color=sys.stdout.isatty()), end="\n" if style == "json" else "")
    if style == "github":
        from .render.github import SUMMARY, append_summary

        try:
            append_summary(report)
        except OSError as error:
            raise CommandError(
                f"the summary {os.environ.get(SUMMARY)!r} cannot be written: {error.strerror}",
                f"{SUMMARY} must name a file that may be written to; GitHub's runner sets it.",
            ) from None


@main.command("rule-source")
@click.option("--output", type=click.Path(dir_okay=False), metavar="FILE", help="Write it to FILE, not to stdout.")
def print_rule_source(output: str | None) -> None:
    """Print the rule as one Python source file, as SageMaker Debugger takes a custom rule."""
    from .sagemaker.configuration import rule_source

    _write_text(rule_source(), output)


@main.command("rule-config")
@click.option("--source", required=True, metavar="URI", help="The rule's source file on S3, which 'rule-source' makes.")
@click.option("--output-path", required=True, metavar="URI", help="Where on S3 the training job saves its tensors.")
@click.option("--region", metavar="REGION", help="Region of the training job, which tells the evaluator's image.")
@click.option("--image-uri", metavar="IMAGE", help="The evaluator's image, for a region that is not known here.")
@click.option("--instance-type", default="ml.t3.medium", metavar="TYPE", help="Where the rule runs [ml.t3.medium].")
@click.option("--volume-size", type=int, default=30, metavar="GB", help="Size of that instance's disk [30].")
@click.option("--name", default="WeightUpdateRatio", metavar="NAME", help="Name of the rule [WeightUpdateRatio].")
@click.option("--save-interval", type=int, default=1, metavar="N", help="Save the weights at every N-th step [1].")
@rule_options
@click.option(
    "--report-dir",
    metavar="DIR",
    help="Folder there for the rule's report; the service uploads /opt/ml/processing/output/rule.",
)
@click.option(
    "--stop-training", metavar="PREFIX", help="Stop the training job whose name begins so when the rule fires."
)
@click.option("--email", metavar="ADDRESS", help="Send a message there when the rule fires.")
@click.option("--sms", metavar="NUMBER", help="Send a message to this telephone (+, country's code, digits).")
@click.option("--output", type=click.Path(dir_okay=False), metavar="FILE", help="Write it to FILE, not to stdout.")
def print_rule_configuration(output: str | None, **options: Any) -> None:
    """Print the JSON that makes SageMaker Debugger run the rule beside a training job.

    It holds DebugRuleConfigurations and DebugHookConfig as create_training_job takes them.
    """
    import json
    import warnings

    from .sagemaker.configuration import rule_configuration

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            configuration = rule_configuration(**options)
    except ValueError as error:
        raise CommandError(
            str(error), "'weight-update-ratio rule-config --help' lists what each option takes."
        ) from None
    for warning in caught:
        click.echo(f"Warning: {warning.message}", err=True)
    _write_text(json.dumps(configuration, indent=2) + "\n", output)


def _write_text(text: str, output: str | None) -> None:
    if output is None:
        print_text(text, end="")
        return
    with whole_file(output) as file:
        file.write(text)


def _rendered(report: Report, style: str, color: bool) -> str:
    if style != "text":
        rendered: str = getattr(report, f"to_{style}")()
        return rendered
    from .render.text import render_text

    width = os.get_terminal_size(sys.stdout.fileno()).columns if color else None
    return render_text(report, width, color and "NO_COLOR" not in os.environ)


@contextlib.contextmanager
def _dask_executor(address: str | None) -> Iterator[Executor | None]:
    """Give an executor on the workers of a Dask scheduler, where an address is given."""
    if address is None:
        yield None
        return
    try:
        from distributed import Client
    except ImportError:
        raise CommandError(
            "'--dask' needs Dask, which is not installed", "pip install 'weight-update-ratio[dask]'"
        ) from None
    try:
        client = Client(address, timeout=DASK_SECONDS)
    except (OSError, ValueError) as error:
        raise CommandError(
            f"there is no Dask scheduler at {address!r} ({error})", "Give the address that 'dask scheduler' printed."
        ) from None
    with client:
        yield client.get_executor(pure=False)


@contextlib.contextmanager
def _progress_bar(quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Give a progress bar on stderr, where that is a terminal; it goes when done."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from .render.progress import terminal_bar

    with terminal_bar() as step_done:
        yield step_done


def _require_bokeh() -> None:
    from .render.page.chart import MissingExtraError, require_bokeh

    try:
        require_bokeh()
    except MissingExtraError as error:
        raise CommandError(f"'--html' needs {error.name}, which is not installed", error.remedy) from None


def _write_tensorboard(report: Report, folder: str) -> None:
    from .render.tensorboard import write_tensorboard

    try:
        write_tensorboard(report, folder)
    except OSError as error:
        raise CommandError(
            f"{folder!r} cannot be written: {error.strerror}", "Name a folder that may be made and written to."
        ) from None


def _write_history(report: Report, path: str) -> None:
    from .render.json import write_csv, write_json_lines

    if path.endswith(".parquet"):
        try:
            import pyarrow  # noqa: F401  (pandas would name it among others)
        except ImportError:
            raise CommandError(
                "writing Parquet needs pyarrow, which is not installed", "pip install 'weight-update-ratio[parquet]'"
            ) from None
        with whole_file(path, "wb") as file:
            report.comparisons().to_parquet(file, index=False)
    else:
        with whole_file(path) as file:
            (write_csv if path.endswith(".csv") else write_json_lines)(report, file)
