/**
 * Muster's wire form over standard input and output: one JSON document a line.
 *
 * Nothing here knows what system the connector is for. What the connector logs goes to standard error: standard output
 * belongs to Muster.
 */
import { createInterface } from "node:readline";

/** What ends a call: the body is one of the errors of the wire form. */
export class Failure extends Error {
  constructor(body) {
    super(JSON.stringify(body));
    this.body = body;
  }
}

export const unreachable = (problem, nothingSent = false) =>
  new Failure({ unreachable: { problem, nothing_sent: nothingSent } });
export const credentials = (problem, fix) => new Failure({ credentials: { problem, fix } });
export const configuration = (setting, problem, fix) => new Failure({ configuration: { setting, problem, fix } });
export const throttled = (problem, seconds) =>
  new Failure({ throttled: { problem, after_ms: Math.round(seconds * 1000) } });
/** `what` is "cursor" or "watermark". */
export const expired = (what) => new Failure({ expired: { expired: what } });

/** Whether a slot of a row says nothing about its attribute. Null, in contrast, says that there is no value. */
export const isUnknown = (slot) => slot !== null && typeof slot === "object" && slot.unknown === true;

/**
 * Talks to Muster until it says stop.
 *
 * `describe()` says what the connector is; `connect(settings, secrets)` makes it. Each of its methods that is named in
 * `calls` answers that call; what is not is answered as unsupported.
 */
export async function serve(describe, connect, calls) {
  let connector;
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    const [[kind, body]] = Object.entries(JSON.parse(line));
    if (kind === "hello") {
      send({ hello: { version: 1 } });
    } else if (kind === "configure") {
      try {
        connector = connect(body.settings, body.secrets);
        send({ configured: {} });
      } catch (failure) {
        send({ configured: { error: told(failure) } });
      }
    } else if (kind === "request") {
      send({ answer: { id: body.id, reply: await reply(describe, connector, calls, body.call) } });
    } else if (kind === "stop") {
      break;
    }
    // Anything else, such as a cancelled request, may be ignored.
  }
}

async function reply(describe, connector, calls, call) {
  const [[name, given]] = Object.entries(call);
  if (name === "describe") return { describe: describe() };
  if (!Object.hasOwn(calls, name)) return { error: { unsupported: name } };
  try {
    return { [name]: await connector[calls[name]](given) };
  } catch (failure) {
    return { error: told(failure) };
  }
}

function told(failure) {
  // Whatever else is thrown is a bug of the connector, and ends it: Muster says so and starts it again.
  if (!(failure instanceof Failure)) throw failure;
  return failure.body;
}

function send(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
