"""What the rule does when it fires: the actions of smdebug against a real endpoint, and the report that it writes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from tests.conftest import RECORDED, REPOSITORY, TrialWriter, run_command
from tests.sagemaker.server import REGION, running_server
from weight_update_ratio.sagemaker.actions import parse_actions
from weight_update_ratio.sagemaker.report_file import REPORT_FILE

STOP = {"training_job_prefix": "My-Job", "name": "stoptraining"}
EMAIL = {"endpoint": "Some.One@example.com", "name": "email"}
SMS = {"endpoint": "+14155550100", "name": "sms"}


def make_rule(trial: Any, **parameters: Any) -> Any:
    from weight_update_ratio import WeightUpdateRatio

    return WeightUpdateRatio(trial, **parameters)


def invoke(rule: Any, **options: Any) -> None:
    """Run smdebug's own invoke_rule; the end of the trial is not an error here."""
    from smdebug.exceptions import NoMoreData
    from smdebug.rules import invoke_rule

    with contextlib.suppress(NoMoreData):
        invoke_rule(rule, **options)


class TestParseActions:
    @pytest.mark.parametrize("unset", ["", " ", "None", None, [], "[]"])
    def test_nothing_given_is_no_action(self, unset: Any) -> None:
        assert parse_actions(unset, unset) == ""

    @pytest.mark.parametrize(
        "text",
        [
            json.dumps([STOP, SMS]),
            json.dumps([STOP, SMS]).replace('"', '\\"'),
            json.dumps([{"Name": "StopTraining", "Training_Job_Prefix": "My-Job"}, SMS]),
            [STOP, SMS],
        ],
        ids=["plain", "escaped", "capitals", "parsed"],
    )
    @pytest.mark.parametrize("parameter", ["action_str", "action_json"])
    def test_each_form_of_each_parameter_says_the_same(self, parameter: str, text: Any) -> None:
        actions = parse_actions(**{"action_str": "", "action_json": "", parameter: text})
        assert json.loads(actions) == [STOP, SMS]

    def test_one_action_needs_no_list(self) -> None:
        assert json.loads(parse_actions(json.dumps(SMS))) == [SMS]

    def test_the_same_in_both_parameters_is_done_once(self) -> None:
        assert json.loads(parse_actions(json.dumps(STOP), json.dumps([STOP]).replace('"', '\\"'))) == [STOP]

    def test_two_parameters_that_differ_are_refused(self) -> None:
        with pytest.raises(ValueError, match="'action_str' and 'action_json' must not differ"):
            parse_actions(json.dumps(STOP), json.dumps(SMS))

    @pytest.mark.parametrize("text", ["{", "stoptraining", '[{"name": sms}]', "[" * 100_000])
    def test_what_is_no_json_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="'action_json' must be JSON"):
            parse_actions("", text)

    @pytest.mark.parametrize("text", ["3", '"sms"', "{}", '{"name": "slack"}', '{"name": 3}', "[[]]"])
    def test_an_action_that_smdebug_lacks_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="'action_str' must name actions of stoptraining, sms, email"):
            parse_actions(text)

    @pytest.mark.parametrize("action", [{"name": "stoptraining"}, {"name": "sms", "endpoint": ""}, {"name": "email"}])
    def test_an_action_that_smdebug_would_pass_over_is_refused(self, action: dict[str, str]) -> None:
        with pytest.raises(ValueError, match=r"'action_str' must give '(training_job_prefix|endpoint)' for the action"):
            parse_actions(json.dumps(action))

    def test_a_bad_action_is_an_error_when_the_rule_is_made(self) -> None:
        with pytest.raises(ValueError, match="must name actions of"):
            make_rule(str(RECORDED["pytorch_frozen"]), action_json='{"name": "slack"}')


@pytest.fixture(scope="module")
def endpoint() -> Iterator[dict[str, str]]:
    with running_server() as environment:
        yield environment


