// Over every transport and with both versions: a message with a long body, both ways, in order. A page of a strange
// origin is not let in.

const mqtt = require("mqtt");
const fs = require("node:fs");

const { urls, refused, ca, accounts, patience_ms: patience } = JSON.parse(process.argv[2]);

function fail(what) {
  console.error(what);
  process.exit(1);
}

setTimeout(() => fail(`not done within ${patience} ms`), patience).unref();

function connect(url, version, [user, device, password], more = {}) {
  const client = mqtt.connect(url, {
    protocolVersion: version, username: user, clientId: device, password, clean: true, reconnectPeriod: 0,
    ca: fs.readFileSync(ca), ...more,
  });
  return new Promise((resolve, reject) => {
    client.once("connect", () => resolve(client));
    client.once("error", reject);
    client.once("close", () => reject(new Error(`${url}: closed`)));
  });
}

async function exchange(url, version) {
  const [alice, bob] = await Promise.all(accounts.map((account) => connect(url, version, account)));
  const bodies = Array.from({ length: 20 }, (_, n) => `${n} ${"x".repeat(n * 1000)}`);
  const got = [];
  const all = new Promise((resolve) => {
    bob.on("message", (topic, body) => {
      got.push(body.toString());
      if (got.length === bodies.length) resolve();
    });
  });
  await bob.subscribeAsync("inbox/#", { qos: 1 });
  await Promise.all(bodies.map((body) => alice.publishAsync("to/bob", body, { qos: 1 })));
  await all;
  if (got.some((body, n) => body !== bodies[n])) fail(`${url}, MQTT ${version}: not what was sent, in order`);
  await Promise.all([alice.endAsync(), bob.endAsync()]);
}

async function main() {
  for (const version of [5, 4]) {
    for (const url of urls) await exchange(url, version);
  }
  for (const { url, origin, lets_in } of refused) {
    const entered = await connect(url, 5, accounts[0], { wsOptions: { origin } }).then(
      (client) => client.endAsync().then(() => true), () => false);
    if (entered !== lets_in) fail(`${origin}: ${entered ? "let in" : "refused"}`);
  }
}

main().then(() => process.exit(0), (error) => fail(error.stack));
