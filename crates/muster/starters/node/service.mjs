/**
 * The REST service that the tests start: people in memory, who outlive the connector.
 *
 *     node service.mjs TOKEN [PORT]
 *
 * prints its address. Replace it by a test instance of your own system.
 */
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

/** How many changes are kept; who asks for older ones must read everything. */
const KEPT = 100_000;
const LONGEST = { login: 40, name: 100, email: 200 };

class Refused extends Error {
  constructor(status, body = null) {
    super(String(status));
    Object.assign(this, { status, body });
  }
}

class Directory {
  people = new Map();
  logins = new Map();
  changes = [];
  latest = 0;
  next = 1;

  changed(id) {
    this.latest += 1;
    this.changes.push({ number: this.latest, id });
    if (this.changes.length > KEPT) this.changes.shift();
  }

  list(after, limit, filters) {
    const names = Object.keys(filters);
    if (names.length === 1 && names[0] === "login") {
      const person = this.people.get(this.logins.get(filters.login));
      return person ? [person] : [];
    }
    const some = [];
    // A map keeps the order in which ids were given.
    for (const person of this.people.values()) {
      const fits = names.every((name) => person[name] !== null && String(person[name]) === filters[name]);
      if (person.id > after && fits) some.push(person);
      if (some.length === limit) break;
    }
    return some;
  }

  create(given) {
    check({ login: null, name: null, ...given });
    if (this.logins.has(given.login)) throw new Refused(409, { id: this.logins.get(given.login) });
    const person = { email: null, active: true, ...given, id: this.next };
    this.next += 1;
    this.people.set(person.id, person);
    this.logins.set(person.login, person.id);
    this.changed(person.id);
    return person;
  }

  update(id, given) {
    const person = this.person(id);
    check(given);
    const holder = this.logins.get(given.login ?? person.login);
    if (holder !== undefined && holder !== id) throw new Refused(409, { id: holder });
    this.logins.delete(person.login);
    Object.assign(person, given);
    this.logins.set(person.login, id);
    this.changed(id);
    return person;
  }

  delete(id) {
    this.logins.delete(this.person(id).login);
    this.people.delete(id);
    this.changed(id);
    return null;
  }

  person(id) {
    const person = this.people.get(id);
    if (!person) throw new Refused(404);
    return person;
  }

  since(after, limit) {
    const oldest = this.changes[0]?.number ?? this.latest + 1;
    const from = after ?? this.latest;
    if (from > this.latest || from < oldest - 1) throw new Refused(410);
    const first = from - oldest + 1;
    const some = this.changes.slice(first, first + limit);
    const changes = some.map(({ number, id }) => ({ number, id, person: this.people.get(id) ?? null }));
    return { latest: this.latest, changes };
  }
}

function check(given) {
  for (const [field, value] of Object.entries(given)) {
    const isText = typeof value === "string" && [...value].length <= (LONGEST[field] ?? 0);
    const fits = field === "active" ? typeof value === "boolean" : isText || (field === "email" && value === null);
    if (!fits) throw new Refused(422, { field, problem: "the service does not take this value" });
  }
}

function result(directory, method, url, body) {
  const { limit, after, ...filters } = Object.fromEntries(url.searchParams);
  const [what, id] = url.pathname.split("/").slice(1);
  const most = limit === undefined ? 100 : Number(limit);
  if (what === "changes") return directory.since(after === undefined ? undefined : Number(after), most);
  if (id === undefined && method === "POST") return directory.create(body);
  if (id === undefined) return { people: directory.list(Number(after ?? 0), most, filters) };
  if (method === "PATCH") return directory.update(Number(id), body);
  if (method === "DELETE") return directory.delete(Number(id));
  return directory.person(Number(id));
}

/** A running service and its address. */
export async function start(token, port = 0) {
  const directory = new Directory();
  const server = createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => {
      let status = 200;
      let body;
      try {
        if (request.headers.authorization !== `Bearer ${token}`) throw new Refused(401);
        const given = JSON.parse(Buffer.concat(parts).toString() || "null");
        body = result(directory, request.method, new URL(request.url, "http://service"), given);
      } catch (refused) {
        ({ status = 500, body = null } = refused);
      }
      response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
    });
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  return { server, url: `http://127.0.0.1:${server.address().port}` };
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { url } = await start(process.argv[2], Number(process.argv[3] ?? 0));
  console.log(url);
}
