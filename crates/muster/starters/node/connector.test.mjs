/** Starts the service, and proves the connector against it: node --test */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { connect } from "./connector.mjs";
import { start } from "./service.mjs";

const TOKEN = "a token that nobody guesses";

async function withService(work) {
  const { server, url } = await start(TOKEN);
  try {
    await work(url, () => stop(server));
  } finally {
    await stop(server);
  }
}

async function stop(server) {
  server.closeAllConnections?.();
  await new Promise((resolve) => server.close(resolve));
}

function run(command, args, env) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (part) => (output += part));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, output }));
  });
}

test("the contract is kept", () =>
  withService(async (url) => {
    const folder = await mkdtemp(join(tmpdir(), "connector-"));
    try {
      const script = fileURLToPath(new URL("connector.mjs", import.meta.url));
      const config = join(folder, "test.toml");
      const lines = [
        "[connections.test]",
        'connector = "process"',
        `command = [${JSON.stringify(process.execPath)}, ${JSON.stringify(script)}]`,
        `settings = { url = "${url}" }`,
        'secrets = { token = { env = "TEST_TOKEN" } }',
      ];
      await writeFile(config, lines.join("\n"));
      // MUSTER names the program where it is not in PATH.
      const muster = process.env.MUSTER ?? "muster";
      const args = ["connector", "test", "--config", config];
      const { code, output } = await run(muster, args, { ...process.env, TEST_TOKEN: TOKEN });
      assert.equal(code, 0, output);
    } finally {
      await rm(folder, { recursive: true });
    }
  }));

test("a wrong token is told as such", () =>
  withService(async (url) => {
    await assert.rejects(connect({ url }, { token: "wrong" }).check(), ({ body }) => "credentials" in body);
  }));

test("a service that is down blames nobody", () =>
  withService(async (url, stop) => {
    await stop();
    const { unreachable } = await connect({ url }, { token: TOKEN }).check().catch(({ body }) => body);
    assert.equal(unreachable.nothing_sent, true);
  }));

test("an address that is none is refused", () => {
  assert.throws(() => connect({ url: "crm" }, {}), ({ body }) => body.configuration.setting === "url");
});
