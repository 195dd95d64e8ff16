/** my-connector: a connector between Muster and a REST service of people. */
import http from "node:http";
import https from "node:https";
import { pathToFileURL } from "node:url";

import * as wire from "./wire.mjs";

const PAGE = 500;

/** Which method answers which call. */
export const CALLS = {
  check: "check", schema: "schema", read: "read", changes: "changes", get: "get", target_get: "get", find: "find",
  preview: "preview", apply: "apply",
};

export function describe() {
  return {
    kind: "my-connector",
    summary: "people of a REST service",
    version: "0.1.0",
    // A JSON Schema: Muster refuses settings that do not fit, with the line in the configuration.
    settings: {
      type: "object",
      properties: {
        url: { type: "string", description: "The service's address, such as `http://crm.example:8080`." },
        token: { description: "The service's access token.", "x-muster-secret": true },
      },
      required: ["url"],
      additionalProperties: false,
    },
  };
}

export function connect(settings, secrets) {
  const address = tryUrl(settings.url);
  if (!address || !["http:", "https:"].includes(address.protocol)) {
    throw wire.configuration("url", "this is no address of a service", "write it as http://HOST:PORT");
  }
  return new People(settings.url.replace(/\/+$/, ""), secrets.token);
}

function tryUrl(text) {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}

class People {
  constructor(url, token) {
    Object.assign(this, { url, token });
    this.client = url.startsWith("https:") ? https : http;
    this.agent = new this.client.Agent({ keepAlive: true });
  }

  // What is there

  async check() {
    await this.ask("GET", "/people?limit=1");
    return { findings: [], features: [] };
  }

  schema() {
    const attribute = (name, valueType, more) => ({ name, value_type: valueType, ...more });
    const person = {
      name: "person",
      anchor: { attributes: ["id"], assigned_by: "system" },
      alternate_keys: [["login"]],
      attributes: [
        attribute("id", "integer", { required: true, creatable: false, updatable: false, unique: true }),
        attribute("login", "text", { required: true, unique: true, max_length: 40 }),
        attribute("name", "text", { required: true, max_length: 100 }),
        attribute("email", "text", { max_length: 200 }),
        attribute("active", "boolean"),
      ],
      enabling: { attribute: "active" },
      source: { changes: { precision: "each", deletes_visible: true } },
      target: {
        once: "natural", readable: true, can_delete: true, can_rename: false, ordered: false, max_batch: 100,
        max_in_flight: 1,
      },
    };
    return { identity: this.url, types: [person] };
  }

  // Reading

  async read({ request, cursor }) {
    const page = {};
    if (cursor === null) {
      // Taken before the first page, so that what changes while the pages are read is read again.
      page.watermark = `change ${(await this.ask("GET", "/changes?limit=0")).latest}`;
    }
    const after = cursor === null ? 0 : number(cursor, "after ", "cursor");
    const { people } = await this.ask("GET", `/people?after=${after}&limit=${PAGE}`);
    page.objects = people.map((person) => found(person, request));
    page.next = people.length === PAGE ? `after ${people.at(-1).id}` : null;
    return page;
  }

  async changes({ request, position }) {
    const [[kind, token]] = Object.entries(position);
    const what = kind === "start" ? "watermark" : "cursor";
    const after = number(token, "change ", what);
    const page = await this.ask("GET", `/changes?after=${after}&limit=${PAGE}`).catch((error) => {
      throw error.status === 410 ? wire.expired(what) : error;
    });
    const entries = page.changes.map(({ id, person }) => ({
      key: [id],
      change: person ? { whole: row(person, request) } : { removed: "hard" },
    }));
    const last = page.changes.at(-1)?.number ?? after;
    const follows = last < page.latest && entries.length > 0 ? "page" : "done";
    return { entries, next: { [follows]: `change ${last}` } };
  }

  async get({ request, keys }) {
    const objects = [];
    for (const [key] of keys) {
      const person = await this.ask("GET", `/people/${plain(key)}`).catch((error) => {
        if (error.status === 404) return null;
        throw error;
      });
      objects.push(person && found(person, request));
    }
    return objects;
  }

  async find({ request, by, values }) {
    const results = [];
    for (const wanted of values) {
      const query = new URLSearchParams(by.map((name, position) => [name, String(plain(wanted[position]))]));
      const { people } = await this.ask("GET", `/people?limit=2&${query}`);
      results.push(people.map((person) => found(person, request)));
    }
    return results;
  }

  // Writing

  preview({ operations, attributes }) {
    return operations.map((operation) => {
      const [method, path, body] = asked(operation, attributes);
      return `${method} ${this.url}${path}${body ? ` ${JSON.stringify(body)}` : ""}`;
    });
  }

