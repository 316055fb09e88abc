"""What the rule does when it fires: the actions of smdebug against a real endpoint, and the report that it writes."""

from __future__ import annotations

import contextlib
import json
import os
import resource
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable

import pytest
from smdebug.exceptions import InsufficientInformationForRuleInvocation, NoMoreData, RuleEvaluationConditionMet
from smdebug.rules import invoke_rule

from tests.conftest import RECORDED, REPOSITORY, run_python
from tests.sagemaker.conftest import REGION, TRAINING_JOB
from weight_update_ratio import WeightUpdateRatio, check_trial
from weight_update_ratio.sagemaker import report_file, rule_configuration
from weight_update_ratio.sagemaker.report_file import REPORT_FILE

FROZEN, HEALTHY = str(RECORDED["pytorch_frozen"]), str(RECORDED["pytorch_healthy"])
SMS = {"endpoint": "+14155550100", "name": "sms"}
EMAIL = {"endpoint": "Some.One@example.com", "name": "email"}
SMS_TEXT = json.dumps(SMS)


def invoke(rule: WeightUpdateRatio, **options: Any) -> None:
    """Run smdebug's own invoke_rule; the end of the trial is not an error here."""
    with contextlib.suppress(NoMoreData):
        invoke_rule(rule, **options)


@pytest.mark.parametrize("unset", ["", " ", "None", None])
def test_without_actions_and_folder(unset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule fires as with them, and writes nothing."""
    monkeypatch.chdir(tmp_path)
    rule = WeightUpdateRatio(FROZEN, action_str=unset, action_json=unset or [], report_dir=unset)
    invoke(rule)
    assert rule.report["RuleTriggered"] == 19
    assert os.listdir(tmp_path) == []


NAMES = "'action_str' must name actions of stoptraining, sms, email (got {})"


@pytest.mark.parametrize(
    ("action_str", "action_json", "message"),
    [
        (SMS_TEXT, json.dumps(EMAIL), "'action_str' and 'action_json' must not differ (got "),
        ("{", "", "'action_str' must be JSON (got '{')"),
        ("", "stoptraining", "'action_json' must be JSON (got 'stoptraining')"),
        ("", "[" * 100_000, "'action_json' must be JSON (got '[[["),
        ("3", "", NAMES.format("3")),
        ("[[]]", "", NAMES.format("[]")),
        ('{"name": 3}', "", NAMES.format("{'name': 3}")),
        ('{"name": "slack"}', "", NAMES.format("{'name': 'slack'}")),
        (
            '{"name": "StopTraining"}',
            "",
            "'action_str' must give 'training_job_prefix' for the action 'StopTraining' (got {'name': 'StopTraining'})",
        ),
        (
            '{"name": "sms", "endpoint": ""}',
            "",
            "'action_str' must give 'endpoint' for the action 'sms' (got {'name': 'sms', 'endpoint': ''})",
        ),
    ],
    ids=lambda value: value[:40],
)
def test_what_smdebug_would_pass_over_is_refused(action_str: str, action_json: str, message: str) -> None:
    """When the rule is made."""
    with pytest.raises(ValueError, match="must") as caught:
        WeightUpdateRatio(FROZEN, action_str=action_str, action_json=action_json)
    assert str(caught.value).startswith(message)


@pytest.mark.slow
class TestActions:
    def start(self, sagemaker: Any, name: str) -> None:
        sagemaker.create_training_job(TrainingJobName=name, **TRAINING_JOB)

    def status(self, sagemaker: Any, name: str) -> str:
        return str(sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"])

    @pytest.mark.parametrize(
        "form",
        [
            lambda text: {"action_str": f"[{text}]"},
            lambda text: {"action_json": text.replace('"', '\\"')},  # as the service passes it
            lambda text: {"action_str": text.replace("name", "Name").replace("stop", "Stop")},
            lambda text: {"action_json": [json.loads(text)]},
            lambda text: {"action_str": text, "action_json": f"[{text}]"},
        ],
        ids=["list", "escaped", "capitals", "parsed", "both"],
    )
    def test_stoptraining_stops_the_job_in_progress(
        self, clients: Callable[[str], Any], form: Callable[[str], dict[str, Any]], request: pytest.FixtureRequest
    ) -> None:
        """In each form of each parameter; capitals in the prefix count."""
        sagemaker, name = clients("sagemaker"), f"Job-{request.node.callspec.id}"
        self.start(sagemaker, name)
        self.start(sagemaker, f"another-{name}")
        rule = WeightUpdateRatio(FROZEN, **form(f'{{"training_job_prefix": "{name[:-2]}", "name": "stoptraining"}}'))
        invoke(rule, end_step=1)
        assert self.status(sagemaker, name) == "InProgress"  # the first step has nothing to be compared with
        invoke(rule, start_step=1, end_step=2)
        assert self.status(sagemaker, name) == "Stopped"
        assert self.status(sagemaker, f"another-{name}") == "InProgress"

    def test_a_healthy_job_is_not_stopped(self, clients: Callable[[str], Any]) -> None:
        sagemaker = clients("sagemaker")
        self.start(sagemaker, "healthy")
        rule = WeightUpdateRatio(HEALTHY, action_json={"training_job_prefix": "healthy", "name": "stoptraining"})
        invoke(rule)
        assert rule.report["Datapoints"] == 76
        assert self.status(sagemaker, "healthy") == "InProgress"

    @pytest.mark.parametrize("count", [0, 2])
    def test_a_prefix_of_not_exactly_one_job_is_said_in_the_log(
        self, clients: Callable[[str], Any], caplog: pytest.LogCaptureFixture, count: int
    ) -> None:
        for number in range(count):
            self.start(clients("sagemaker"), f"twin-{number}")
        WeightUpdateRatio(FROZEN, action_json={"training_job_prefix": "twin", "name": "stoptraining"})
        expected = (
            f"the action stoptraining will stop nothing: the names of {count} training jobs in progress begin with "
            "'twin', and it needs exactly one"
        )
        assert expected in [record.getMessage() for record in caplog.records]

    def test_messages_are_published_to_the_topic_that_smdebug_makes(self, clients: Callable[[str], Any]) -> None:
        sns, sqs = clients("sns"), clients("sqs")
        topic = sns.create_topic(Name="SMDebugRules")["TopicArn"]
        queue = sqs.create_queue(QueueName="received")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        invoke(WeightUpdateRatio(FROZEN, action_json=[EMAIL, SMS]), end_step=2)
        assert {(each["Protocol"], each["Endpoint"]) for each in sns.list_subscriptions()["Subscriptions"]} == {
            ("sqs", arn),
            ("email", EMAIL["endpoint"]),
            ("sms", SMS["endpoint"]),
        }
        received = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
        messages = [json.loads(message["Body"]) for message in received]
        assert {message["Subject"] for message in messages} == {"SMDebugRule:WeightUpdateRatio fired"}
        values = [value["Value"] for message in messages for value in message["MessageAttributes"].values()]
        assert set(values) == {EMAIL["endpoint"], SMS["endpoint"]}

    def test_the_evaluators_exec_template_carries_an_action(
        self, endpoint: dict[str, str], clients: Callable[[str], Any], source_file: Path
    ) -> None:
        """The whole way: configuration, single file, template, smdebug, endpoint."""
        sagemaker = clients("sagemaker")
        self.start(sagemaker, "Template-Job")
        configuration = rule_configuration("s3://b/r.py", "s3://b/t", REGION, stop_training="Template-", num_steps=3)
        parameters = configuration["DebugRuleConfigurations"][0]["RuleParameters"]
        given = [f"{name}={parameters[name]}" for name in ("num_steps", "action_json")]
        evaluator = REPOSITORY / "examples" / "sagemaker" / "evaluator.py"
        result = run_python(evaluator, source_file, FROZEN, "end_step=2", *given, env=endpoint)
        assert result.returncode == 0, result.stderr
        assert "fired at 1 steps: 1" in result.stdout
        assert self.status(sagemaker, "Template-Job") == "Stopped"


def written_in(folder: Path) -> dict[str, Any]:
    """Return the rule's report; nothing else is in its folder."""
    assert os.listdir(folder) == [REPORT_FILE]
    document: dict[str, Any] = json.loads((folder / REPORT_FILE).read_text())
    return document


def checked(trial: Path | str) -> dict[str, Any]:
    """Return the JSON of a check, without what only it finds."""
    document = json.loads(check_trial(trial).to_json())
    return {name: value for name, value in document.items() if name not in ("findings", "summary")}


class TestReport:
    @pytest.mark.parametrize("name", sorted(set(RECORDED) - {"pytorch_killed"}))
    def test_is_the_json_of_a_check_when_the_trial_ends(self, name: str, tmp_path: Path) -> None:
        """Also where nothing could be compared."""
        folder = tmp_path / "not" / "there"
        rule = WeightUpdateRatio(str(RECORDED[name]), report_dir=str(folder))
        with contextlib.suppress(InsufficientInformationForRuleInvocation):
            invoke(rule)
        assert written_in(folder) == checked(RECORDED[name])

    def test_is_written_anew_after_each_step_that_fires_before_the_actions(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """These may end it all."""
        found: list[Any] = []
        act = lambda *_: found.append(written_in(tmp_path))  # noqa: E731
        monkeypatch.setattr("smdebug.rules.action.action.Actions.invoke", act)
        rule = WeightUpdateRatio(FROZEN, report_dir=tmp_path)
        invoke(rule, end_step=1)
        assert os.listdir(tmp_path) == []
        invoke(rule, start_step=1, end_step=4)
        counts = [(each["violations"][0]["count"], each["counts"]["comparisons"]) for each in found]
        assert counts == [(1, 4), (2, 8), (3, 12)]

    def test_is_written_when_the_last_step_of_an_ended_trial_was_judged(self, tmp_path: Path) -> None:
        """With an end_step, smdebug's invoke_rule asks for no step after the last."""
        rule = WeightUpdateRatio(HEALTHY, report_dir=tmp_path)
        invoke(rule, end_step=25)
        assert os.listdir(tmp_path) == []
        invoke(rule, start_step=25, end_step=26)
        assert written_in(tmp_path)["complete"]

    @pytest.mark.parametrize(
        ("mode", "values", "judged", "fired"),
        [
            ("TRAIN", (1.0, 1.01, 1.02), 2, False),
            ("EVAL", (1.0, 1.01, 1.02), 0, False),  # until the end a TRAIN step might come, and count alone
            ("EVAL", (1.0, 1.01, 100.0), 0, True),
        ],
    )
    def test_is_written_when_a_live_trial_ends(
        self, trial_writer: Any, tmp_path: Path, mode: str, values: tuple[float, ...], judged: int, fired: bool
    ) -> None:
        """Judged as it is written: only smdebug's NoMoreData tells the end; steps of EVAL alone fire only then."""
        writer, folder = trial_writer().collections({"weights": ["w"]}), tmp_path / "report"
        rule = WeightUpdateRatio(str(writer.path), report_dir=folder)
        for step, value in enumerate(values):
            writer.save(step, {"w": [value]}, mode)
            invoke(rule, start_step=step, end_step=step + 1)
        assert (rule.report["Datapoints"], folder.exists()) == (judged, False)
        writer.end()
        with pytest.raises(RuleEvaluationConditionMet if fired else NoMoreData):
            invoke_rule(rule, start_step=3, raise_eval_cond=True)
        assert (rule.report["RuleTriggered"], rule.report["Datapoints"]) == (int(fired), 2)
        assert written_in(folder) == checked(writer.path)

    def test_a_full_disk_leaves_the_last_whole_report(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """That is logged once, and judging goes on; when the disk has room again the report is written again."""
        rule = WeightUpdateRatio(FROZEN, report_dir=str(tmp_path))
        invoke(rule, end_step=2)
        whole = written_in(tmp_path)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        try:
            invoke(rule, start_step=2, end_step=4)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        assert errors == [f"the report '{tmp_path}/{REPORT_FILE}' cannot be written: File too large"]
        assert written_in(tmp_path) == whole
        invoke(rule, start_step=4, end_step=5)
        assert written_in(tmp_path)["violations"][0]["count"] == 4

    def test_takes_a_tenth_of_the_time_at_most(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where writing has taken seconds, a later report takes an earlier one's place; the last is written."""
        now, written = [0.0], []
        render = report_file.run_document

        def slow(run: Any) -> dict[str, Any]:
            now[0] += 2.0
            written.append(len(run))
            return render(run)

        monkeypatch.setattr(report_file, "run_document", slow)
        monkeypatch.setattr(report_file, "time", SimpleNamespace(monotonic=lambda: now[0]))
        rule = WeightUpdateRatio(FROZEN, report_dir=tmp_path)
        for step in range(26):
            now[0] += 1.5
            rule.invoke_at_step(step)
        assert written == [4, 8, 12, 56, 76]  # comparisons
        assert written_in(tmp_path)["counts"]["comparisons"] == 76
