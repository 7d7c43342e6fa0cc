"""A service account as Google makes it, for tests: JSON, then the public key."""

import json

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
pem = key.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
public = key.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
).decode()
account = {
    "type": "service_account",
    "project_id": "godwit-test",
    "private_key_id": "k1",
    "private_key": pem,
    "client_email": "push@godwit-test.iam.gserviceaccount.com",
}
print(json.dumps({"account": account, "public": public}))
