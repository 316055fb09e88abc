"""The command. Heavy imports are inside of functions, so that ``--help`` answers at once."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from typing import TYPE_CHECKING, Any, Callable

import click

from .errors import TrialError
from .parameters import TABLE, Parameters
from .render.terminal import print_error, print_note, print_text, require, require_folder, save_text, writing
from .version import __version__

if TYPE_CHECKING:
    from .report import Report

FORMATS = ("text", "json", "junit", "github", "markdown")


class _Command(click.Group):
    """The group of commands. Click ends with 1 if it is interrupted, which would say that there is a fault."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command and end with its exit code; of a TrialError it is 2, with a message."""
        code = 2
        try:
            code = super().main(*args, **{**options, "standalone_mode": False})
        except SystemExit:  # pragma: no cover  (test_streams runs it in a process of its own)
            pass  # click's own, with 1, where nobody reads its output
        except click.ClickException as error:
            error.show()
        except TrialError as error:
            print_error(error)
        sys.exit(code)


SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True}


@click.group(cls=_Command, context_settings=SETTINGS)
@click.version_option(__version__, prog_name="weight-update-ratio")
def main() -> None:
    """Tell whether a training job's weights were updated too much, too little, or not finitely."""


def rule_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each parameter of the rule; values stay strings, because the rule's parsers check them."""
    for name, default in reversed(Parameters().as_dict().items()):
        option = f"--{name.replace('_', '-')}"
        settings = {"default": str(default)} if default is not None else {"multiple": name == "baseline"}
        command = click.option(option, metavar=TABLE[name].metavar, help=TABLE[name].sentence, **settings)(command)
    return command


file_option = functools.partial(click.option, type=click.Path(dir_okay=False), metavar="FILE")
output_option = file_option("--output", help="Write it to FILE and not to stdout.")


