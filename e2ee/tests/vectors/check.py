"""Checks the vectors beside it, by docs/dev/design/e2ee.md and the package `cryptography`. It shares no code with the crate.

Prints a line for each kind of vector, and fails at the first that is not as the page has it.
"""

import hashlib
import hmac
import json
import pathlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FOLDER = pathlib.Path(__file__).parent
COMPUTED = json.loads((FOLDER / "computed.json").read_text())
DRAWN = json.loads((FOLDER / "drawn.json").read_text())


def u(number, width):
    return number.to_bytes(width, "big")


def opaque(data):
    """A vector of RFC 9420, section 2.1.2."""
    n = len(data)
    head = u(n, 1) if n < 64 else u(n | 0x4000, 2) if n < 1 << 14 else u(n | 0x80000000, 4)
    return head + data


class Reader:
    def __init__(self, data):
        self.data = data

    def take(self, count):
        assert len(self.data) >= count
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def number(self, width):
        return int.from_bytes(self.take(width), "big")

    def opaque(self):
        first = self.data[0]
        width = 1 << (first >> 6)
        return self.take(self.number(width) & ((1 << (8 * width - 2)) - 1))


def sha256(data):
    return hashlib.sha256(data).digest()


def extract(salt, secret):
    return hmac.digest(salt or bytes(32), secret, "sha256")


def expand(prk, info, length):
    out, block, count = b"", b"", 1
    while len(out) < length:
        block = hmac.digest(prk, block + info + bytes([count]), "sha256")
        out, count = out + block, count + 1
    return out[:length]


def hkdf(secret, info):
    return expand(extract(b"", secret), info, 32)


def verify(key, label, content, signature):
    signed = opaque(b"Godwit 1.0 " + label) + opaque(content)
    Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)


def fields(value, *names):
    return [bytes.fromhex(value[name]) for name in names]


def public_of(seed):
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def check_user_secret(v):
    secret, identity_key, vault_key = fields(v, "secret", "identity_key", "vault_key")
    assert public_of(hkdf(secret, b"Godwit 1.0 identity")) == identity_key
    assert hkdf(secret, b"Godwit 1.0 vault") == vault_key
    checksum = int.from_bytes(sha256(b"Godwit 1.0 recovery code" + secret)[:2], "big") >> 4
    number = int.from_bytes(secret, "big") << 12 | checksum
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    symbols = "".join(alphabet[number >> 5 * at & 31] for at in reversed(range(28)))
    assert "-".join(symbols[at : at + 4] for at in range(0, 28, 4)) == v["code"]


def read_certificate(data):
    r = Reader(data)
    assert r.number(2) == 1
    names = r.opaque().decode(), r.opaque().decode()
    leaf_key, identity_key = r.take(32), r.take(32)
    rest = r.number(4), r.number(8), r.number(1)
    verify(identity_key, b"DeviceCertificate", data[:-64], r.take(64))
    assert not r.data
    return (*names, leaf_key, identity_key, *rest)


def check_certificate(v):
    assert read_certificate(bytes.fromhex(v["bytes"])) == (
        v["user"], v["device"], *fields(v, "leaf_key", "identity_key"), v["version"], v["not_before"], v["kind"],
    )


def check_identity_chain(v):
    before_key, before_hash = None, bytes(32)
    for version, (link, pin) in enumerate(zip(v["links"], v["pins"]), 1):
        r = Reader(bytes.fromhex(link))
        assert r.number(2) == 1
        middle = r.data[:76]
        assert r.number(4) == version
        key, previous, _ = r.take(32), r.take(32), r.number(8)
        assert previous == before_hash
        signed = u(1, 2) + opaque(v["user"].encode()) + middle
        verify(key, b"IdentityLink", signed, r.take(64))
        if r.number(1):
            verify(before_key, b"IdentityLink previous", signed, r.take(64))
        assert not r.data
        before_key, before_hash = key, sha256(signed)
        assert before_hash.hex() == pin


def check_safety_number(v):
    parties = sorted((p["user"], bytes.fromhex(p["identity_key"])) for p in (v["one"], v["other"]))
    pair = b"\x01" + b"".join(opaque(user.encode()) + key for user, key in parties)
    assert pair.hex() == v["scannable"]
    digest = bytes(32)
    for _ in range(5200):
        digest = sha256(b"Godwit 1.0 safety number" + digest + pair)
    digits = expand(digest, b"digits", 60)
    groups = (int.from_bytes(digits[at : at + 5], "big") % 100_000 for at in range(0, 60, 5))
    assert "".join(f"{group:05}" for group in groups) == v["number"]


