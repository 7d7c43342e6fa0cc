// Everything is published at once, by a client that connects again by itself; a line for each message that is acknowledged.

const mqtt = require("mqtt");

const { url, account: [user, device, password], version, qos, messages, patience_ms: patience } = JSON.parse(process.argv[2]);

let acknowledged = 0;

function fail(what) {
  console.error(what);
  process.exit(1);
}

setTimeout(() => fail(`${acknowledged} of ${messages} were acknowledged`), 4 * patience).unref();

const client = mqtt.connect(url, {
  protocolVersion: version, username: user, clientId: device, password, clean: false, reconnectPeriod: 200,
  properties: version === 5 ? { sessionExpiryInterval: 3600 } : undefined,
});
// While the server is not there.
client.on("error", () => {});
client.once("connect", () => {
  for (let number = 0; number < messages; number++) {
    client.publish("to/bob", `${number}`, { qos }, (error) => {
      if (error) fail(`${number}: ${error}`);
      acknowledged += 1;
      console.log(acknowledged);
      if (acknowledged === messages) client.end(false, () => process.exit(0));
    });
  }
});