@main.command()
@click.argument("trial", nargs=-1, required=True)
@rule_options
@file_option("--save-baseline", help="Write the ratios, with those of --baseline, as a baseline for other runs.")
@click.option(
    "--start-step",
    type=click.IntRange(min=0),
    default=0,
    metavar="STEP",
    help="First global step that is judged; it counts the steps of all modes.",
)
@click.option("--end-step", type=click.IntRange(min=1), metavar="STEP", help="Global step before which judging ends.")
@click.option("--format", "style", type=click.Choice(FORMATS), default="text", help="What to print.")
@output_option
@file_option("--history", help="Write every comparison to FILE: .jsonl, .csv or .parquet.")
@click.option("--dask", metavar="ADDRESS", help="Judge ranges of steps on this Dask scheduler's workers.")
@file_option("--html", help="Write a page with charts to FILE.")
@click.option(
    "--tensorboard", type=click.Path(file_okay=False), metavar="DIR", help="Write TensorBoard's event files to DIR."
)
@click.option("--follow", is_flag=True, help="Judge a job that is still writing, until it ends.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Seconds without a new step after which --follow ends: by default 600.",
)
@click.option("--fail-fast", is_flag=True, help="End --follow at the first fault.")
@click.option("--strict", is_flag=True, help="Count all that fires, as the rule does, and not only faults.")
@click.option("--verbose", is_flag=True, help="Print all findings, and a row a tensor with its course.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors; the exit code tells.")
def check(
    trial: tuple[str, ...],
    style: str,
    output: str | None,
    history: str | None,
    save_baseline: str | None,
    dask: str | None,
    html: str | None,
    tensorboard: str | None,
    follow: bool,
    timeout: float | None,
    fail_fast: bool,
    verbose: bool,
    quiet: bool,
    **asked: Any,
) -> int:
    """Judge the recorded trial folder TRIAL: a path, or an S3 URI such as s3://bucket/job/trial.

    Or a history (.jsonl) that RatioMonitor or --history wrote; several are the workers of one run.

    Exit code: 0 everything was compared and there is no fault, though there may be notes; 1 there is a fault, or with
    --strict anything that fires; 2 it could not be judged. With --follow, Ctrl-C prints what was found so far.
    """
    from .check import check_trial, dask_executor
    from .compare.history import HISTORY_ENDING, history_files
    from .follow import follow_trial
    from .render.data import HISTORY_ENDINGS, write_history
    from .render.live_view import LiveView
    from .render.progress import progress_bar
    from .render.words.run import incomplete
    from .report import unjudged_report

    run = trial[0] if len(trial) == 1 else trial
    for option, given in (("--follow", follow), ("--dask", dask is not None)):
        if given and history_files(run):
            raise TrialError(f"{option!r} has no meaning for a history ({trial[0]!r})", f"Leave {option} out.")
    if follow and dask is not None:
        raise TrialError("'--follow' and '--dask' exclude each other", "Leave one of them out.")
    for option, given in (("--timeout", timeout is not None), ("--fail-fast", fail_fast)):
        if given and not follow:
            raise TrialError(f"{option!r} needs '--follow'", f"Add --follow, or leave {option} out.")
    for option, given in (("--quiet", quiet), (f"--format {style}", style != "text")):
        if verbose and given:
            raise TrialError(f"'--verbose' and {option!r} exclude each other", "Leave one of them out.")
    if history is not None and not history.endswith(HISTORY_ENDINGS):
        endings = ", ".join(HISTORY_ENDINGS)
        message = f"'--history' must end in {endings} (got {history!r})"
        raise TrialError(message, f"Name a file that ends in {endings}.")
    if save_baseline is not None and save_baseline.endswith(HISTORY_ENDING):
        message = f"'--save-baseline' must not end in {HISTORY_ENDING}, by which histories are known"
        raise TrialError(message, "Name a file that ends in .json.")
    if history is not None and history.endswith(".parquet"):
        require("pyarrow", "--history", "parquet")
    if html is not None:
        require("bokeh", "--html", "report")
        require("jinja2", "--html", "report")
    outputs = {"--output": output, "--history": history, "--html": html, "--save-baseline": save_baseline}
    named = {**dict.fromkeys(asked["baseline"], "--baseline"), **dict.fromkeys(trial, "TRIAL")}
    named = {os.path.realpath(path): option for path, option in named.items()}
    for option, path in outputs.items():
        require_folder(path)
        other = named.setdefault(os.path.realpath(path), option) if path is not None else option
        if other != option and (other, option) != ("--baseline", "--save-baseline"):
            raise TrialError(f"{other!r} and {option!r} name the same file ({path!r})", "Name a file for each.")
    try:
        is_shown = not quiet and sys.stderr is not None and sys.stderr.isatty()
        bar = progress_bar() if is_shown else contextlib.nullcontext()
        with dask_executor(dask) as executor, bar as progress:
            judge: Callable[..., Report] = functools.partial(check_trial, executor=executor)
            if follow:
                seconds: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
                judge = functools.partial(follow_trial, **seconds, watch=LiveView(quiet, html, fail_fast))
            report = judge(run, **asked, progress=progress)
    except ValueError as error:
        raise TrialError(str(error), "'weight-update-ratio check --help' lists what each option takes.") from None
    except TrialError as error:
        if style != "text":  # programs read the others, whatever happened
            parameters = {name: asked[name] for name in TABLE}
            _print_report(unjudged_report(", ".join(trial), parameters, error), style, output, quiet, verbose)
        raise
    if history is not None:
        with writing(history):
            write_history(report, history)
    if html is not None:
        save_text(report.to_html(), html)
    if tensorboard is not None:
        with writing(tensorboard, "Name a folder that may be made and written to."):
            report.to_tensorboard(tensorboard)
    _print_report(report, style, output, quiet, verbose)
    if report.problem is not None:
        print_error(report.problem)
    elif report.exit_code == 2 and (quiet or output is not None):
        print_error(incomplete(report))
    if save_baseline is not None:
        _save_baseline(report, save_baseline, quiet)
    return report.exit_code