  async apply({ operations, attributes }) {
    const outcomes = [];
    for (const [position, operation] of operations.entries()) {
      try {
        outcomes.push([operation.id, await this.applied(operation, attributes)]);
      } catch (failure) {
        if (position === 0 || !(failure instanceof wire.Failure)) throw failure;
        // It may have taken effect, or not; those after it certainly did not.
        outcomes.push([operation.id, "unknown"]);
        const later = { retry: { after_ms: 1000, scope: "target", problem: failure.message } };
        outcomes.push(...operations.slice(position + 1).map((left) => [left.id, later]));
        break;
      }
    }
    return outcomes;
  }

  async applied(operation, attributes) {
    if (!["create", "update", "delete"].includes(operation.kind) || operation.deltas.length > 0) {
      return { unsupported: { what: "this kind of change" } };
    }
    try {
      if (operation.expected) {
        // Ids may be given again: the person must still be the one that Muster knows.
        const [position, value] = operation.expected;
        const person = await this.ask("GET", `/people/${plain(operation.key[0])}`);
        if (person[attributes[position]] !== plain(value)) return "other_object";
      }
      const answer = await this.ask(...asked(operation, attributes));
      return { applied: operation.kind === "create" ? { key: [answer.id] } : {} };
    } catch (error) {
      if (error.status === 404) return "missing";
      if (error.status === 409 && operation.kind === "create") return { exists: { key: [error.body.id] } };
      if (error.status === 409) {
        return { rejected: { attribute: "login", rule: "unique", message: "somebody has this login" } };
      }
      if (error.status === 422) {
        return { rejected: { attribute: error.body.field, rule: "rejected", message: error.body.problem } };
      }
      throw error;
    }
  }

  // The service

  ask(method, path, body) {
    return new Promise((resolve, reject) => {
      const data = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
      const headers = { Authorization: `Bearer ${this.token}`, "Content-Type": "application/json" };
      if (data) headers["Content-Length"] = data.length;
      const options = { method, headers, agent: this.agent, timeout: 30_000 };
      const request = this.client.request(this.url + path, options, (answer) => {
        const parts = [];
        answer.on("data", (part) => parts.push(part));
        answer.on("error", (error) => reject(brokeOff(this.url, error)));
        answer.on("end", () => {
          let content;
          try {
            content = JSON.parse(Buffer.concat(parts).toString() || "null");
          } catch (error) {
            return reject(brokeOff(this.url, error));
          }
          return answer.statusCode < 300 ? resolve(content) : reject(refused(answer, content));
        });
      });
      request.on("timeout", () => request.destroy(new Error("no answer within 30 s")));
      request.on("error", (error) => reject(brokeOff(this.url, error)));
      request.end(data);
    });
  }
}

/** An answer of the service that concerns one object. */
class Answer extends Error {
  constructor(status, body) {
    super(`the service answers ${status}`);
    Object.assign(this, { status, body });
  }
}

function brokeOff(url, error) {
  const refusedAtOnce = [error, ...(error.errors ?? [])].some(({ code }) => code === "ECONNREFUSED");
  return wire.unreachable(`${url}: ${error.code ?? error.message}`, refusedAtOnce);
}

function refused(answer, content) {
  const { statusCode: status, headers } = answer;
  if ([404, 409, 410, 422].includes(status)) return new Answer(status, content);
  if (status === 401 || status === 403) {
    return wire.credentials(`the service refuses the token (${status})`, "set a valid `token`");
  }
  if (status === 429) return wire.throttled("the service asks for a pause", Number(headers["retry-after"] ?? 5) || 5);
  return wire.unreachable(`the service answers ${status}`);
}

/** Method, path and body of an operation. */
function asked(operation, attributes) {
  if (operation.kind === "delete") return ["DELETE", `/people/${plain(operation.key[0])}`];
  const known = attributes.map((name, position) => [name, operation.row[position]]);
  const given = Object.fromEntries(
    known.filter(([, slot]) => slot !== undefined && !wire.isUnknown(slot)).map(([name, slot]) => [name, plain(slot)]),
  );
  return operation.kind === "create"
    ? ["POST", "/people", given]
    : ["PATCH", `/people/${plain(operation.key[0])}`, given];
}

/** A slot of this schema's types: text, truth or null as they are; large numbers come as text. */
function plain(slot) {
  return slot !== null && typeof slot === "object" && "integer" in slot ? Number(slot.integer) : slot;
}

const row = (person, request) => request.attributes.map((name) => person[name] ?? null);
const found = (person, request) => ({ key: [person.id], row: row(person, request) });

/** The number in a watermark or cursor of ours. */
function number(token, start, what) {
  const digits = typeof token === "string" && token.startsWith(start) ? token.slice(start.length) : "";
  if (!/^\d+$/.test(digits)) throw wire.expired(what);
  return Number(digits);
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) await wire.serve(describe, connect, CALLS);
