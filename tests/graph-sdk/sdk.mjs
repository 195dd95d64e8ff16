// Runs the official Microsoft Graph SDK and Azure Identity, unmodified, against a sandbox tenant.
//
//   NODE_EXTRA_CA_CERTS=ca.pem node sdk.mjs '{"graph_url": …, "authority": …, "tenant": …, "client_id": …, "client_secret": …}'
//
// Prints one line of JSON when everything is as Graph promises, and fails loudly otherwise.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const { ClientSecretCredential } = require("@azure/identity");
const graph = require("@microsoft/microsoft-graph-client");
const {
  TokenCredentialAuthenticationProvider,
} = require("@microsoft/microsoft-graph-client/authProviders/azureTokenCredentials");

const facts = JSON.parse(process.argv[2]);
const SCOPE = "https://graph.microsoft.com/.default";
const summary = {};

const credential = secret =>
  new ClientSecretCredential(facts.tenant, facts.client_id, secret, {
    authorityHost: facts.authority,
    disableInstanceDiscovery: true,
    retryOptions: { maxRetries: 0 },
  });

const authProvider = new TokenCredentialAuthenticationProvider(credential(facts.client_secret), { scopes: [SCOPE] });
const client = graph.Client.initWithMiddleware({
  authProvider,
  baseUrl: `${facts.authority}/`,
  defaultVersion: "v1.0",
  customHosts: new Set([new URL(facts.authority).hostname]),
});