@pytest.fixture
def clients(endpoint: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Give a function that returns a boto3 client for the endpoint, which smdebug's own clients go to as well."""
    import boto3

    for name, value in endpoint.items():
        monkeypatch.setenv(name, value)
    return lambda service: boto3.client(service, region_name=REGION)


def start_job(sagemaker: Any, name: str) -> None:
    sagemaker.create_training_job(
        TrainingJobName=name,
        RoleArn="arn:aws:iam::123456789012:role/SageMaker",
        AlgorithmSpecification={"TrainingImage": "image", "TrainingInputMode": "File"},
        OutputDataConfig={"S3OutputPath": "s3://bucket/models"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
        StoppingCondition={"MaxRuntimeInSeconds": 60},
    )


def status(sagemaker: Any, name: str) -> str:
    return str(sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"])


class TestActions:
    @pytest.mark.parametrize("parameter", ["action_str", "action_json"])
    def test_stoptraining_stops_the_job_in_progress(self, clients: Callable[[str], Any], parameter: str) -> None:
        sagemaker = clients("sagemaker")
        name = f"Capital-Job-{parameter.replace('_', '-')}"
        start_job(sagemaker, name)
        start_job(sagemaker, f"another-{name}")
        action = json.dumps([{"training_job_prefix": name[:-2], "name": "stoptraining"}]).replace('"', '\\"')
        rule = make_rule(str(RECORDED["pytorch_frozen"]), **{parameter: action})
        invoke(rule, end_step=1)
        assert status(sagemaker, name) == "InProgress"  # the first step has nothing to be compared with
        invoke(rule, start_step=1, end_step=2)
        assert status(sagemaker, name) == "Stopped"
        assert status(sagemaker, f"another-{name}") == "InProgress"

    def test_a_healthy_job_is_not_stopped(self, clients: Callable[[str], Any]) -> None:
        sagemaker = clients("sagemaker")
        start_job(sagemaker, "healthy")
        action = json.dumps({"training_job_prefix": "healthy", "name": "stoptraining"})
        rule = make_rule(str(RECORDED["pytorch_healthy"]), action_json=action)
        invoke(rule)
        assert rule.report["Datapoints"] == 76
        assert status(sagemaker, "healthy") == "InProgress"

    @pytest.mark.parametrize(("jobs", "count"), [([], 0), (["twin-1", "twin-2"], 2)])
    def test_a_prefix_of_not_exactly_one_job_is_said_in_the_log(
        self, clients: Callable[[str], Any], caplog: pytest.LogCaptureFixture, jobs: list[str], count: int
    ) -> None:
        for job in jobs:
            start_job(clients("sagemaker"), job)
        action = json.dumps({"training_job_prefix": "twin", "name": "stoptraining"})
        make_rule(str(RECORDED["pytorch_frozen"]), action_json=action)
        expected = f"stop nothing: the names of {count} training jobs in progress begin with 'twin'"
        assert [record for record in caplog.records if expected in record.getMessage()]

    def test_messages_are_published_to_the_topic_that_smdebug_makes(self, clients: Callable[[str], Any]) -> None:
        sns, sqs = clients("sns"), clients("sqs")
        topic = sns.create_topic(Name="SMDebugRules")["TopicArn"]
        queue = sqs.create_queue(QueueName="received")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        rule = make_rule(str(RECORDED["pytorch_frozen"]), action_json=json.dumps([EMAIL, SMS]))
        assert {(s["Protocol"], s["Endpoint"]) for s in sns.list_subscriptions()["Subscriptions"]} == {
            ("sqs", arn),
            ("email", EMAIL["endpoint"]),
            ("sms", SMS["endpoint"]),
        }
        invoke(rule, end_step=2)
        received = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
        messages = [json.loads(message["Body"]) for message in received]
        assert {message["Subject"] for message in messages} == {"SMDebugRule:WeightUpdateRatio fired"}
        attributes = [message["MessageAttributes"] for message in messages]
        assert {next(iter(a.items()))[1]["Value"] for a in attributes} == {EMAIL["endpoint"], SMS["endpoint"]}

    def test_the_evaluators_exec_template_carries_an_action(
        self, endpoint: dict[str, str], clients: Callable[[str], Any], tmp_path: Path
    ) -> None:
        """The whole way: configuration, single file, template, smdebug, endpoint."""
        from weight_update_ratio.sagemaker.configuration import rule_configuration, rule_source

        sagemaker = clients("sagemaker")
        start_job(sagemaker, "Template-Job")
        configuration = rule_configuration("s3://b/r.py", "s3://b/t", REGION, stop_training="Template-", num_steps=3)
        (tmp_path / "rule.py").write_text(rule_source(), encoding="utf-8")
        parameters = configuration["DebugRuleConfigurations"][0]["RuleParameters"]
        given = [f"{name}={value}" for name, value in parameters.items() if name in ("num_steps", "action_json")]
        result = subprocess.run(
            [
                *(sys.executable, REPOSITORY / "examples" / "sagemaker" / "evaluator.py"),
                *(tmp_path / "rule.py", RECORDED["pytorch_frozen"], "end_step=2", *given),
            ],
            env={**os.environ, **endpoint},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert "fired at 1 steps: 1" in result.stdout
        assert status(sagemaker, "Template-Job") == "Stopped"


def checked_report(trial: Path | str) -> Any:
    """Return what the check command says of a trial, as JSON, without what only it finds."""
    document = json.loads(run_command("check", trial, "--format", "json").stdout)
    return {name: value for name, value in document.items() if name not in ("findings", "summary")}


class TestReport:
    @pytest.mark.parametrize("name", sorted(set(RECORDED) - {"pytorch_killed"}))
    def test_is_the_check_commands_json_when_the_trial_ends(self, name: str, tmp_path: Path) -> None:
        from smdebug.exceptions import InsufficientInformationForRuleInvocation

        rule = make_rule(str(RECORDED[name]), report_dir=str(tmp_path / "not" / "there"))
        try:
            invoke(rule)
        except InsufficientInformationForRuleInvocation:
            assert name in ("pytorch_reductions_only", "xgboost")
        document = json.loads((tmp_path / "not" / "there" / REPORT_FILE).read_text())
        assert document == checked_report(RECORDED[name])
        assert os.listdir(tmp_path / "not" / "there") == [REPORT_FILE]

    def test_is_written_anew_after_each_step_that_fires(self, tmp_path: Path) -> None:
        rule = make_rule(str(RECORDED["pytorch_frozen"]), report_dir=tmp_path)
        invoke(rule, end_step=1)
        assert os.listdir(tmp_path) == []
        for step in (1, 2, 3):
            invoke(rule, start_step=step, end_step=step + 1)
            document = json.loads((tmp_path / REPORT_FILE).read_text())
            assert document["violations"][0]["count"] == step
            assert document["counts"]["comparisons"] == 4 * step

    def test_is_written_before_the_actions_that_may_end_it_all(self, tmp_path: Path) -> None:
        rule = make_rule(str(RECORDED["pytorch_frozen"]), report_dir=tmp_path)
        found = []
        rule._actions.invoke = lambda: found.extend(os.listdir(tmp_path))
        invoke(rule, end_step=2)
        assert found == [REPORT_FILE]

    def test_is_written_when_the_last_step_of_an_ended_trial_was_judged(self, tmp_path: Path) -> None:
        """With an end_step, smdebug's invoke_rule asks for no step after the last."""
        rule = make_rule(str(RECORDED["pytorch_healthy"]), report_dir=tmp_path)
        invoke(rule, end_step=25)
        assert os.listdir(tmp_path) == []
        invoke(rule, start_step=25, end_step=26)
        assert json.loads((tmp_path / REPORT_FILE).read_text())["complete"]

    def test_is_written_when_a_live_trial_ends(self, trial_writer: Callable[..., TrialWriter], tmp_path: Path) -> None:
        """Judged as it is written: only smdebug's NoMoreData tells the end."""
        writer = trial_writer().collections({"weights": ["w"]})
        rule = None
        for step in range(3):
            writer.save(step, {"w": [1.0 + step / 100]})
            rule = rule or make_rule(str(writer.path), report_dir=tmp_path / "report")
            invoke(rule, start_step=step, end_step=step + 1)
        assert not (tmp_path / "report").exists()
        threading.Timer(0.2, writer.end).start()
        invoke(rule, start_step=3)
        document = json.loads((tmp_path / "report" / REPORT_FILE).read_text())
        assert document == checked_report(writer.path)
        assert (document["fired"], document["counts"]["comparisons"]) == (False, 2)

    def test_a_job_of_eval_steps_alone_is_judged_when_it_ends(
        self, trial_writer: Callable[..., TrialWriter], tmp_path: Path
    ) -> None:
        """Until then a TRAIN step might have come, and EVAL steps have nothing to say beside those."""
        from smdebug.exceptions import RuleEvaluationConditionMet
        from smdebug.rules import invoke_rule

        writer = trial_writer().collections({"weights": ["w"]})
        for step, value in enumerate((1.0, 1.01, 100.0)):
            writer.save(step, {"w": [value]}, mode="EVAL")
        rule = make_rule(str(writer.path), report_dir=tmp_path / "report")
        invoke(rule, end_step=3)
        assert rule.report["Datapoints"] == 0
        writer.end()
        with pytest.raises(RuleEvaluationConditionMet):
            invoke_rule(rule, start_step=3, raise_eval_cond=True)
        invoke(rule, start_step=4)
        assert (rule.report["RuleTriggered"], rule.report["Datapoints"]) == (1, 2)
        assert json.loads((tmp_path / "report" / REPORT_FILE).read_text()) == checked_report(writer.path)

    def test_a_healthy_job_of_eval_steps_alone(self, trial_writer: Callable[..., TrialWriter]) -> None:
        """It is judged when it ends, and fires nothing."""
        writer = trial_writer().collections({"weights": ["w"]})
        for step, value in enumerate((1.0, 1.01, 1.02)):
            writer.save(step, {"w": [value]}, mode="EVAL")
        rule = make_rule(str(writer.path))
        invoke(rule, end_step=3)
        writer.end()
        invoke(rule, start_step=3)
        assert (rule.report["RuleTriggered"], rule.report["Datapoints"]) == (0, 2)

    def test_says_why_nothing_could_be_compared(self, trial_writer: Callable[..., TrialWriter], tmp_path: Path) -> None:
        writer = trial_writer().collections({"weights": ["w"]}).save(0, {"w": [1.0]}).end()
        rule = make_rule(str(writer.path), report_dir=tmp_path / "report")
        from smdebug.exceptions import InsufficientInformationForRuleInvocation

        with pytest.raises(InsufficientInformationForRuleInvocation, match="no tensor has a reference"):
            invoke(rule, start_step=1)  # smdebug alone would end with NoMoreData
        document = json.loads((tmp_path / "report" / REPORT_FILE).read_text())
        assert document["fired"] is document["complete"] is False
        assert "no tensor has a reference" in document["problem"]["text"]

    def test_a_tensor_saved_whole_and_as_a_reduction_is_not_skipped(
        self, write_trial: Callable[..., TrialWriter], tmp_path: Path
    ) -> None:
        names = ["w", "smdebug/reductions/l2/w", "smdebug/reductions/l2/v"]
        members = {"weights": ["w", "v"]}
        trial = write_trial({name: [[1.0], [1.01]] for name in names}, collections=members)
        rule = make_rule(str(trial.path), report_dir=tmp_path / "report")
        invoke(rule)
        document = json.loads((tmp_path / "report" / REPORT_FILE).read_text())
        assert document == checked_report(trial.path)
        assert [skipped["tensor"] for skipped in document["skipped"]] == ["v"]
        assert rule.report["Details"]["skipped"] == 1

    def test_a_broken_collections_file_is_said_in_the_log_and_the_report(
        self, write_trial: Callable[..., TrialWriter], tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        trial = write_trial({"w": [[1.0], [1.01]]})
        from smdebug.trials import create_trial

        opened = create_trial(str(trial.path))  # before the damage: smdebug cannot open it after
        (trial.path / "collections" / "000000000" / "worker_1_collections.json").write_text("{")
        invoke(make_rule(opened, report_dir=tmp_path))
        assert [r.getMessage() for r in caplog.records if r.levelname == "ERROR"] == [
            "the record in 'collections/000000000/worker_1_collections.json' is not JSON "
            "(Expecting property name enclosed in double quotes: line 1 column 2 (char 1))"
        ]
        assert json.loads((tmp_path / REPORT_FILE).read_text())["counts"]["unreadable"] == 1

    def test_a_folder_that_cannot_be_made_is_logged_once_and_judging_goes_on(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "file").touch()
        rule = make_rule(str(RECORDED["pytorch_frozen"]), report_dir=str(tmp_path / "file" / "report"))
        invoke(rule)
        assert rule.report["RuleTriggered"] == 19
        errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        assert errors == [f"the report '{tmp_path}/file/report/{REPORT_FILE}' cannot be written: Not a directory"]

    @pytest.mark.skipif(sys.platform == "win32", reason="only POSIX limits the size of a process's files")
    def test_a_full_disk_leaves_the_last_whole_report_and_no_half_of_one(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        rule = make_rule(str(RECORDED["pytorch_frozen"]), report_dir=str(tmp_path))
        invoke(rule, end_step=2)
        whole = (tmp_path / REPORT_FILE).read_text()
        import resource

        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        try:
            invoke(rule, start_step=2, end_step=3)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert [r.getMessage() for r in caplog.records if "File too large" in r.getMessage()]
        assert (tmp_path / REPORT_FILE).read_text() == whole
        assert os.listdir(tmp_path) == [REPORT_FILE]
        invoke(rule, start_step=3, end_step=4)  # the disk has room again
        assert json.loads((tmp_path / REPORT_FILE).read_text())["violations"][0]["count"] == 3

    @pytest.mark.parametrize("unset", ["", "None", " ", None])
    def test_nothing_is_written_where_no_folder_is_given(
        self, unset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        invoke(make_rule(str(RECORDED["pytorch_frozen"]), report_dir=unset))
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("bad", [3, b"folder", "s3://bucket/report", "a\0b", True])
    def test_what_is_no_folder_of_this_machine_is_refused(self, bad: Any) -> None:
        with pytest.raises(ValueError, match="'report_dir' must be the path of a folder on this machine"):
            make_rule(str(RECORDED["pytorch_frozen"]), report_dir=bad)
