"""Muster's wire form over standard input and output: one JSON document a line.

Nothing here knows what system the connector is for. What the connector logs goes to standard error: standard output
belongs to Muster.
"""
import json
import sys

#: A slot of a row that says nothing about its attribute. Null, in contrast, says that there is no value.
UNKNOWN = {"unknown": True}


class Failure(Exception):
    """What ends a call: the body is one of the errors of the wire form."""

    def __init__(self, body):
        super().__init__(str(body))
        self.body = body


def unreachable(problem, nothing_sent=False):
    return Failure({"unreachable": {"problem": problem, "nothing_sent": nothing_sent}})


def credentials(problem, fix):
    return Failure({"credentials": {"problem": problem, "fix": fix}})


def configuration(setting, problem, fix):
    return Failure({"configuration": {"setting": setting, "problem": problem, "fix": fix}})


def throttled(problem, seconds):
    return Failure({"throttled": {"problem": problem, "after_ms": int(seconds * 1000)}})


def expired(what):
    """`what` is "cursor" or "watermark"."""
    return Failure({"expired": {"expired": what}})


def serve(describe, connect):
    """Talks to Muster until it says stop.

    `describe()` says what the connector is; `connect(settings, secrets)` makes it. Each of its methods that is named
    like a call of the contract answers that call; what it lacks is answered as unsupported.
    """
    connector = None
    for line in sys.stdin:
        (kind, body), = json.loads(line).items()
        if kind == "hello":
            send({"hello": {"version": 1}})
        elif kind == "configure":
            try:
                connector = connect(body["settings"], body["secrets"])
                send({"configured": {}})
            except Failure as failure:
                send({"configured": {"error": failure.body}})
        elif kind == "request":
            send({"answer": {"id": body["id"], "reply": reply(describe, connector, body["call"])}})
        elif kind == "stop":
            return
        # Anything else, such as a cancelled request, may be ignored.


def reply(describe, connector, call):
    (name, given), = call.items()
    if name == "describe":
        return {name: describe()}
    method = getattr(connector, name, None)
    if method is None:
        return {"error": {"unsupported": name}}
    try:
        return {name: method(**given)}
    except Failure as failure:
        return {"error": failure.body}


def send(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