/// The sandbox's own endpoints, which are no part of Graph.
async function admin(method, path, body) {
  const answer = await fetch(`${facts.authority}/sandbox/${path}`, {
    method,
    headers: { "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  assert.equal(answer.status, 200, `${method} ${path}: ${await answer.clone().text()}`);
  return answer.json();
}

/// Walks a round of delta with the SDK's own iterator.
async function round(path, headers = {}) {
  const entries = [];
  const iterator = new graph.PageIterator(client, await client.api(path).headers(headers).get(), entry => {
    entries.push(entry);
    return true;
  }, { headers });
  await iterator.iterate();
  assert.ok(iterator.isComplete(), "the round came to its end");
  const link = iterator.getDeltaLink();
  assert.ok(link?.startsWith("https://"), `an absolute delta link: ${link}`);
  return { entries, link };
}

async function refused(work, status, code) {
  await assert.rejects(work, error => {
    assert.deepEqual([error.statusCode, error.code], [status, code]);
    return true;
  });
}

async function signIn() {
  const token = await credential(facts.client_secret).getToken(SCOPE);
  assert.ok(token.token.length > 20 && token.expiresOnTimestamp > Date.now());
  await assert.rejects(credential("wrong").getToken(SCOPE), /AADSTS7000215/);
  summary.token = true;
}

async function usersDelta() {
  const first = await round("/users/delta?$select=displayName,department,mail,manager");
  const live = new Map();
  for (const entry of first.entries) {
    if (entry["@removed"]) live.delete(entry.id);
    else live.set(entry.id, entry);
  }
  const state = await admin("GET", "state");
  assert.equal(live.size, state.users);
  assert.ok([...live.values()].some(entry => entry["manager@delta"]?.[0].id), "managers come along");
  summary.users = live.size;

  const [somebody, other] = live.keys();
  await client.api(`/users/${somebody}`).patch({ department: "Changed by the SDK" });
  await client.api(`/users/${other}/manager/$ref`).put({ "@odata.id": `${facts.graph_url}/users/${somebody}` });
  const next = await round(first.link, { Prefer: "return=minimal" });
  const told = new Map(next.entries.map(entry => [entry.id, entry]));
  assert.deepEqual(told.get(somebody), { id: somebody, department: "Changed by the SDK" });
  assert.equal(told.get(other)["manager@delta"][0].id, somebody);
  assert.equal(told.size, 2);
  const manager = await client.api(`/users/${other}/manager`).get();
  assert.equal(manager.id, somebody);
  assert.equal((await round(next.link)).entries.length, 0);
  summary.changed = told.size;
  return next.link;
}

async function groupsDelta() {
  const { entries } = await round("/groups/delta?$select=displayName,members");
  const groups = new Map();
  for (const entry of entries.filter(entry => !entry["@removed"])) {
    const members = groups.get(entry.id) ?? new Set();
    (entry["members@delta"] ?? []).forEach(member => members.add(member.id));
    groups.set(entry.id, members);
  }
  const [id, members] = [...groups].sort((a, b) => b[1].size - a[1].size)[0];
  const listed = new Set();
  const page = await client.api(`/groups/${id}/members`).select("id").top(50).get();
  await new graph.PageIterator(client, page, member => listed.add(member.id)).iterate();
  assert.deepEqual(listed, members, "the slices are what the group's members are");
  summary.groups = groups.size;
  summary.largestGroup = members.size;
}

async function writes() {
  const name = `sdk.${Date.now()}`;
  const user = await client.api("/users").post({
    accountEnabled: true,
    displayName: "Made by the SDK",
    mailNickname: name,
    userPrincipalName: `${name}@sandbox.example`,
    passwordProfile: { forceChangePasswordNextSignIn: true, password: "Correct-Horse-1" },
  });
  await client.api(`/users/${user.id}`).update({ jobTitle: "Tester", usageLocation: "NL" });
  const read = await client.api(`/users/${user.userPrincipalName}`).select(["id", "jobTitle", "usageLocation"]).get();
  assert.deepEqual([read.id, read.jobTitle, read.usageLocation], [user.id, "Tester", "NL"]);
  const found = await client.api("/users").filter(`userPrincipalName eq '${user.userPrincipalName}'`).get();
  assert.equal(found.value.length, 1);

  const group = await client.api("/groups").post({
    displayName: "Made by the SDK", mailEnabled: false, mailNickname: name, securityEnabled: true,
  });
  const begun = await round("/groups/delta?$select=members&$deltatoken=latest");
  const reference = { "@odata.id": `${facts.graph_url}/directoryObjects/${user.id}` };
  await client.api(`/groups/${group.id}/members/$ref`).post(reference);
  const added = await round(begun.link);
  assert.equal(added.entries[0]["members@delta"][0].id, user.id);
  await client.api(`/groups/${group.id}/members/${user.id}/$ref`).delete();
  const removed = await round(added.link);
  assert.equal(removed.entries[0]["members@delta"][0]["@removed"].reason, "deleted");

  await client.api(`/users/${user.id}`).delete();
  await refused(client.api(`/users/${user.id}`).get(), 404, "Request_ResourceNotFound");
  await client.api(`/directory/deletedItems/${user.id}/restore`).post({});
  assert.equal((await client.api(`/users/${user.id}`).get()).displayName, "Made by the SDK");
  await client.api(`/users/${user.id}`).delete();
  await client.api(`/directory/deletedItems/${user.id}`).delete();
  await client.api(`/groups/${group.id}`).delete();
  await refused(client.api("/users").post({ displayName: "Nobody" }), 400, "Request_BadRequest");
  summary.writes = true;
}

async function batch() {
  // The SDK takes the path behind the host; Node's Request wants a host to be there.
  const step = (id, path) => ({ id, request: new Request(`https://graph.microsoft.com${path}`) });
  const content = new graph.BatchRequestContent([step("1", "/users?$top=1"), step("2", "/users/nobody@sandbox.example")]);
  const answer = new graph.BatchResponseContent(await client.api("/$batch").post(await content.getContent()));
  assert.equal((await answer.getResponseById("1").json()).value.length, 1);
  assert.equal(answer.getResponseById("2").status, 404);
  summary.batch = 2;
}

async function trouble(link) {
  for (const [form, status, code] of [
    ["gone", 410, "resyncRequired"],
    ["not-found", 400, "syncStateNotFound"],
    ["older", 400, "Request_UnsupportedQuery"],
  ]) {
    await admin("POST", "faults", { what: "expired", form });
    await refused(client.api(link).get(), status, code);
  }
  assert.ok((await round(link)).link, "afterwards the link is good again");

  await admin("POST", "faults", { what: "throttle", path: "users/delta", times: 2, "retry-after": 1 });
  await client.api(link).get();
  const state = await admin("GET", "state");
  assert.equal(state.faultsStruck, 5);
  assert.deepEqual(state.violations, [], "the SDK waits as long as it is told");
  summary.expired = 3;
  summary.throttled = 2;
}

await signIn();
const link = await usersDelta();
await groupsDelta();
await writes();
await batch();
await trouble(link);
console.log(JSON.stringify(summary));
