"""What others' code says of what Godwit sends. A JSON object on standard input says what is to be judged:

keys: makes a device's keys; web: http_ece decrypts, and py-vapid verifies; fcm: google-auth verifies the assertion.
"""

import base64
import json
import sys

asked = json.load(sys.stdin)


def unbase64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def base64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def web():
    import http_ece
    from cryptography.hazmat.primitives.asymmetric import ec
    from py_vapid import Vapid02

    private = ec.derive_private_key(int(asked["private"], 16), ec.SECP256R1())
    plain = http_ece.decrypt(
        unbase64(asked["body"]), private_key=private, auth_secret=unbase64(asked["auth"]), version="aes128gcm"
    )
    assert Vapid02.verify(asked["authorization"]), asked["authorization"]
    return {"plain": base64url(plain)}


def keys():
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    point = private.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    return {"private": hex(private.private_numbers().private_value), "p256dh": base64url(point)}


def fcm():
    from google.auth import jwt

    audience = "https://oauth2.googleapis.com/token"
    return dict(jwt.decode(asked["assertion"], certs=asked["public"], audience=audience))


print(json.dumps({"web": web, "keys": keys, "fcm": fcm}[asked["judge"]]()))
