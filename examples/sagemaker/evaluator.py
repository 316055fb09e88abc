"""Run the rule's single source file over a local trial as SageMaker Debugger's evaluator would.

    weight-update-ratio rule-source --output weight_update_ratio_rule.py
    python examples/sagemaker/evaluator.py weight_update_ratio_rule.py examples/trials/pytorch_frozen large_threshold=5

The evaluator has Python 3.7, smdebug and NumPy, and not this package. It loads the source file by its path, finds the
rule's parameters by inspect.getfullargspec, pastes RuleParameters, which are all strings, between double quotes into
Python source, runs that, and calls invoke_rule. This script does the same, so that what works here works there. With
SMDEBUG_LOG_LEVEL=info in the environment, smdebug logs what it does, as it does there.
"""

import argparse
import importlib.util
import inspect
import os
import sys

# smdebug reads both when it is imported: it logs every step to stdout, and waits for a trial that has ended.
os.environ.setdefault("SMDEBUG_LOG_LEVEL", "error")
os.environ.setdefault("SMDEBUG_TRAINING_END_DELAY_REFRESH", "0")

from smdebug.exceptions import NoMoreData, RuleEvaluationConditionMet
from smdebug.rules import invoke_rule
from smdebug.trials import create_trial

RULE = "WeightUpdateRatio"
TEMPLATE = "rule = {rule}(base_trial=trial{arguments})"


def load(path):
    """Return the rule's class from a source file, which cannot be imported by name."""
    spec = importlib.util.spec_from_file_location("custom_rule", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, RULE)


def make(rule_class, trial, parameters):
    """Return the rule made from parameters that are all strings."""
    specification = inspect.getfullargspec(rule_class.__init__)
    optional = specification.args[-len(specification.defaults) :]
    unknown = sorted(set(parameters) - set(optional))
    if unknown:
        sys.exit(f"{RULE} has no parameter {', '.join(unknown)}; it has {', '.join(optional)}")
    arguments = "".join(f', {name}="{value}"' for name, value in parameters.items())
    names = {RULE: rule_class, "trial": trial}
    exec(TEMPLATE.format(rule=RULE, arguments=arguments), names)  # noqa: S102  as the service does it
    return names["rule"]


def fired_steps(rule, start_step, end_step):
    """Return the global steps at which the rule fires, going on after each until the trial ends."""
    fired = []
    step = start_step
    while end_step is None or step < end_step:
        try:
            invoke_rule(rule, start_step=step, end_step=end_step, raise_eval_cond=True)
        except RuleEvaluationConditionMet as condition:
            fired.append(condition.step)
            step = condition.step + 1
        except NoMoreData:
            break
        else:
            break
    return fired


def main():
    """Read the arguments, run the rule, and print the steps at which it fired."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="the rule's source file")
    parser.add_argument("trial", help="the trial folder")
    parser.add_argument("parameters", nargs="*", metavar="NAME=VALUE", help="what RuleParameters would hold")
    arguments = parser.parse_args()
    parameters = dict(parameter.split("=", 1) for parameter in arguments.parameters)
    start_step, end_step = parameters.pop("start_step", "0"), parameters.pop("end_step", "None")  # for invoke_rule
    rule = make(load(arguments.source), create_trial(arguments.trial), parameters)
    fired = fired_steps(rule, int(start_step), None if end_step == "None" else int(end_step))
    print(f"{rule.report['Datapoints']} comparisons; fired at {len(fired)} steps: {' '.join(map(str, fired))}")


if __name__ == "__main__":
    main()
