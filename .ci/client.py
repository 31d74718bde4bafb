"""The parts of .ci/client in Python: client.py wait|events|filled|client ARGUMENT."""

import json
import sys
import time
import urllib.request
import uuid

TOKEN = "a-token-for-the-check"
BROKEN = 5


def ask(base, path, token=TOKEN):
    request = urllib.request.Request(base + path, headers={"authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def until(what, probe):
    """Waits for a condition. Only a failure uses up the time."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            if probe():
                return
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit(f"timed out: {what}")


def event(number, port, phone):
    """An event of the contract; nothing listens at the address of its webhook."""
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": "/companies/acme/assistants/sales",
        "type": "trigger.fired",
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "datacontenttype": "application/json",
        "data": {
            "company": {"id": "acme"},
            "assistant": {"id": "sales", "maxInteractions": 2},
            "trigger": {
                "name": "register_lead",
                "parameters": {"properties": {"name": {"type": "string"}, "phone": {"type": "string"}}},
                "actions": [
                    {"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name", "phone": "phone"},
                    {"type": "WEBHOOK", "url": f"http://127.0.0.1:{port}/nowhere", "method": "POST"},
                ],
            },
            "arguments": {"name": f"Lead {number}", "phone": phone},
        },
    }


def client(base):
    from relay_client import AuthenticatedClient
    from relay_client.api.dead_letters import list_dead_letters
    from relay_client.api.operations import get_operation, list_operation_items, plan_operation, run_operation
    from relay_client.models import (
        ListDeadLettersReason,
        NewOperation,
        NewOperationAction,
        NewOperationFilterType0,
        OperationState,
    )

    relay = AuthenticatedClient(base_url=base, token=TOKEN, raise_on_unexpected_status=True)
    reason = ListDeadLettersReason.IDENTIFIER_INVALID
    found, cursor = [], None
    while True:
        more = {"cursor": cursor} if cursor else {}
        page = list_dead_letters.sync(client=relay, reason=reason, limit=2, **more)
        found += page.items
        cursor = page.next_
        if cursor is None:
            break
    assert len({one.id for one in found}) == BROKEN, found
    assert all(one.company == "acme" and one.attempts == 1 for one in found), found
    selection = NewOperationFilterType0.from_dict({"reason": reason.value})
    plan = NewOperation(action=NewOperationAction.REPLAY, filter_=selection)
    planned = plan_operation.sync(client=relay, body=plan)
    assert (planned.state, planned.total) == (OperationState.PLANNED, BROKEN), planned
    run_operation.sync(planned.id, client=relay)
    until("the replay", lambda: get_operation.sync(planned.id, client=relay).state == OperationState.DONE)
    assert get_operation.sync(planned.id, client=relay).done == BROKEN
    items = list_operation_items.sync(planned.id, client=relay).items
    assert {item.id for item in items} == {one.id for one in found}, items
    print(f"a generated client listed, planned and replayed {BROKEN} dead letters")


def main(what, argument):
    if what == "wait":
        until("the service is ready", lambda: urllib.request.urlopen(argument + "/readyz", timeout=5).status == 200)
    elif what == "events":
        for number in range(10):
            print(json.dumps(event(number, argument, f"+55119{number:08}")))
        for number in range(BROKEN):
            print(json.dumps(event(number, argument, "12")))
    elif what == "filled":
        until("dead letters", lambda: len(ask(argument, "/api/v1/dead-letters?stage=upsert")["items"]) == BROKEN)
        until("deliveries", lambda: len(ask(argument, "/api/v1/deliveries")["items"]) == 10)
    else:
        client(argument)


main(*sys.argv[1:])