def _save_baseline(report: Report, path: str, quiet: bool) -> None:
    try:
        text = report.to_baseline()
    except TrialError as error:
        print_note(f"{path!r} is not written: {error.message if report.complete else 'the report is not complete'}")
        return
    save_text(text, path)
    if report.fired and not quiet:
        print_note(f"{path!r} is made of a run that fired: what it has is sound from now on.")


def _print_report(report: Report, style: str, output: str | None, quiet: bool, verbose: bool) -> None:
    if output is not None:
        save_text(_rendered(report, style, False, verbose), output)
    elif not quiet:
        print_text(_rendered(report, style, True, verbose), end="\n" if style == "json" else "")
    if style == "github":
        from .render.github import SUMMARY, append_summary

        with writing(os.environ.get(SUMMARY), f"{SUMMARY} must name a file that may be written to."):
            append_summary(report)


@main.command("rule-source")
@output_option
def print_rule_source(output: str | None) -> None:
    """Print the rule as one Python source file, as SageMaker Debugger takes a custom rule."""
    from .sagemaker.single_file import rule_source

    _print_or_save(rule_source(), output)


@main.command("rule-config")
@click.option("--source", required=True, metavar="URI", help="The rule's source file on S3, which 'rule-source' makes.")
@click.option("--output-path", required=True, metavar="URI", help="Where on S3 the training job saves its tensors.")
@click.option("--region", metavar="REGION", help="Region of the training job, which tells the evaluator's image.")
@click.option("--image-uri", metavar="IMAGE", help="The evaluator's image, for a region that is not known here.")
@click.option("--instance-type", default="ml.t3.medium", metavar="TYPE", help="Where the rule runs.")
@click.option("--volume-size", type=int, default=30, metavar="GB", help="Size of that instance's disk.")
@click.option("--name", default="WeightUpdateRatio", metavar="NAME", help="Name of the rule.")
@click.option("--save-interval", type=int, default=1, metavar="N", help="Save the weights at every N-th step.")
@rule_options
@click.option("--start-step", type=int, metavar="STEP", help="First global step that the rule is asked about.")
@click.option("--end-step", type=int, metavar="STEP", help="Global step before which it ends.")
@click.option(
    "--report-dir",
    metavar="DIR",
    help="The evaluator's folder for the rule's report; the service uploads /opt/ml/processing/output/rule.",
)
@click.option(
    "--stop-training", metavar="PREFIX", help="Stop the training job whose name begins with PREFIX when the rule fires."
)
@click.option("--email", metavar="ADDRESS", help="Send a message there when the rule fires.")
@click.option("--sms", metavar="NUMBER", help="Send a message to this telephone (+, country's code, digits).")
@output_option
def print_rule_configuration(output: str | None, baseline: tuple[str, ...], **options: Any) -> None:
    """Print the JSON that makes SageMaker Debugger run the rule beside a training job.

    It holds DebugRuleConfigurations and DebugHookConfig as create_training_job takes them.
    """
    import json
    import warnings

    from .sagemaker.configuration import rule_configuration

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            configuration = rule_configuration(baseline=",".join(baseline), **options)
    except ValueError as error:
        remedy = "'weight-update-ratio rule-config --help' lists what each option takes."
        raise TrialError(str(error), remedy) from None
    for warning in caught:
        click.echo(f"Warning: {warning.message}", err=True)
    _print_or_save(json.dumps(configuration, indent=2) + "\n", output)


def _print_or_save(text: str, output: str | None) -> None:
    if output is None:
        print_text(text, end="")
    else:
        save_text(text, output)


def _rendered(report: Report, style: str, to_stdout: bool, verbose: bool) -> str:
    """Return the report in a format; as text on stdout without the problem, which stderr gets."""
    if style != "text":
        return str(getattr(report, f"to_{style}")())
    from .render.text import render_text

    color = to_stdout and sys.stdout is not None and sys.stdout.isatty()
    width = os.get_terminal_size(sys.stdout.fileno()).columns if color else None
    color = color and "NO_COLOR" not in os.environ
    return render_text(report, width, color, problem=not to_stdout, verbose=verbose)
