"""What smdebug does when the rule fires: the service's action JSON, checked, so that nothing is passed over."""

from __future__ import annotations

import json
from typing import Any

ACTION_KEYS = {"stoptraining": "training_job_prefix", "sms": "endpoint", "email": "endpoint"}


def parse_actions(action_str: Any, action_json: Any = "") -> str:
    r"""Return the action JSON for smdebug, of either parameter, plain or with backslash-escaped quotes.

    Names of actions and keys may have capitals, as smdebug allows, and come out without.

    Raises:
        ValueError: It is not JSON, or names an action that smdebug does not have, where smdebug itself would do
            nothing; or the two parameters differ.

    >>> parse_actions('', '{\\"name\\": \\"SMS\\", \\"endpoint\\": \\"+1\\"}')
    '[{"name": "sms", "endpoint": "+1"}]'
    """
    given = [(name, text) for name, text in (("action_str", action_str), ("action_json", action_json)) if text]
    given = [(name, text) for name, text in given if not isinstance(text, str) or text.strip() not in ("", "None")]
    parsed = [_named_actions(name, text) for name, text in given]
    if len(parsed) == 2 and parsed[0] != parsed[1]:
        raise ValueError(f"'action_str' and 'action_json' must not differ (got {action_str!r} and {action_json!r})")
    return json.dumps(parsed[0]) if parsed and parsed[0] else ""


def _named_actions(parameter: str, text: Any) -> list[dict[str, Any]]:
    """Return the actions of one parameter, each with its name and what it needs."""
    try:
        given = _parse_action_json(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        raise ValueError(f"'{parameter}' must be JSON (got {text!r})") from None
    actions = []
    for given_action in given if isinstance(given, list) else [given]:
        action = (
            {str(key).lower(): value for key, value in given_action.items()} if isinstance(given_action, dict) else {}
        )
        kind = action.get("name")
        needed = ACTION_KEYS.get(kind.lower()) if isinstance(kind, str) else None
        if needed is None:
            raise ValueError(f"'{parameter}' must name actions of {', '.join(ACTION_KEYS)} (got {given_action!r})")
        if not isinstance(action.get(needed), str) or not action[needed]:
            raise ValueError(f"'{parameter}' must give {needed!r} for the action {kind!r} (got {given_action!r})")
        action["name"] = str(kind).lower()
        actions.append(action)
    return actions


def _parse_action_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return json.loads(text.replace('\\"', '"'))


class ActionText(str):
    """Action JSON that smdebug takes as it is.

    smdebug's ``Actions`` strips the text and lower-cases all of it: the prefix "MyJob" would then match no training
    job. What must be lower case is so already.
    """

    __slots__ = ()

    def strip(self, _: Any = None) -> ActionText:
        """Return the text itself."""
        return self

    def lower(self) -> ActionText:
        """Return the text itself."""
        return self
