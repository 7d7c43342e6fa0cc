// Whoever is refused, or closed, hears why: in CONNACK, SUBACK, PUBACK and DISCONNECT.

const mqtt = require("mqtt");
const assert = require("node:assert");

const { url, account: [user, device, password], patience_ms: patience } = JSON.parse(process.argv[2]);

setTimeout(() => {
  console.error(`not done within ${patience} ms`);
  process.exit(1);
}, patience).unref();

function connect(more = {}) {
  const options = { protocolVersion: 5, username: user, clientId: device, password, reconnectPeriod: 0, ...more };
  return mqtt.connect(url, options);
}

// The next packet of this kind.
const next = (client, command) => new Promise((resolve) => {
  client.on("packetreceive", (packet) => { if (packet.cmd === command) resolve(packet); });
});

async function main() {
  const stranger = connect({ password: "guess" });
  stranger.on("error", () => {});
  const refusal = await next(stranger, "connack");
  assert.deepEqual([refusal.reasonCode, refusal.properties.reasonString],
    [0x86, "no such user and device with this password"]);

  const first = connect();
  await next(first, "connack");
  first.on("error", () => {});
  const suback = next(first, "suback");
  // Its default is QoS 0.
  first.subscribe("inbox/#");
  const { granted, properties } = await suback;
  assert.deepEqual([granted, properties.reasonString], [[1], "granted with QoS 1: nothing in an inbox is dropped"]);
  const puback = next(first, "puback");
  first.publish("somewhere", "x", { qos: 1 }, () => {});
  const refused = await puback;
  assert.equal(refused.reasonCode, 0x87);
  assert.match(refused.properties.reasonString, /^publish to send/);

  const end = next(first, "disconnect");
  const second = connect();
  const taken = await end;
  assert.deepEqual([taken.reasonCode, taken.properties.reasonString],
    [0x8E, "another connection of this device has taken its place"]);
  await second.endAsync();
}

main().then(() => process.exit(0), (error) => {
  console.error(error.stack);
  process.exit(1);
});
