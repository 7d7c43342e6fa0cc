// A push service for tests: it takes Web Pushes (RFC 8030), checks who sends them (VAPID, RFC 8292), decrypts them as a browser does
// (RFC 8291), and prints each as a line of JSON. Nothing of it is the server's: the cryptography is Node's own.
//
// The first line that it prints says where it is, and the device's keys. What it does with a push follows from the first part of
// the path: `good`; `gone`; `busy` (429 once, then good); `bare` (takes no payload); `reset`; `hang` (for two seconds, then it takes
// nothing more of that connection).
"use strict";

const crypto = require("crypto");
const http = require("http");

const device = crypto.createECDH("prime256v1");
const p256dh = device.generateKeys();
const auth = crypto.randomBytes(16);
const seen = new Map();

const url = (bytes) => bytes.toString("base64url");
const hkdf = (salt, secret, info, length) => Buffer.from(crypto.hkdfSync("sha256", secret, salt, info, length));

// RFC 8188, one record; its keys as RFC 8291, section 3.4, has them.
function decrypted(sealed) {
  const salt = sealed.subarray(0, 16);
  const sender = sealed.subarray(21, 21 + sealed[20]);
  const record = sealed.subarray(21 + sealed[20]);
  const info = Buffer.concat([Buffer.from("WebPush: info\0"), p256dh, sender]);
  const secret = hkdf(auth, device.computeSecret(sender), info, 32);
  const key = hkdf(salt, secret, Buffer.from("Content-Encoding: aes128gcm\0"), 16);
  const nonce = hkdf(salt, secret, Buffer.from("Content-Encoding: nonce\0"), 12);
  const open = crypto.createDecipheriv("aes-128-gcm", key, nonce);
  open.setAuthTag(record.subarray(-16));
  const padded = Buffer.concat([open.update(record.subarray(0, -16)), open.final()]);
  return padded.subarray(0, padded.lastIndexOf(2));
}

// The claims of a token that the key beside it has signed.
function claims(authorization) {
  const [, token, key] = /^vapid t=([^,]+), ?k=(.+)$/.exec(authorization);
  const [header, body, signature] = token.split(".");
  const point = Buffer.from(key, "base64url");
  const jwk = { kty: "EC", crv: "P-256", x: url(point.subarray(1, 33)), y: url(point.subarray(33)) };
  const signer = { key: crypto.createPublicKey({ key: jwk, format: "jwk" }), dsaEncoding: "ieee-p1363" };
  const good = crypto.verify("sha256", Buffer.from(`${header}.${body}`), signer, Buffer.from(signature, "base64url"));
  if (!good) throw new Error("the token is not signed by its key");
  return { key, ...JSON.parse(Buffer.from(body, "base64url")) };
}

const server = http.createServer((request, answer) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const body = Buffer.concat(chunks);
    const kind = request.url.split("/")[1];
    const before = seen.get(request.url) || 0;
    seen.set(request.url, before + 1);
    const { authorization, ttl, topic, urgency } = request.headers;
    const push = { path: request.url, ttl, topic, urgency, claims: claims(authorization), bytes: body.length };
    if (body.length > 0) push.payload = decrypted(body).toString("base64");
    const say = (status, headers) => {
      console.log(JSON.stringify({ ...push, status }));
      answer.writeHead(status, headers).end();
    };
    if (kind === "gone") say(410);
    else if (kind === "busy" && before === 0) say(429, { "retry-after": "1" });
    else if (kind === "bare" && body.length > 0) say(413);
    else if (kind === "reset" && before === 0) {
      console.log(JSON.stringify({ ...push, status: 0 }));
      request.socket.destroy();
    } else if (kind === "hang" && before === 0) {
      console.log(JSON.stringify({ ...push, status: 0 }));
      setTimeout(() => request.socket.destroy(), 2_000);
    } else say(201);
  });
});

server.listen(0, "127.0.0.1", () => {
  console.log(JSON.stringify({ port: server.address().port, p256dh: url(p256dh), auth: url(auth) }));
});