def padme(length):
    if length < 2:
        return length
    exponent = length.bit_length() - 1
    step = 1 << exponent - exponent.bit_length()
    return -(-length // step) * step


def check_content(v):
    certificate = read_certificate(bytes.fromhex(COMPUTED["certificate"]["bytes"]))
    sealed = bytes.fromhex(v["sealed"])
    assert sealed[0] == 1
    # The header of SFrame: RFC 9605, section 4.3.
    r = Reader(sealed[1:])
    config = r.number(1)
    key_id = r.number((config >> 4 & 7) + 1) if config & 0x80 else config >> 4 & 7
    counter = r.number((config & 7) + 1) if config & 0x08 else config & 7
    header = sealed[1 : len(sealed) - len(r.data)]
    assert key_id == int(v["context"], 16) << 32 | v["leaf"] << 16 | v["epoch"] & 0xFFFF
    assert counter == v["counter"]
    # The key: section 4.4.2. The nonce: section 4.4.3.
    secret = extract(b"", bytes.fromhex(v["base_key"]))
    suffix = u(key_id, 8) + u(4, 2)
    key = expand(secret, b"SFrame 1.0 Secret key " + suffix, 16)
    salt = expand(secret, b"SFrame 1.0 Secret salt " + suffix, 12)
    nonce = bytes(a ^ b for a, b in zip(salt, u(counter, 12)))
    place = u(v["conversation"], 8) + u(v["epoch"] >> 32, 4) + u(v["epoch"], 8) + u(v["kind"], 1) + u(v["target"], 8)
    plain = AESGCM(key).decrypt(nonce, r.data, header + place)
    padded, signer, signature = plain[:-68], plain[-68:-64], plain[-64:]
    p = Reader(padded)
    content = p.opaque()
    assert content.hex() == v["content"]
    assert not any(p.data) and len(padded) == padme(len(padded) - len(p.data))
    assert signer == sha256(certificate[2])[:4]
    clear = u(v["reply_to"], 8) + u(v["silent"], 1)
    clear += u(len(v["media"]), 4) + b"".join(opaque(media.encode()) for media in v["media"])
    clear += u(len(v["mentions"]), 4) + b"".join(u(mention, 4) for mention in v["mentions"])
    verify(certificate[2], b"Content", place + u(counter, 8) + sha256(clear) + sha256(content), signature)


def check_file(v):
    plain = bytes(n % 251 for n in range(v["size"]))
    assert sha256(plain).hex() == v["sha256"]
    key = hkdf(bytes.fromhex(v["seed"]), b"Godwit 1.0 file" + sha256(plain))
    chunks = [plain[at : at + 65536] for at in range(0, len(plain), 65536)] or [b""]
    sealed = b""
    for number, chunk in enumerate(chunks):
        nonce = bytes(7) + u(number, 4) + u(number + 1 == len(chunks), 1)
        sealed += AESGCM(key).encrypt(nonce, chunk, b"")
    assert (len(sealed), sha256(sealed).hex()) == (v["sealed_size"], v["sealed_sha256"])


def check_live(v):
    sealed = bytes.fromhex(v["sealed"])
    assert sealed[0] == 1
    place = u(v["conversation"], 8) + u(v["epoch"] >> 32, 4) + u(v["epoch"], 8)
    assert AESGCM(bytes.fromhex(v["live_key"])).decrypt(sealed[1:13], sealed[13:], place).hex() == v["signal"]


def check_vault(v):
    sealed = bytes.fromhex(v["sealed"])
    assert sealed[0] == 1
    key = hkdf(bytes.fromhex(COMPUTED["user_secret"]["vault_key"]), b"Godwit 1.0 vault row" + u(v["conversation"], 8))
    place = opaque(v["user"].encode()) + u(v["conversation"], 8) + u(v["epoch"], 8)
    assert AESGCM(key).decrypt(sealed[1:13], sealed[13:], place).hex() == v["base_key"]


def hpke_open(private, enc, info, aad, ciphertext):
    """RFC 9180, base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM."""
    key = X25519PrivateKey.from_private_bytes(private)
    public = key.public_key().public_bytes_raw()

    def labeled_extract(suite, salt, label, ikm):
        return extract(salt, b"HPKE-v1" + suite + label + ikm)

    def labeled_expand(suite, prk, label, context, length):
        return expand(prk, u(length, 2) + b"HPKE-v1" + suite + label + context, length)

    kem = b"KEM" + u(0x20, 2)
    shared = key.exchange(X25519PublicKey.from_public_bytes(enc))
    shared = labeled_expand(kem, labeled_extract(kem, b"", b"eae_prk", shared), b"shared_secret", enc + public, 32)
    suite = b"HPKE" + u(0x20, 2) + u(1, 2) + u(1, 2)
    context = b"\0" + labeled_extract(suite, b"", b"psk_id_hash", b"") + labeled_extract(suite, b"", b"info_hash", info)
    secret = labeled_extract(suite, shared, b"secret", b"")
    nonce = labeled_expand(suite, secret, b"base_nonce", context, 12)
    return AESGCM(labeled_expand(suite, secret, b"key", context, 16)).decrypt(nonce, ciphertext, aad)


def check_link(v):
    private, offer, certificate, sealed = fields(v, "private", "offer", "certificate", "sealed")
    r = Reader(offer)
    assert r.number(1) == 1
    _, public, leaf_key, kind, device = r.take(16), r.take(32), r.take(32), r.number(1), r.opaque()
    assert not r.data
    assert X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw() == public
    r = Reader(hpke_open(private, sealed[:32], b"Godwit 1.0 link", offer, sealed[32:]))
    assert r.number(1) == 1
    assert r.opaque() == certificate
    vault, secret = r.take(32), r.opaque()
    assert not r.data
    known = COMPUTED["user_secret"]
    assert (secret.hex(), vault.hex()) == (known["secret"], known["vault_key"])
    assert read_certificate(certificate)[1:3] == (device.decode(), leaf_key) and kind == 1


for name, value in {**COMPUTED, **DRAWN}.items():
    for one in value if isinstance(value, list) else [value]:
        globals()["check_" + name](one)
    print(name)
