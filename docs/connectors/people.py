"""A connector in Python with nothing but its standard library: people in a JSON file, as a source and as a target.

    [connections.people]
    connector = "process"
    command = ["python3", "people.py"]
    settings = { file = "people.json" }
"""
import json
import os
import sys

TEXT = ["id", "name", "mail"]
settings = {}


def load():
    if not os.path.exists(settings["file"]):
        return {}
    with open(settings["file"], encoding="utf-8") as file:
        return json.load(file)


def save(people):
    with open(settings["file"] + ".new", "w", encoding="utf-8") as file:
        json.dump(people, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(settings["file"] + ".new", settings["file"])


def found(person, request):
    return {"key": [person["id"]], "row": [person.get(name) for name in request["attributes"]]}


def describe():
    form = {"type": "object", "properties": {"file": {"type": "string"}}, "required": ["file"],
            "additionalProperties": False}
    return {"kind": "people", "summary": "people in a JSON file", "version": "1.0.0", "settings": form}


def check(used):
    return {"findings": [], "features": ["%d people" % len(load())]}


def schema():
    user = {
        "name": "user",
        "anchor": {"attributes": ["id"], "assigned_by": "creator"},
        "attributes": [{"name": name, "value_type": "text", "required": name == "id"} for name in TEXT],
        "source": {"changes": None},
        "target": {"once": "natural", "readable": True, "can_delete": True, "can_rename": False, "ordered": False,
                   "max_batch": 500, "max_in_flight": 1},
    }
    return {"identity": os.path.abspath(settings["file"]), "types": [user]}


def read(request, cursor):
    people, page = sorted(load().items()), 1000
    if cursor is not None and not cursor.startswith("after "):
        raise LookupError("this is no cursor of ours")
    later = [person for key, person in people if cursor is None or key > cursor[len("after "):]]
    more = len(later) > page
    return {"objects": [found(person, request) for person in later[:page]],
            "next": "after " + later[page - 1]["id"] if more else None, "watermark": None}


def get(request, keys):
    people = load()
    return [found(people[key], request) if key in people else None for [key] in keys]


def find(request, by, values):
    people = list(load().values())
    same = lambda person, wanted: [person.get(name) for name in by] == wanted
    return [[found(person, request) for person in people if same(person, wanted)][:2] for wanted in values]


def preview(operations, **_):
    return ["%s %s" % (operation["kind"], operation["key"]) for operation in operations]


def apply(attributes, operations, **_):
    people, outcomes = load(), []
    for operation in operations:
        kind, key = operation["kind"], operation["key"][0]
        new = {name: value for name, value in zip(attributes, operation["row"]) if value != {"unknown": True}}
        if kind == "create" and key in people:
            outcome = {"exists": {"key": [key]}}
        elif kind not in ("create", "update", "delete"):
            outcome = {"unsupported": {"what": next(iter(kind))}}
        elif kind in ("update", "delete") and key not in people:
            outcome = "missing"
        elif kind == "delete":
            del people[key]
            outcome = {"applied": {}}
        else:
            people[key] = {**people.get(key, {"id": key}), **new}
            outcome = {"applied": {}}
        outcomes.append([operation["id"], outcome])
    save(people)  # all at once: whoever is cut off before has changed nothing
    return outcomes


CALLS = {call.__name__: call for call in (describe, check, schema, read, get, find, preview, apply)}
CALLS["target_get"] = get  # the same question to the source and to the target


def answer(call):
    (name, given), = call.items()
    if name not in CALLS:
        return {"error": {"unsupported": name}}
    try:
        return {name: CALLS[name](**given)}
    except LookupError:
        return {"error": {"expired": {"expired": "cursor"}}}
    except OSError as error:
        return {"error": {"unreachable": {"problem": str(error), "nothing_sent": False}}}


for line in sys.stdin:
    (kind, body), = json.loads(line).items()
    if kind == "hello":
        reply = {"hello": {"version": 1}}
    elif kind == "configure":
        settings = {**body["settings"], "file": os.path.join(body["folder"], body["settings"]["file"])}
        reply = {"configured": {}}
    elif kind == "request":
        reply = {"answer": {"id": body["id"], "reply": answer(body["call"])}}
    elif kind == "stop":
        break
    else:
        continue
    print(json.dumps(reply), flush=True)
