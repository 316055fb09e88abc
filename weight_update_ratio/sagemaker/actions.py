"""What smdebug does when the rule fires: the service's action JSON, checked: smdebug ignores what it does not know."""

from __future__ import annotations

import json
from typing import Any, Iterator

ACTION_KEYS = {"stoptraining": "training_job_prefix", "sms": "endpoint", "email": "endpoint"}


def parse_actions(action_str: Any, action_json: Any = "") -> str:
    r"""Return the action JSON of either parameter as smdebug needs it, or raise ValueError.

    Quotes may be escaped by backslashes. Names of actions and keys get lower case; smdebug allows capitals.

    >>> parse_actions('', '{\\"name\\": \\"SMS\\", \\"endpoint\\": \\"+1\\"}')
    '[{"name": "sms", "endpoint": "+1"}]'
    """
    given = {"action_str": action_str, "action_json": action_json}
    parsed = [_named_actions(name, text) for name, text in given.items() if str(text or "").strip() not in ("", "None")]
    if len(parsed) == 2 and parsed[0] != parsed[1]:
        raise ValueError(f"'action_str' and 'action_json' must not differ (got {action_str!r} and {action_json!r})")
    return json.dumps(parsed[0]) if parsed else ""


def _named_actions(parameter: str, text: Any) -> list[dict[str, Any]]:
    try:
        given = json.loads(text.replace('\\"', '"')) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        raise ValueError(f"'{parameter}' must be JSON (got {text!r})") from None
    actions = []
    for entry in given if isinstance(given, list) else [given]:
        action = {str(key).lower(): value for key, value in entry.items()} if isinstance(entry, dict) else {}
        kind = str(action.get("name"))
        needed = ACTION_KEYS.get(kind.lower())
        if needed is None:
            raise ValueError(f"'{parameter}' must name actions of {', '.join(ACTION_KEYS)} (got {entry!r})")
        if not isinstance(action.get(needed), str) or not action[needed]:
            raise ValueError(f"'{parameter}' must give {needed!r} for the action {kind!r} (got {entry!r})")
        actions.append({**action, "name": kind.lower()})
    return actions


def idle_actions(actions: Any) -> Iterator[str]:
    """Yield why smdebug will stop no job: it looks for them once, when ``actions`` is made, and acts on exactly one."""
    for action in getattr(actions, "_actions", ()):
        jobs = getattr(action, "_found_jobs", None)
        if jobs is not None and len(jobs) != 1:
            prefix = getattr(action, "_training_job_prefix", None)
            yield (
                f"the action stoptraining will stop nothing: the names of {len(jobs)} training jobs in progress "
                f"begin with {prefix!r}, and it needs exactly one"
            )


class ActionText(str):
    """Action JSON of ``parse_actions``, which smdebug takes as it is.

    smdebug strips and lower-cases the whole text, so that the prefix "MyJob" would match no training job.
    """

    __slots__ = ()

    def strip(self, _: Any = None) -> ActionText:
        """Return the text itself."""
        return self

    lower = strip
